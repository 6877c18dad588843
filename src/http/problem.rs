//! Problems: every error that leaves the service, in words for people and for
//! programs (RFC 9457; contract, section 4).
//!
//! A handler returns a [`Problem`]; the edge turns it into a response, once, where
//! the path and the caller's languages are known.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

pub use super::code::{Applied, Code};
use super::extract::{FieldError, Fields, preferred};
use super::updates::Rendered;
use super::{REPLAYED, json};
use crate::domain::ids::RequestId;
use crate::domain::update::Update;
use crate::store::StoreError;

/// What is wrong with one request.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which problem.
    pub code: Code,
    /// This occurrence of it, in words.
    pub detail: Cow<'static, str>,
    /// The request id, where there is one.
    pub request_id: Option<RequestId>,
    /// Whether an earlier request with this id was answered the same.
    pub replayed: bool,
    /// What programs may want to know besides.
    pub more: More,
}

/// The members that only some problems have.
#[derive(Clone, Debug)]
pub enum More {
    /// None.
    Nothing,
    /// `errors`: the fields that are wrong, all of them.
    Errors(Vec<FieldError>),
    /// `differs`: the fields that differ from the request that has the key.
    Differs {
        /// Their names.
        fields: Vec<&'static str>,
        /// What became of the request that has the key.
        applied: Applied,
    },
    /// `original`: the update that counted the barcode.
    Original(Arc<Update>),
}

/// A language that titles and explanations are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese, simplified.
    Chinese,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// The one that the caller's `Accept-Language` likes best; English where it says nothing.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        preferred(headers, ACCEPT_LANGUAGE, &Self::ALL, |&language, range| {
            let primary = range.split('-').next().unwrap_or_default();
            match language {
                _ if range == "*" => Some(0),
                _ if range.eq_ignore_ascii_case(language.tag()) => Some(2),
                Self::English => primary.eq_ignore_ascii_case("en").then_some(1),
                Self::Chinese => primary.eq_ignore_ascii_case("zh").then_some(1),
            }
        })
        .copied()
        .unwrap_or(Self::English)
    }

    /// Its tag (RFC 5646).
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }
}

impl Problem {
    /// A problem with this code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), request_id: None, replayed: false, more: More::Nothing }
    }

    /// Fields or query parameters that are wrong.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [FieldError { field, reason }] => format!("{field}: {reason}"),
            errors if errors.len() == Fields::ERRORS_MAX => {
                format!("{} fields or more are wrong; see errors", errors.len())
            }
            errors => format!("{} fields are wrong; see errors", errors.len()),
        };
        Self { more: More::Errors(errors), ..Self::new(Code::InvalidField, detail) }
    }

    /// The store did not do it: told to the caller in general, to the log in particular.
    #[must_use]
    pub fn storage(error: &StoreError) -> Self {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%error, cause, "the store did not answer a request");
        Self::new(Code::StorageUnavailable, "the database did not do this now")
    }

    /// The same, about this request id.
    #[must_use]
    pub fn about(self, request_id: RequestId) -> Self {
        Self { request_id: Some(request_id), ..self }
    }

    /// The JSON of it. `writes` is whether the request could change anything: what only
    /// reads has nothing to say about `applied`.
    pub(super) fn members<'a>(&'a self, language: Language, instance: &'a str, writes: bool) -> Members<'a> {
        let (mut errors, mut differs, mut original) = (None, None, None);
        let mut applied = self.code.applied();
        match &self.more {
            More::Nothing => {}
            More::Errors(list) => errors = Some(list.as_slice()),
            More::Differs { fields, applied: of_the_other } => {
                differs = Some(fields.as_slice());
                applied = Some(*of_the_other);
            }
            More::Original(update) => original = Some(Rendered::of(update)),
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
    #[must_use]
    pub fn response(&self, language: Language, instance: &str, writes: bool) -> Response {
        let body = json::bytes(&self.members(language, instance, writes));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
        if let Some(seconds) = self.code.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// An empty response that carries the problem to the edge, which writes it out.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code.status();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The members of the JSON, in order.
#[derive(Serialize)]
pub(super) struct Members<'a> {
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
    original: Option<Rendered<'a>>,
}

/// `/problems/<code>`, which the service itself answers with an explanation.
struct Type(Code);

impl Serialize for Type {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("/problems/{}", self.0.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_by_their_words_in_both_languages() {
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(Code::of_word(code.word()), Some(code));
            for other in &Code::ALL[..at] {
                for language in Language::ALL {
                    assert_ne!(code.title(language), other.title(language), "{code:?} {other:?}");
                }
            }
            assert!(!code.title(Language::Chinese).is_ascii(), "{code:?}");
        }
    }

    #[test]
    fn only_what_may_fare_better_is_retryable() {
        for code in Code::ALL {
            let status = code.status().as_u16();
            let expected = [408, 429, 503].contains(&status) || code == Code::WorkOrderUnknown;
            assert_eq!(code.retryable(), expected, "{code:?}");
            assert_eq!(code.retry_after().is_some(), status == 429 || status == 503, "{code:?}");
        }
    }

    #[test]
    fn the_language_is_the_one_liked_best() {
        for (accepted, language) in [
            ("", Language::English),
            ("zh-CN", Language::Chinese),
            ("zh", Language::Chinese),
            ("ZH-Hans-CN;q=0.5", Language::Chinese),
            ("en, zh", Language::English),
            ("zh, en", Language::Chinese),
            ("en;q=0.5, zh;q=0.6", Language::Chinese),
            ("fr, zh;q=0.1", Language::Chinese),
            ("zh;q=0, *", Language::English),
            ("en;q=0, *", Language::Chinese),
            ("fr", Language::English),
            ("zh;q=oops", Language::English),
            ("zhx", Language::English),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, accepted.parse().unwrap());
            assert_eq!(Language::of(&headers), language, "{accepted}");
        }
    }
}
