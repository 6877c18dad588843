//! The store on PostgreSQL: the suite.

#![expect(clippy::unwrap_used, reason = "a test that fails may well panic")]

mod stage;
mod store_suite;

use std::sync::Arc;
use std::time::Duration;

use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::{CountingStore as _, Store, StoreError};
use sqlx::{AssertSqlSafe, PgConnection};
use stage::postgres::Database;
use store_suite::shop::{Leases, audit, count, decided_at, prepared, scan, time, wanted, work_order};

async fn open() -> (Arc<dyn Store>, Database) {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let store = PostgresStore::open(database.url()).await.unwrap();
    (Arc::new(store), database)
}

store_suite::store_suite!(open);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_20_many_writers_at_once_never_deadlock() {
    let (store, database) = open().await;
    database.show_deadlocks().await;
    store_suite::cases::many_writers_at_once_count_every_scan_once(Arc::clone(&store)).await;
    store.close().await;
    assert_eq!(database.deadlocks().await, 0);
}

// The limits of a session

async fn execute(connection: &mut PgConnection, statements: String) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.unwrap();
}

/// What sessions hold themselves to in these settings: one that edits, one that writes, and
/// one that writes by row locks.
async fn noted<const N: usize>(store: &dyn Store, database: &Database, settings: [&str; N]) -> Vec<[String; N]> {
    let mut beside = database.connect().await;
    // Runs in the session that writes, and so sees what that one has set.
    let note = format!(
        "create table noted (place serial, settings text[]);
         create function note() returns trigger language plpgsql as $$ begin
             insert into noted (settings) select array_agg(coalesce(current_setting(name, true), '') order by place)
                 from unnest('{{{}}}'::text[]) with ordinality as setting(name, place);
             return null;
         end $$;
         create trigger note after insert or update on work_orders execute function note()",
        settings.join(",")
    );
    execute(&mut beside, note).await;

    let number = work_order(store).await;
    count(store, &[scan(&number)]).await;
    let requests = [scan(&number)];
    let mut decide = |facts| decided_at(time(0), facts, &requests, &Leases::new()).1;
    store.write_locked(&wanted(&requests), &mut decide).await.unwrap();

    let noted: Vec<Vec<String>> =
        sqlx::query_scalar("select settings from noted order by place").fetch_all(&mut beside).await.unwrap();
    noted.into_iter().map(|settings| settings.try_into().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wait_of_a_session_is_bounded() {
    let (store, database) = open().await;
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    let limits = ["lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout", "transaction_timeout"];
    let transaction = if version >= 170_000 { "7s" } else { "" };
    assert_eq!(noted(&*store, &database, limits).await, [["1s", "2s", "5s", transaction]; 3]);
}

/// Without these the plans that `tests/traps/plans.rs` looks at would be other ones than those that run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_plan_and_commit_by_settings_of_their_own() {
    let (store, database) = open().await;
    // After it was looked at, and before a session is opened.
    let contrary = "do $$ declare setting text; begin
        foreach setting in array '{plan_cache_mode=force_custom_plan,jit=on,synchronous_commit=off}'::text[] loop
            execute format('alter database %I set %s', current_database(), setting);
        end loop;
    end $$";
    execute(&mut database.connect().await, contrary.to_owned()).await;
    let settings =
        ["plan_cache_mode", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit", "synchronous_commit"];
    let [edit, write, write_locked] = noted(&*store, &database, settings).await.try_into().unwrap();
    assert_eq!(edit, ["auto", "on", "on", "on", "off", "on"]);
    for counting in [write, write_locked] {
        assert_eq!(counting, ["force_generic_plan", "off", "off", "off", "off", "on"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_held_elsewhere_is_not_waited_for_without_end() {
    let (store, database) = open().await;
    let number = work_order(&*store).await;
    let requests = [scan(&number)];
    let batch = prepared(&*store, &requests).await;
    let mut beside = database.connect().await;
    execute(&mut beside, format!("begin; select from work_orders where work_order = '{number}' for update")).await;

    let mut decide = |facts| decided_at(time(0), facts, &requests, &Leases::new()).1;
    for written in [store.write(&batch).await, store.write_locked(&wanted(&requests), &mut decide).await] {
        let Err(StoreError::TryAgain(cause)) = written else { panic!("{written:?}") };
        let refusal = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error).unwrap();
        assert_eq!(refusal.code().as_deref(), Some("55P03"), "lock_not_available: {refusal}");
    }

    execute(&mut beside, "rollback".to_owned()).await;
    assert_eq!(store.write(&batch).await.unwrap().passed.len(), 1);
    audit(&*store, &number).await;
}

// A standby that is gone

/// Has every commit of this server wait for a standby of this name.
async fn wait_for_standby(beside: &mut PgConnection, name: &str) {
    execute(beside, format!("alter system set synchronous_standby_names = '{name}'")).await;
    execute(beside, "select pg_reload_conf()".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_gone_keeps_no_more_sessions_waiting_than_there_are_connections() {
    let server = stage::postgres::Postgres::start(&[]).await;
    let database = Database::on(&server.url("postgres")).await;
    postgres::migrate(database.url()).await.unwrap();
    let store = PostgresStore::open(database.url()).await.unwrap();
    let mut beside = database.connect().await;
    let waiting = async |beside: &mut PgConnection| -> i64 {
        let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
        sqlx::query_scalar(waiting).fetch_one(beside).await.unwrap()
    };

    wait_for_standby(&mut beside, "nobody").await;
    let nothing = scanfence::store::Wanted::default();
    for _ in 0..4 {
        let loads = [store.load(&nothing), store.load(&nothing), store.load(&nothing)];
        for loaded in futures_util::future::join_all(loads).await {
            assert!(matches!(loaded, Err(StoreError::TryAgain(_))), "{loaded:?}");
        }
    }
    assert_eq!(waiting(&mut beside).await, 3, "sessions that counting left behind");

    wait_for_standby(&mut beside, "").await;
    let back = async || store.load(&nothing).await.ok();
    stage::eventually("the standby is no longer waited for", stage::SOON, back).await;
    assert_eq!(store.epoch(), 1, "one of those that have opened meanwhile");
    let none = async || (waiting(&mut beside).await == 0).then_some(());
    stage::eventually("no session waits any more", stage::SOON, none).await;
    store.close().await;
}

// Starting

async fn start(url: &str) -> Result<PostgresStore, postgres::StartError> {
    postgres::migrate(url).await?;
    PostgresStore::open(url).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_waits_for_a_server_that_comes_up_and_for_nothing_else() {
    let mut server = stage::postgres::Postgres::start(&[]).await;
    let url = server.url("postgres");
    let password = url.split(['@', ':']).nth(2).unwrap().to_owned();
    for wrong in [server.url("nowhere"), url.replace(&password, "wrong")] {
        let begun = std::time::Instant::now();
        let Err(refused) = start(&wrong).await else { panic!("started on {wrong}") };
        let is_final = matches!(refused, postgres::StartError::NotLetIn(_) | postgres::StartError::NoDatabase(_));
        assert!(is_final, "{refused:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{refused:?} after {:?}", begun.elapsed());
    }

    server.kill9().await;
    let (store, ()) = tokio::join!(start(&url), server.start_again());
    let store = store.unwrap();
    assert!(store.ready().await.unwrap().migrated);
}

#[tokio::test]
async fn replicas_that_wait_for_a_migration_wait_outside_the_server() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let mut beside = database.connect().await;
    execute(&mut beside, "begin; lock table _sqlx_migrations".to_owned()).await;
    let commit = async {
        let mut looking = database.connect().await;
        let sessions = "select wait_event = 'relation', wait_event_type = 'Lock', query like '%advisory%'
            from pg_stat_activity where datname = current_database() and application_name = 'scanfence'";
        stage::eventually("one is at it, and one wants to be", stage::SOON, async || {
            let sessions: Vec<(Option<bool>, Option<bool>, bool)> =
                sqlx::query_as(sessions).fetch_all(&mut looking).await.unwrap();
            let at_it = sessions.iter().any(|(relation, ..)| *relation == Some(true));
            let asking = sessions.iter().any(|(_, waits, asks)| *waits != Some(true) && *asks);
            (at_it && asking).then_some(())
        })
        .await;
        execute(&mut beside, "commit".to_owned()).await;
    };
    let url = database.url();
    let (one, other, ()) = tokio::join!(postgres::migrate(url), postgres::migrate(url), commit);
    one.unwrap();
    other.unwrap();
}
