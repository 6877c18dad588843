//! What the service says about itself: `openapi.yaml`, and what each problem means.

use axum::http::header::{CONTENT_LANGUAGE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use crate::http::input::extractors::PathParameter;
use crate::http::output::code::Code;
use crate::http::output::language::Language;
use crate::http::output::problem::Problem;
use crate::http::output::response::with_type;

/// The contract in the form that programs read.
pub const OPENAPI: &str = include_str!("../../../openapi.yaml");

/// `GET /openapi.yaml`
pub(super) async fn openapi() -> Response {
    with_type("application/yaml; charset=utf-8", OPENAPI)
}

/// `GET /problems/{code}`: what a problem's `type` points to.
pub(super) async fn explain(headers: HeaderMap, PathParameter(code): PathParameter) -> Result<Response, Problem> {
    let code = code.as_deref().and_then(Code::of_word);
    let code = code.ok_or_else(|| Problem::new(Code::NotFound, "there is no such problem"))?;
    let language = Language::of(&headers);
    let (title, explanation) = (code.title(language), code.explanation(language));
    let body = format!("{} {}\n\n{title}\n\n{explanation}\n", code.status().as_u16(), code.word());
    let mut response = with_type("text/plain; charset=utf-8", body);
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Language"));
    Ok(response)
}
