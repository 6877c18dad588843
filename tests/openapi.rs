//! Compares `openapi.yaml` with the code.
//!
//! Routes, methods and problem codes must be the same in both. The document must be sound in itself. A
//! running service must answer its examples as documented. The tests of the HTTP layer and of the
//! contract compare every answer that they get with the document.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use scanfence::http::{Code, Language, OPENAPI, ROUTES};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use stage::client::{Client, Reply};
use stage::document::Document;
use stage::service::Setup;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn document() -> Document {
    Document::of(OPENAPI)
}

/// Every operation: method, path, operation, and the parameters of its path.
fn operations(document: &Document) -> Vec<(String, String, Value, Vec<Value>)> {
    let mut operations = Vec::new();
    for (path, item) in document.yaml["paths"].as_object().unwrap() {
        let shared = item["parameters"].as_array().cloned().unwrap_or_default();
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let own = operation["parameters"].as_array().cloned().unwrap_or_default();
                let parameters = shared.iter().cloned().chain(own).map(|p| document.resolved(&p).clone()).collect();
                operations.push((method.to_uppercase(), path.clone(), operation.clone(), parameters));
            }
        }
    }
    operations
}

fn words(list: &Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

#[test]
fn every_route_and_method_is_in_both() {
    let document = document();
    let documented: BTreeSet<_> = operations(&document).into_iter().map(|(method, path, ..)| (method, path)).collect();
    let routed: BTreeSet<_> = ROUTES.iter().map(|&(method, path)| (method.to_owned(), path.to_owned())).collect();
    assert_eq!(documented, routed);
}

#[test]
fn every_problem_code_is_in_both() {
    let document = document();
    let documented = words(&document.yaml["components"]["schemas"]["Code"]["enum"]);
    assert_eq!(documented, Code::ALL.iter().map(|code| code.word()).collect());
}

#[test]
fn a_problem_response_names_only_codes_of_its_status() {
    let document = document();
    for (method, path, operation, _) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = document.resolved(response);
            if response["content"].get("application/problem+json").is_none() {
                continue;
            }
            let description = response["description"].as_str().unwrap();
            let named = description.split('`').filter_map(Code::of_word).collect::<Vec<_>>();
            assert!(!named.is_empty(), "{method} {path} {status} names no code: {description}");
            for code in named {
                assert_eq!(code.status().as_str(), status, "{method} {path} {code:?}");
            }
        }
    }
}

#[test]
fn every_problem_example_is_worded_as_the_code_words_it() {
    let document = document();
    for (name, response) in document.yaml["components"]["responses"].as_object().unwrap() {
        let examples = response["content"]["application/problem+json"]["examples"].as_object();
        for (example, problem) in examples.into_iter().flatten().map(|(name, example)| (name, &example["value"])) {
            let at = format!("{name} {example}");
            let code = Code::of_word(problem["code"].as_str().unwrap()).unwrap();
            assert_eq!(problem["type"], format!("/problems/{}", code.word()), "{at}");
            assert_eq!(problem["title"], code.title(Language::English), "{at}");
            assert_eq!(problem["status"], code.status().as_u16(), "{at}");
            assert_eq!(problem["retryable"], code.retryable(), "{at}");
        }
    }
}

#[test]
fn the_statuses_that_every_route_of_a_kind_may_answer_are_documented() {
    let document = document();
    for (method, path, operation, _) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        let mut expected: Vec<&str> = Vec::new();
        if path.starts_with("/v1/") {
            expected.extend(["400", "401", "408", "422", "431", "500", "503"]);
        }
        if operation.get("requestBody").is_some() {
            expected.extend(["413", "415"]);
        }
        for status in expected {
            assert!(responses.contains_key(status), "{method} {path} lacks {status}");
        }
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path} never succeeds");
        let open = operation["security"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(!open, responses.contains_key("401"), "{method} {path}: open, or else 401");
    }
}

#[test]
fn the_parameters_of_a_path_are_described() {
    let document = document();
    for (method, path, _, parameters) in operations(&document) {
        let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let described = parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap());
        assert_eq!(in_path.collect::<BTreeSet<_>>(), described.collect(), "{method} {path}");
        for parameter in &parameters {
            let text = parameter["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{method} {path} {}", parameter["name"]);
            if let Some(example) = parameter.get("example") {
                fits(&document, &parameter["schema"], example, &format!("{method} {path} {}", parameter["name"]));
            }
        }
    }
}

#[test]
fn every_reference_points_somewhere_and_every_component_is_used() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    let mut used = BTreeSet::new();
    references(&document.yaml, &mut used);
    let mut defined = BTreeSet::new();
    for (kind, components) in document.yaml["components"].as_object().unwrap() {
        defined.extend(components.as_object().unwrap().keys().map(|name| format!("#/components/{kind}/{name}")));
    }
    assert_eq!(used, defined);
}

#[test]
fn every_schema_is_one_of_json_schema_and_closed_unless_it_says_otherwise() {
    /// The places of objects whose fields are listed and that allow others.
    fn open(value: &Value, at: &str, found: &mut Vec<String>) {
        let Some(fields) = value.as_object() else {
            return value.as_array().into_iter().flatten().for_each(|value| open(value, at, found));
        };
        let says = ["additionalProperties", "unevaluatedProperties"].iter().any(|word| fields.contains_key(*word));
        if fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("type") && !says {
            found.push(at.to_owned());
        }
        fields.iter().for_each(|(name, value)| open(value, &format!("{at} {name}"), found));
    }
    let document = document();
    let mut found = Vec::new();
    for (name, schema) in document.yaml["components"]["schemas"].as_object().unwrap() {
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        open(schema, name, &mut found);
    }
    // What others take over stays open; they are closed.
    assert_eq!(found, ["CheckFields", "ScanFields", "UpdateFields"]);
}

#[test]
fn every_example_has_the_fields_of_its_schema_and_no_others() {
    let document = document();
    let mut examples = 0;
    let mut check = |at: String, content: &Value| {
        for (media, content) in content.as_object().into_iter().flatten() {
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                let at = format!("{at} {media} {name}");
                fits(&document, &content["schema"], &example["value"], &at);
                examples += 1;
            }
        }
    };
    for (method, path, operation, _) in operations(&document) {
        check(format!("{method} {path} request"), &operation["requestBody"]["content"]);
        for (status, response) in operation["responses"].as_object().unwrap() {
            check(format!("{method} {path} {status}"), &document.resolved(response)["content"]);
        }
    }
    assert!(examples >= 10, "the examples were looked at");
}

/// The examples in an order that tells a story: operation, example, status.
const STORY: [(&str, &str, u16); 18] = [
    ("putWorkOrder", "unlimited", 201),
    ("putWorkOrder", "plan", 200),
    ("scan", "part", 201),
    ("scan", "unbind", 201),
    ("scan", "pieces", 201),
    ("correct", "delta", 201),
    ("correct", "set_to", 201),
    ("scan", "undo", 201),
    ("scanBatch", "queue", 200),
    ("holdWorkOrder", "pause", 200),
    ("scan", "override", 201),
    ("holdWorkOrder", "stop", 200),
    ("leaveRefusal", "badge", 200),
    ("holdWorkOrder", "resume", 200),
    ("correct", "recount", 201),
    ("repairFinding", "reason", 200),
    ("startCheck", "full", 202),
    ("startCheck", "one", 202),
];

/// A check and a finding under the ids of the examples, as the monitor would have written them.
async fn found(data: &std::path::Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("scanfence.db"));
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let statements = "
        insert into consistency_checks (check_id, range, state, requested_by, requested_at)
        values ('019b8203-1c00-7000-8000-00000000000c', 'full', 'drift', 'schedule', '2026-01-03T03:00:00.000Z');
        insert into consistency_findings (finding_id, first_check_id, last_check_id, work_order, kind, expected,
            actual, details, remedy, state, found_at, seen_at)
        values ('019b8203-1c00-7000-8000-00000000000f', '019b8203-1c00-7000-8000-00000000000c',
            '019b8203-1c00-7000-8000-00000000000c', 'P202502241740363143817', 'status', '\"in_progress\"',
            '\"pending\"', '{\"rows\":[]}', 'repair', 'open', '2026-01-03T03:00:01.000Z', '2026-01-03T03:00:01.000Z')";
    connection.execute(statements).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_is_answered_as_documented() {
    let document = document();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Setup::embedded(&data).start().await;
    found(&data).await;
    let client = service.client().checked_by(as_documented);
    let operations: BTreeMap<String, _> = operations(&document)
        .into_iter()
        .map(|(method, path, operation, parameters)| {
            (operation["operationId"].as_str().unwrap().to_owned(), (method, path, operation, parameters))
        })
        .collect();
    let mut left: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (id, (_, _, operation, _)) in &operations {
        let examples = operation["requestBody"]["content"]["application/json"]["examples"].as_object();
        left.extend(examples.into_iter().flatten().map(|(name, _)| (id.as_str(), name.as_str())));
    }
    for (id, name, status) in STORY {
        assert!(left.remove(&(id, name)), "{id} has no example {name}");
        let (method, path, operation, parameters) = &operations[id];
        let body = &operation["requestBody"]["content"]["application/json"]["examples"][name]["value"];
        let path = filled(path, parameters);
        before(&client, (id, name), body, &path).await;
        let key = match (id, name) {
            // The scan that the example `undo` names.
            ("scan", "pieces") => {
                operations[id].2["requestBody"]["content"]["application/json"]["examples"]["undo"]["value"]["undoes"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            }
            _ => stage::unique("k"),
        };
        let reply = client.json(method, &path, &[("idempotency-key", &key)], body).await.unwrap();
        assert_eq!(reply.status, status, "{id} {name}: {reply:?}");
        if name == "queue" {
            let results = reply.json()["results"].as_array().unwrap().clone();
            assert!(results.iter().all(|result| result["status"] == 201), "{results:?}");
        }
    }
    assert!(left.is_empty(), "the story leaves out {left:?}");
    for (id, (method, path, _, parameters)) in &operations {
        if method == "GET" {
            asked(&client, id, &filled(path, parameters), parameters).await;
        }
    }
}

/// What has to be there before an example is sent.
async fn before(client: &Client, example: (&str, &str), body: &Value, path: &str) {
    let number = "P202502241740363143817";
    match example {
        // What the example expects to find.
        ("correct", "set_to") => {
            let found = json!({ "counter": "output", "set_to": 251, "operator": "E1024", "reason": "counted" });
            client.correct(number, "before", &found).await;
        }
        // The refused scan that the example settles.
        ("scan", "override") => {
            let refused = json!({ "counter": "input", "barcode": body["barcode"] });
            assert_eq!(client.scan(number, body["settles"].as_str().unwrap(), &refused).await.status, 409);
        }
        // The refused scan that the example leaves.
        ("leaveRefusal", "badge") => {
            let key = path.split('/').nth(3).unwrap();
            assert_eq!(client.scan(number, key, &json!({ "counter": "input" })).await.status, 409);
        }
        _ => {}
    }
}

/// Asks with each parameter's example, and without any that may be left out.
async fn asked(client: &Client, id: &str, path: &str, parameters: &[Value]) {
    let with = |parameter: &&Value| parameter["in"] == "query" && parameter.get("example").is_some();
    let pairs = parameters.iter().filter(with).map(|parameter| {
        let example = &parameter["example"];
        let example = example.as_str().map_or(example.to_string(), str::to_owned);
        format!("{}={example}", parameter["name"].as_str().unwrap())
    });
    let mut paths = vec![format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))];
    if id != "searchUpdates" {
        paths.push(path.to_owned());
    }
    for path in paths {
        let reply = client.get(path.trim_end_matches('?')).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
    }
}

/// A path with its parameters' examples in place.
fn filled(path: &str, parameters: &[Value]) -> String {
    parameters.iter().filter(|parameter| parameter["in"] == "path").fold(path.to_owned(), |path, parameter| {
        let name = parameter["name"].as_str().unwrap();
        path.replace(&format!("{{{name}}}"), parameter["example"].as_str().expect("a path's parameter has an example"))
    })
}

fn as_documented(method: &str, path: &str, reply: &Reply) {
    static DOCUMENT: LazyLock<Document> = LazyLock::new(document);
    let checked = DOCUMENT.check(method, path, reply.status.as_u16(), &reply.headers, &reply.body);
    checked.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{reply:?}"));
}

fn fits(document: &Document, schema: &Value, value: &Value, at: &str) {
    document.validate(schema, value).unwrap_or_else(|error| panic!("{at}: {error}\n{value}"));
}
