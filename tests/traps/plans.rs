//! What PostgreSQL does with the statements: plans, pages and collations.

use scanfence::store::postgres;
use sqlx::AssertSqlSafe;

use crate::ground::Ground;
use crate::replica::{Replica, counted, scan, work_order};
use crate::stage::postgres::Database;
use crate::stage::{SOON, eventually};

#[tokio::test]
async fn pitfall_41_rows_are_locked_and_logged_in_the_order_of_their_arrays_whatever_the_planner_would_like() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    for plan in plans(&database, postgres::writes()).await {
        let locked = plan.split("CTE passed").nth(1).and_then(|rest| rest.split("CTE gate").next()).expect(&plan);
        let order = ["Update on work_orders", "Nested Loop", "ProjectSet", "Index Scan using work_orders_pkey"];
        let places: Vec<_> =
            order.iter().map(|node| locked.find(node).unwrap_or_else(|| panic!("{node}: {plan}"))).collect();
        assert!(places.is_sorted(), "{plan}");
        let logged = plan.split("Insert on update_log").nth(1).expect(&plan);
        let above = logged.split("ProjectSet").next().expect(&plan);
        assert!(above.len() < logged.len() && !above.contains("Loop"), "{plan}");
        for other_order in ["Sort", "Hash", "Merge"] {
            assert!(!plan.contains(other_order), "{plan}");
        }
    }
}

#[tokio::test]
async fn pitfall_47_no_statement_of_counting_scans_a_table() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let reads = [
        include_str!("../../src/store/postgres/counting/load.sql"),
        concat!(
            include_str!("../../src/store/postgres/counting/load.sql"),
            include_str!("../../src/store/postgres/counting/load_named.sql")
        ),
        include_str!("../../src/store/postgres/counting/release_claims.sql"),
        include_str!("../../src/store/postgres/counting/lock.sql"),
    ];
    for plan in plans(&database, postgres::writes().into_iter().chain(reads)).await {
        for table in ["work_orders", "update_log", "barcode_claims"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
        }
        // Each element is looked up by itself: for a whole list the planner may prefer a scan one day.
        assert!(!plan.contains("= ANY ($"), "{plan}");
    }
}

#[tokio::test]
async fn refused_scans_are_read_from_the_newest_end_of_their_index() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let statements = [
        concat!(
            include_str!("../../src/store/postgres/refusals/select.sql"),
            include_str!("../../src/store/postgres/refusals/refusals.sql")
        ),
        concat!(
            include_str!("../../src/store/postgres/refusals/select.sql"),
            include_str!("../../src/store/postgres/refusals/refusal.sql")
        ),
    ];
    let plans = plans(&database, statements).await;
    for (plan, first) in
        plans.iter().zip(["Index Scan Backward using update_log_refusals", "Index Scan using update_log_pkey"])
    {
        for index in [first, "update_log_settles", "audit_trail_refusal"] {
            assert!(plan.contains(index), "{index}: {plan}");
        }
        for other in ["Seq Scan", "Sort", "Hash"] {
            assert!(!plan.contains(other), "{other}: {plan}");
        }
    }
}

#[tokio::test]
async fn pitfall_46_a_scan_rewrites_its_work_order_within_the_page() {
    let ground = Ground::postgres().await;
    let store = ground.store().await;
    let number = work_order(&store, "W").await;
    let replica = Replica::local(ground.store().await);
    for n in 0..200 {
        counted(&replica.count(scan(&number, &format!("k{n}"))).await);
    }
    replica.stop().await;
    let Ground::Postgres(database) = &ground else { unreachable!("it was made as one") };
    let mut connection = database.connect().await;
    let (updated, hot) = eventually("the statistics arrive", SOON, async || {
        let counts: (i64, i64) =
            sqlx::query_as("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'work_orders'")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        (counts.0 >= 200).then_some(counts)
    })
    .await;
    assert!(hot * 10 >= updated * 9, "only {hot} of {updated} updates stayed within their page");
}

#[tokio::test]
async fn pitfall_49_key_columns_are_compared_by_byte() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let others: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text
         from pg_index i
         join pg_class c on c.oid = i.indrelid
         join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
         where c.relname in ('work_orders', 'update_log', 'barcode_claims')
           and a.attcollation <> 0 and a.attcollation <> '\"C\"'::regcollation",
    )
    .fetch_all(&mut database.connect().await)
    .await
    .unwrap();
    assert_eq!(others, [], "indexed text whose order a new C library could change");
}

/// Statements as they are planned on the committer's connections.
async fn plans(database: &Database, statements: impl IntoIterator<Item = &str>) -> Vec<String> {
    let mut connection = database.connect().await;
    sqlx::raw_sql(
        "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_hashjoin = off;
         set enable_mergejoin = off; set jit = off",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let mut plans = Vec::new();
    for (n, statement) in statements.into_iter().enumerate() {
        // The types of the parameters stand in the statement, as casts.
        let prepare = format!("prepare statement_{n} as {statement}");
        sqlx::raw_sql(AssertSqlSafe(prepare.as_str())).execute(&mut connection).await.unwrap();
        let values = (1..100).filter(|n| statement.contains(&format!("${n}::"))).max().unwrap();
        let nulls = vec!["null"; values].join(", ");
        let explain = format!("explain (costs off) execute statement_{n}({nulls})");
        let lines: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false).fetch_all(&mut connection).await.unwrap();
        plans.push(lines.join("\n"));
    }
    plans
}
