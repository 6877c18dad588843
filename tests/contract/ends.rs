//! Stops and starts (sections 2 and 6), and the database as reports read it (section 10).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::shop::{Kind, Shop, documented, is_problem};
use crate::stage::clock::Clock;
use crate::stage::postgres::Database;
use crate::stage::redis::Redis;
use crate::stage::service::Setup;
use crate::stage::{SOON, eventually, unique};

pub async fn pitfall_26_a_restart_changes_no_answer(shop: &Shop) {
    let mut shop = Shop::own(shop.kind).await;
    let order = shop.thousand().await;
    let part = json!({ "counter": "input", "barcode": "A", "operator": "E1" });
    let (counted_key, refused_key, corrected_key) = (unique("k"), unique("k"), unique("k"));
    let correction = json!({ "counter": "scrap", "delta": 2, "operator": "E1", "reason": "r" });
    let counted = order.client.scan(&order.number, &counted_key, &part).await;
    let refused = order.client.scan(&order.number, &refused_key, &part).await;
    let corrected = order.client.correct(&order.number, &corrected_key, &correction).await;
    order.counted(&json!({ "counter": "input", "barcode": "A", "action": "unbind" })).await;
    let standing = order.standing().await;
    let clock = Clock::right();
    for (name, value) in clock.environment() {
        shop.setup = shop.setup.set(&name, &value);
    }
    for (killed, days_later) in [(false, 0), (true, 400)] {
        match killed {
            true => shop.service.kill9(),
            false => assert_eq!(shop.service.terminate(SOON).await, Some(0), "asked to stop, it ends well"),
        }
        clock.step(days_later * 24 * 60 * 60);
        shop.service = shop.setup.start().await;
        let order = crate::shop::Order { client: shop.client(), number: order.number.clone() };
        for (key, body, first) in [(&counted_key, &part, &counted), (&refused_key, &part, &refused)] {
            let again = order.client.scan(&order.number, key, body).await;
            assert_eq!((again.status, again.replayed()), (first.status, true), "{again:?}");
            assert_eq!(again.body, first.body);
        }
        let again = order.client.correct(&order.number, &corrected_key, &correction).await;
        assert_eq!((again.replayed(), again.body), (true, corrected.body.clone()));
        assert_eq!(order.standing().await, standing);
    }
    let order = crate::shop::Order { client: shop.client(), ..order };
    let later = order.counted(&json!({ "counter": "output" })).await;
    let year = |update: &Value| update["recorded_at"].as_str().unwrap()[..4].to_owned();
    assert_ne!(year(&later), year(&counted.json()), "that was more than a year ago");
}

pub async fn a_stopping_service_drains(shop: &Shop) {
    let mut shop = Shop::own(shop.kind).await;
    let order = shop.thousand().await;
    let fence = order.counted(&json!({ "counter": "input" })).await["fence"].as_i64().unwrap();
    let mut other = match shop.kind {
        Kind::Embedded => None,
        Kind::Shared | Kind::RowsAlone => Some(shop.setup.start().await),
    };
    // A request that the service has begun to read: it says so itself.
    let body = json!({ "counter": "input" }).to_string();
    let head = format!(
        "POST /v1/work-orders/{}/scans HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         idempotency-key: {}\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        order.number,
        unique("k"),
        body.len()
    );
    let mut begun = order.client.connect().await.unwrap();
    begun.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    begun.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    shop.service.ask_to_stop();
    let report = eventually("it is not ready any more", SOON, async || {
        let reply = order.client.get("/readyz").await;
        (reply.status == 503).then_some(reply.json())
    })
    .await;
    assert_eq!(report["checks"]["draining"]["status"], "fail", "{report}");
    let key = unique("k");
    let refused = order.client.scan(&order.number, &key, &json!({ "counter": "input" })).await;
    is_problem(&refused, 503, "shutting-down", "a new scan");
    assert_eq!(refused.json()["applied"], "unknown", "an earlier attempt may have counted");

    begun.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "what was begun is finished: {answer}");
    assert_eq!(shop.service.end(SOON).await, Some(0), "{}", shop.service.log());

    let next = match other.take() {
        Some(next) => next,
        None => shop.setup.start().await,
    };
    let lease = next.client().get(&format!("/v1/work-orders/{}/lease", order.number)).await.json();
    assert_eq!(lease["held"], false, "released, not run out: {lease}");
    let taken = next.client().scan(&order.number, &key, &json!({ "counter": "input" })).await;
    assert_eq!((taken.status.as_u16(), taken.replayed()), (201, false), "{taken:?}");
    assert_eq!(taken.json()["after"], 3);
    let newer = taken.json()["fence"].as_i64().unwrap();
    match shop.kind {
        Kind::Shared => assert!(newer > fence, "{newer} after {fence}"),
        Kind::Embedded | Kind::RowsAlone => assert!(newer >= fence, "{newer} after {fence}"),
    }
}

pub async fn pitfall_43_every_write_leaves_another_stamp(shop: &Shop) {
    let order = shop.thousand().await;
    let part = json!({ "counter": "input", "barcode": "A" });
    let mut stamps = vec![stamp(shop, &order.number).await];
    for write in 1..=12 {
        match write % 4 {
            0 => assert_eq!(order.put(&json!({ "planned_quantity": 1000 })).await.status, 200),
            1 => assert_eq!(order.scan(&json!({ "counter": "output" })).await.status, 201),
            2 => assert_eq!(order.correct(&json!({ "counter": "output", "set_to": 0 })).await.status, 201),
            // The first counts; refusals are written under the guard too (pitfall 40).
            _ => assert!([201, 409].contains(&order.scan(&part).await.status.as_u16())),
        }
        let left = stamp(shop, &order.number).await;
        assert!(!stamps.contains(&left), "write {write} left a stamp that was there before");
        stamps.push(left);
    }
    let backwards = stamps.iter().rev();
    assert!(!stamps.is_sorted() && !backwards.is_sorted(), "counted, to come again after a restore: {stamps:?}");
}

async fn stamp(shop: &Shop, number: &str) -> i64 {
    let found = match &shop.database {
        None => {
            let file = shop.folder.path().join("data/scanfence.db");
            let mut reader = SqliteConnection::connect(&format!("sqlite://{}?mode=ro", file.display())).await.unwrap();
            let stamp = sqlx::query_scalar("select stamp from work_orders where work_order = ?").bind(number);
            stamp.fetch_one(&mut reader).await
        }
        Some(database) => {
            let stamp = sqlx::query_scalar("select stamp from work_orders where work_order = $1").bind(number);
            stamp.fetch_one(&mut database.connect().await).await
        }
    };
    found.unwrap()
}

pub async fn the_databases_names_are_the_contracts(shop: &Shop) {
    let order = shop.thousand().await;
    let update = order.counted(&json!({ "counter": "input", "barcode": "A" })).await;
    let row = order.client.work_order(&order.number).await;
    let tables = ["work_orders", "update_log", "barcode_claims"];
    let mut columns: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for table in tables {
        let names: Vec<String> = match &shop.database {
            None => {
                let file = shop.folder.path().join("data/scanfence.db");
                let mut reader =
                    SqliteConnection::connect(&format!("sqlite://{}?mode=ro", file.display())).await.unwrap();
                let names = sqlx::query_scalar("select name from pragma_table_info(?)").bind(table);
                names.fetch_all(&mut reader).await.unwrap()
            }
            Some(database) => {
                let names = "select column_name::text from information_schema.columns \
                             where table_schema = 'public' and table_name = $1";
                sqlx::query_scalar(names).bind(table).fetch_all(&mut database.connect().await).await.unwrap()
            }
        };
        columns.insert(table, names.into_iter().collect());
    }
    for (table, object) in [("work_orders", &row), ("update_log", &update)] {
        for field in object.as_object().unwrap().keys() {
            assert!(columns[table].contains(field), "{table} has no column {field}: {columns:?}");
        }
    }
    for column in ["code", "at_seq"] {
        assert!(columns["update_log"].contains(column), "{column}");
    }
    for column in ["work_order", "counter", "step", "barcode", "request_id"] {
        assert!(columns["barcode_claims"].contains(column), "{column}");
    }
    for keys in [["request_id", ""], ["work_order", "seq"]] {
        assert!(unique_in_log(shop, &keys).await, "{keys:?} is unique in update_log");
    }
}

/// Whether the log has a unique index on just these columns, an empty name being none.
async fn unique_in_log(shop: &Shop, columns: &[&str]) -> bool {
    let wanted = columns.iter().filter(|name| !name.is_empty()).copied().collect::<Vec<_>>().join(",");
    let found: Vec<String> = match &shop.database {
        None => {
            let file = shop.folder.path().join("data/scanfence.db");
            let mut reader = SqliteConnection::connect(&format!("sqlite://{}?mode=ro", file.display())).await.unwrap();
            let indexes = "select (select group_concat(name) from pragma_index_info(i.name)) \
                           from pragma_index_list('update_log') i where i.\"unique\" = 1";
            sqlx::query_scalar(indexes).fetch_all(&mut reader).await.unwrap()
        }
        Some(database) => {
            let indexes = "select (select string_agg(a.attname, ',' order by k.at) \
                                   from unnest(i.indkey) with ordinality k(number, at) \
                                   join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number)::text \
                           from pg_index i where i.indrelid = 'update_log'::regclass and i.indisunique";
            sqlx::query_scalar(indexes).fetch_all(&mut database.connect().await).await.unwrap()
        }
    };
    found.contains(&wanted)
}

/// Redis fails and the fallback is `refuse`: nothing is counted, and nothing is final.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_and_fallback_a_scan_is_put_off() {
    let mut redis = Redis::start();
    let database = Database::fresh().await;
    let setup = Setup::shared(database.url()).redis(&redis.url()).set("SCANFENCE_LEASE_FALLBACK", "refuse");
    let service = setup.start().await;
    let (client, number, key) = (documented(&service), unique("P"), unique("k"));
    let scan = json!({ "counter": "input", "terminal": "t1" });
    client.put_work_order(&number, &json!({ "planned_quantity": 9 })).await;
    redis.kill();
    let refused = client.scan(&number, &key, &scan).await;
    is_problem(&refused, 503, "lease-unavailable", "singly");
    assert_eq!(refused.json()["applied"], "unknown");
    is_problem(&client.get(&format!("/v1/updates/{key}")).await, 404, "not-found", "no row");

    // The breaker opens only after more than one failure.
    eventually("no scan can be counted, so it is not ready", SOON, async || {
        is_problem(&client.scan(&number, &key, &scan).await, 503, "lease-unavailable", "again");
        let ready = client.get("/readyz").await;
        (ready.status == 503).then(|| assert_eq!(ready.json()["checks"]["lease"]["status"], "fail"))
    })
    .await;
    redis.restart_empty();
    let counted = eventually("Redis is back", SOON, async || {
        let reply = client.scan(&number, &key, &scan).await;
        (reply.status == 201).then_some(reply)
    })
    .await;
    assert!(!counted.replayed(), "{counted:?}");
    assert_eq!(counted.json()["seq"], 1);
}
