//! Every answer in these tests must be documented in `openapi.yaml`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{JSON, Reply, Service};
use crate::http::{OPENAPI, ROUTES};
use crate::lease::Health;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_saphyr::from_str(OPENAPI).unwrap());

/// Checks that the document knows the status, media type and headers of an answer.
pub(super) fn check(method: &str, path: &str, reply: &Reply) {
    let method = if method == "HEAD" { "GET" } else { method };
    let Some((_, route)) = ROUTES.iter().find(|(of, route)| *of == method && fits(route, path)) else {
        return;
    };
    let at = format!("{method} {route} {}", reply.status.as_u16());
    let responses = &DOCUMENT["paths"][*route][method.to_lowercase()]["responses"];
    let response = resolved(&responses[reply.status.as_str()]);
    assert!(response.is_object(), "{at} is not documented");
    let media = reply.header("content-type").split(';').next().unwrap();
    assert!(response["content"].get(media).is_some(), "{at} {media} is not documented");
    for header in ["idempotency-replayed", "etag", "link", "retry-after", "www-authenticate"] {
        let documented = response["headers"].as_object().into_iter().flatten();
        let documented = documented.map(|(name, _)| name.to_lowercase()).any(|name| name == header);
        assert!(documented || !reply.headers.contains_key(header), "{at} {header} is not documented");
    }
    if media.ends_with("json")
        && let Ok(body) = serde_json::from_slice(&reply.body)
    {
        has_the_fields(&response["content"][media]["schema"], &body, &at);
    }
}

fn fits(route: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let parts = route.split('/').count() == path.split('/').count();
    parts && route.split('/').zip(path.split('/')).all(|(of, part)| of == part || of.starts_with('{'))
}

fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        None => value,
        Some(reference) => DOCUMENT.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference}")),
    }
}

/// The properties and required fields of a schema, with those that it takes over.
fn fields_of(schema: &Value) -> (Map<String, Value>, BTreeSet<String>) {
    let (mut properties, mut required) = match schema.get("$ref") {
        None => (Map::new(), BTreeSet::new()),
        Some(_) => fields_of(resolved(schema)),
    };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        properties.entry(name).or_insert_with(|| property.clone());
    }
    required.extend(schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()));
    (properties, required)
}

/// Checks that an answer has the documented fields, and no others.
fn has_the_fields(schema: &Value, body: &Value, at: &str) {
    let schema_itself = resolved(schema);
    if let Some(kinds) = schema_itself["oneOf"].as_array().or(schema_itself["anyOf"].as_array()) {
        let refused = usize::from(body["outcome"] == "refused");
        return has_the_fields(&kinds[refused.min(kinds.len() - 1)], body, at);
    }
    let (properties, required) = fields_of(schema);
    for item in body.as_array().into_iter().flatten() {
        has_the_fields(&schema_itself["items"], item, at);
    }
    let Some(fields) = body.as_object() else { return };
    for name in &required {
        assert!(fields.contains_key(name), "{at}: lacks {name}: {body}");
    }
    for (name, value) in fields {
        if schema_itself["additionalProperties"] == true {
            continue;
        }
        let property = properties.get(name).unwrap_or_else(|| panic!("{at}: {name} is not documented: {body}"));
        has_the_fields(property, value, &format!("{at} {name}"));
    }
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
    let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
    let names: BTreeSet<String> =
        schemas.values().flat_map(|schema| fields_of(schema).0).map(|(name, _)| name).collect();
    let all = Value::Object(names.iter().map(|name| (name.clone(), Value::Array(Vec::new()))).collect());
    for (method, route) in ROUTES {
        let operation = &DOCUMENT["paths"][*route][method.to_lowercase()];
        let Some(body) = operation.get("requestBody") else { continue };
        let line = format!("{method} {}", route.replace("{work_order}", "W1").replace("{finding_id}", "f1"));
        let reply = service.send(&line, &[JSON, ("idempotency-key", "k1")], all.to_string()).await;
        let problem = reply.problem();
        let unknown =
            problem["errors"].as_array().unwrap().iter().filter(|error| error["reason"] == "is not known here");
        let unknown: BTreeSet<&str> = unknown.map(|error| error["field"].as_str().unwrap()).collect();
        let (properties, _) = fields_of(&body["content"]["application/json"]["schema"]);
        let expected: BTreeSet<&str> =
            names.iter().map(String::as_str).filter(|name| !properties.contains_key(*name)).collect();
        assert_eq!(unknown, expected, "{line}");
    }
}

/// The same for the parameters of queries.
#[tokio::test]
async fn every_route_knows_exactly_the_documented_query() {
    let service = Service::with_work_order().await;
    let parameters = |item: &Value| item["parameters"].as_array().cloned().unwrap_or_default();
    let in_query = |item: &Value| -> BTreeSet<String> {
        let all = parameters(item);
        let in_query = all.iter().map(resolved).filter(|parameter| parameter["in"] == "query");
        in_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    let routes = ROUTES.iter().filter(|(_, route)| route.starts_with("/v1/"));
    let of = |method: &str, route: &str| in_query(&DOCUMENT["paths"][route][method.to_lowercase()]);
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
