//! Checks answers against `openapi.yaml`: status, media type, headers, and the body against
//! its schema (JSON Schema 2020-12, with formats).
//!
//! The tests of the HTTP layer include this file, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hyper::HeaderMap;
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// The document, and the validators that were made of its schemas.
pub struct Document {
    pub yaml: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// Headers that the document names wherever they are sent.
const HEADERS: [&str; 6] = ["etag", "idempotency-replayed", "link", "location", "retry-after", "www-authenticate"];
/// The same for successes. `/readyz` alone sends a `Cache-Control` that is not documented.
const HEADERS_OF_SUCCESS: [&str; 2] = ["cache-control", "content-language"];

impl Document {
    pub fn of(text: &str) -> Self {
        let yaml = serde_saphyr::from_str(text).expect("openapi.yaml is YAML");
        Self { yaml, validators: Mutex::default() }
    }

    /// What a `$ref` points to, or the value itself.
    pub fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            None => value,
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("references stay within the document");
                self.yaml.pointer(pointer).unwrap_or_else(|| panic!("{reference} points nowhere"))
            }
        }
    }

    /// The documented route that a path takes.
    pub fn route(&self, path: &str) -> Option<&str> {
        let path = path.split('?').next().unwrap_or_default();
        let fits = |route: &str| {
            let same_length = route.split('/').count() == path.split('/').count();
            let is_part = |of: &str, part: &str| of == part || of.starts_with('{') && !part.is_empty();
            same_length && route.split('/').zip(path.split('/')).all(|(of, part)| is_part(of, part))
        };
        self.yaml["paths"].as_object()?.keys().map(String::as_str).find(|route| fits(route))
    }

    /// Checks an answer. A path or method that is not documented is answered by a problem.
    ///
    /// # Errors
    /// What is not as documented.
    pub fn check(&self, method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
        let asked = if method == "HEAD" { "GET" } else { method };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let media = header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let operation = self.route(path).map(|route| (route, &self.yaml["paths"][route][asked.to_lowercase()]));
        let Some((route, operation)) = operation.filter(|(_, operation)| operation.is_object()) else {
            let known = media == "application/problem+json";
            let problem = json!({ "$ref": "#/components/schemas/Problem" });
            return if known {
                self.check_body(&problem, media, method, body)
            } else {
                Err(format!("{path}: {media}"))
            };
        };
        let at = format!("{asked} {route} {status}");
        let response = self.resolved(&operation["responses"][status.to_string()]);
        if !response.is_object() {
            return Err(format!("{at} is not documented"));
        }
        let documented = response["headers"].as_object();
        let documented: HashMap<String, &Value> =
            documented.into_iter().flatten().map(|(name, header)| (name.to_lowercase(), header)).collect();
        let of_success = HEADERS_OF_SUCCESS.into_iter().filter(|_| status < 300 && route != "/readyz");
        for name in HEADERS.into_iter().chain(of_success).filter(|name| headers.contains_key(*name)) {
            if !documented.contains_key(name) {
                return Err(format!("{at}: the header {name} is not documented"));
            }
        }
        for (name, described) in documented {
            let Some(value) = header(&name) else { continue };
            let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
            let schema = &self.resolved(described)["schema"];
            self.validate(schema, &value).map_err(|error| format!("{at}: the header {name}: {error}"))?;
        }
        let content = response["content"].get(media).ok_or_else(|| format!("{at}: {media} is not documented"))?;
        self.check_body(&content["schema"], media, method, body).map_err(|error| format!("{at}: {error}"))
    }

    fn check_body(&self, schema: &Value, media: &str, method: &str, body: &[u8]) -> Result<(), String> {
        if method == "HEAD" {
            return if body.is_empty() { Ok(()) } else { Err("a HEAD has no body".to_owned()) };
        }
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let value = match media.ends_with("json") {
            true => serde_json::from_str(text).map_err(|error| error.to_string())?,
            false => json!(text),
        };
        self.validate(schema, &value)
    }

    /// Checks a value against a schema of the document.
    ///
    /// # Errors
    /// All that is wrong, with its place in the value.
    pub fn validate(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let validator = self.validator(schema);
        let errors = validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path()));
        let errors: Vec<String> = errors.collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let mut validators = self.validators.lock().expect("nobody panics with it");
        let validator = validators.entry(schema.to_string()).or_insert_with(|| {
            let mut root = schema.clone();
            // References of a schema start at the document's root.
            root["components"] = self.yaml["components"].clone();
            let options = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true)
                .should_ignore_unknown_formats(false)
                // OpenAPI's own; a JSON number that is an integer is read as one.
                .with_format("int64", |_: &str| true);
            Arc::new(options.build(&root).unwrap_or_else(|error| panic!("{schema} is no schema: {error}")))
        });
        Arc::clone(validator)
    }
}
