//! Compares what the routes answer and accept with `openapi.yaml`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{JSON, Reply, Service};
use crate::http::{OPENAPI, ROUTES};
use crate::lease::Health;

#[path = "../../../tests/stage/document.rs"]
mod document;

static DOCUMENT: LazyLock<document::Document> = LazyLock::new(|| document::Document::of(OPENAPI));

/// Checks that the document allows an answer.
pub(super) fn check(method: &str, path: &str, reply: &Reply) {
    let checked = DOCUMENT.check(method, path, reply.status.as_u16(), &reply.headers, &reply.body);
    checked.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", String::from_utf8_lossy(&reply.body)));
}

/// The names of a schema's properties, with those that it takes over.
fn fields_of(schema: &Value) -> BTreeSet<String> {
    let over = schema.get("$ref").map(|_| fields_of(DOCUMENT.resolved(schema)));
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    over.into_iter().flatten().chain(own).collect()
}

/// An answer with a wrong type, word, form, field or status is found.
#[tokio::test]
async fn an_answer_that_is_not_as_documented_is_seen() {
    let path = "/v1/work-orders/W1";
    let reply = Service::with_work_order().await.get(path).await;
    let check = |status: u16, body: &Value| {
        DOCUMENT.check("GET", path, status, &reply.headers, body.to_string().as_bytes()).is_ok()
    };
    let good = reply.json();
    assert!(check(200, &good), "{good}");
    for (field, wrong) in [
        ("seq", json!("0")),
        ("planned_quantity", json!(-1)),
        ("status", json!("open")),
        ("created_at", json!("yesterday")),
        ("line", json!(3)),
        ("colour", json!("red")),
    ] {
        let mut bad = good.clone();
        bad[field] = wrong;
        assert!(!check(200, &bad), "{bad}");
    }
    let mut short = good.clone();
    short.as_object_mut().unwrap().remove("fence");
    assert!(!check(200, &short), "{short}");
    assert!(!check(202, &good) && !check(404, &good));
}

#[tokio::test]
async fn readiness_and_lease_have_the_documented_fields() {
    let service = Service::with_work_order().await;
    for health in [Health::Good, Health::RowsAlone, Health::Away] {
        service.shop.with(|state| state.lease = health);
        service.get("/readyz").await;
        service.get("/v1/work-orders/W1/lease").await;
    }
}

/// Every name of any schema is sent to every route that takes a body: the route knows
/// exactly those that the document gives it.
#[tokio::test]
async fn every_route_knows_exactly_the_documented_fields() {
    let service = Service::with_work_order().await;
    let schemas = DOCUMENT.yaml["components"]["schemas"].as_object().unwrap();
    let names: BTreeSet<String> = schemas.values().flat_map(fields_of).collect();
    let names: Vec<String> = names.into_iter().collect();
    for (method, route) in ROUTES {
        let operation = &DOCUMENT.yaml["paths"][*route][method.to_lowercase()];
        let Some(body) = operation.get("requestBody") else { continue };
        let path = ["{finding_id}", "{request_id}"]
            .iter()
            .fold(route.replace("{work_order}", "W1"), |path, parameter| path.replace(parameter, "k1"));
        let line = format!("{method} {path}");
        let properties = fields_of(&body["content"]["application/json"]["schema"]);
        // An answer lists no more than a hundred errors.
        for names in names.chunks(50) {
            let sent = Value::Object(names.iter().map(|name| (name.clone(), Value::Array(Vec::new()))).collect());
            let problem = service.send(&line, &[JSON, ("idempotency-key", "k1")], sent.to_string()).await.problem();
            let unknown =
                problem["errors"].as_array().unwrap().iter().filter(|error| error["reason"] == "is not known here");
            let unknown: BTreeSet<&str> = unknown.map(|error| error["field"].as_str().unwrap()).collect();
            let expected: BTreeSet<&str> =
                names.iter().map(String::as_str).filter(|name| !properties.contains(*name)).collect();
            assert_eq!(unknown, expected, "{line}");
        }
    }
}

/// The same for the parameters of queries.
#[tokio::test]
async fn every_route_knows_exactly_the_documented_query() {
    let service = Service::with_work_order().await;
    let parameters = |item: &Value| item["parameters"].as_array().cloned().unwrap_or_default();
    let in_query = |item: &Value| -> BTreeSet<String> {
        let all = parameters(item);
        let in_query =
            all.iter().map(|parameter| DOCUMENT.resolved(parameter)).filter(|parameter| parameter["in"] == "query");
        in_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    let routes = ROUTES.iter().filter(|(_, route)| route.starts_with("/v1/"));
    let of = |method: &str, route: &str| in_query(&DOCUMENT.yaml["paths"][route][method.to_lowercase()]);
    let names: BTreeSet<String> = routes.clone().flat_map(|(method, route)| of(method, route)).collect();
    for (method, route) in routes {
        let query: Vec<String> = names.iter().map(|name| format!("{name}=%00")).collect();
        let path = ["{request_id}", "{check_id}", "{finding_id}"]
            .iter()
            .fold(route.replace("{work_order}", "W1"), |path, parameter| path.replace(parameter, "k1"));
        let line = format!("{method} {path}?{}", query.join("&"));
        let problem = service.send(&line, &[JSON, ("idempotency-key", "k1")], "{}").await.problem();
        let unknown =
            problem["errors"].as_array().unwrap().iter().filter(|error| error["reason"] == "is not known here");
        let unknown: BTreeSet<String> = unknown.map(|error| error["field"].as_str().unwrap().to_owned()).collect();
        assert_eq!(unknown, names.difference(&of(method, route)).cloned().collect(), "{method} {route}");
    }
}
