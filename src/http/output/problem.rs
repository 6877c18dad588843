//! Problems: every error that leaves the service, for people and for programs (RFC 9457; contract,
//! section 4).
//!
//! A handler returns a [`Problem`]. The edge turns it into a response, in one place, where the path
//! and the caller's language are known. The words of titles and explanations are in
//! [`words`](super::words).

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_LANGUAGE, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::code::{Applied, Code};
use super::language::Language;
use super::render::UpdateView;
use super::response::{json_bytes, mark_replayed, with_type};
use crate::domain::ids::RequestId;
use crate::domain::update::Update;
use crate::store::StoreError;

/// What is wrong with one request.
#[derive(Clone, Debug)]
pub(in crate::http) struct Problem {
    /// Which problem.
    pub code: Code,
    /// What happened this time, in words.
    pub detail: Cow<'static, str>,
    /// The request id, if there is one.
    pub request_id: Option<RequestId>,
    /// Whether an earlier request with this id was answered the same.
    pub replayed: bool,
    /// The members that only this kind of problem has.
    pub extension: Extension,
}

/// The members that only some problems have ("extension members" of RFC 9457).
#[derive(Clone, Debug)]
pub(in crate::http) enum Extension {
    /// None.
    Nothing,
    /// `errors`: all the fields that are wrong.
    Errors(Vec<FieldError>),
    /// `differs`: the fields that differ from the request that has the key.
    Differs {
        /// Their names.
        fields: Vec<&'static str>,
        /// Whether the request that has the key may have changed a quantity.
        applied: Applied,
    },
    /// `original`: the update that counted the barcode.
    Original(Arc<Update>),
}

/// One field that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct FieldError {
    /// Its name.
    pub field: String,
    /// What it must be.
    pub reason: Cow<'static, str>,
}

impl FieldError {
    /// Errors beyond this number are not listed. No normal body has that many, and the answer must not be
    /// many times larger than the request.
    pub(in crate::http) const LISTED_MAX: usize = 100;
}

impl Problem {
    /// A problem with this code.
    pub(in crate::http) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), request_id: None, replayed: false, extension: Extension::Nothing }
    }

    /// Fields or query parameters that are wrong.
    pub(in crate::http) fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [FieldError { field, reason }] => format!("{field}: {reason}"),
            errors if errors.len() == FieldError::LISTED_MAX => {
                format!("{} or more fields are wrong; see errors", errors.len())
            }
            errors => format!("{} fields are wrong; see errors", errors.len()),
        };
        Self { extension: Extension::Errors(errors), ..Self::new(Code::InvalidField, detail) }
    }

    /// The store failed. The caller gets the general words, the log gets the cause.
    pub(in crate::http) fn storage(error: &StoreError) -> Self {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%error, cause, "a request failed because the database did not do its part; it can be sent again");
        Self::new(Code::StorageUnavailable, "the database can't do this now")
    }

    /// The same problem, with this request id.
    pub(in crate::http) fn about(self, request_id: RequestId) -> Self {
        Self { request_id: Some(request_id), ..self }
    }

    /// The JSON of it. `writes` says whether the request could change anything: a request that only
    /// reads has no `applied`.
    pub(in crate::http) fn members<'a>(&'a self, language: Language, instance: &'a str, writes: bool) -> Members<'a> {
        let (mut errors, mut differs, mut original) = (None, None, None);
        let mut applied = self.code.applied();
        match &self.extension {
            Extension::Nothing => {}
            Extension::Errors(list) => errors = Some(list.as_slice()),
            Extension::Differs { fields, applied: of_the_other } => {
                differs = Some(fields.as_slice());
                applied = Some(*of_the_other);
            }
            Extension::Original(update) => original = Some(UpdateView::of(update)),
        }
        Members {
            r#type: Type(self.code),
            title: self.code.title(language),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            instance,
            code: self.code.word(),
            applied: applied.filter(|_| writes),
            retryable: self.code.retryable(),
            request_id: self.request_id.as_ref(),
            errors,
            differs,
            original,
        }
    }

    /// The whole response.
    pub(in crate::http) fn response(&self, language: Language, instance: &str, writes: bool) -> Response {
        let body = json_bytes(&self.members(language, instance, writes));
        let mut response = with_type("application/problem+json", body);
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
        if let Some(seconds) = self.code.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        mark_replayed(&mut response, self.replayed);
        response
    }
}

impl IntoResponse for Problem {
    /// An empty response that carries the problem to the edge, which writes it.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code.status();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The members of the JSON, in order.
#[derive(Serialize)]
pub(in crate::http) struct Members<'a> {
    r#type: Type,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<Applied>,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [FieldError]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differs: Option<&'a [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<UpdateView<'a>>,
}

/// `/problems/<code>`: the service explains the problem there.
struct Type(Code);

impl Serialize for Type {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("/problems/{}", self.0.word()))
    }
}
