//! The codes of problems: word, status, whether the request may have taken effect, and when to send
//! it again (contract, section 4). Their titles and explanations are in [`words`](super::words).

use axum::http::StatusCode;
use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::counting::Unsettled;
use crate::domain::update::RefusalCode;

/// Whether the request id has changed, or may still change, a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Applied {
    /// It has not.
    No,
    /// It may have.
    Unknown,
}

/// Every problem there is. A variant's name is its word in JSON, path and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Code {
    /// There is no Idempotency-Key.
    IdempotencyKeyMissing,
    /// The Idempotency-Key is not valid.
    IdempotencyKeyInvalid,
    /// Not HTTP, or not a JSON object with each field once.
    MalformedRequest,
    /// The caller is not known.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// There is no such work order.
    WorkOrderUnknown,
    /// There is no such update, or not yet.
    UpdateUnknown,
    /// There is no such path, or nothing under this name.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The request took too long.
    RequestTimeout,
    /// The barcode is already counted.
    BarcodeAlreadyCounted,
    /// The barcode is not counted.
    BarcodeNotCounted,
    /// The barcode does not match the work order's pattern.
    BarcodeMismatch,
    /// The refused scan is settled already, or it is none that can be settled.
    AlreadySettled,
    /// The update can't be taken back.
    NothingToUndo,
    /// More than plan and allowance.
    OverPlan,
    /// Below zero.
    BelowZero,
    /// The work order's status does not take this.
    WorkOrderNotOpen,
    /// The counter is not as expected.
    NotAsExpected,
    /// The barcode policy can't change any more.
    BarcodePolicyFixed,
    /// The finding is no longer open.
    FindingSettled,
    /// The log can't say what is right.
    DecisionNeeded,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// Fields or query parameters are wrong.
    InvalidField,
    /// The key belongs to another request.
    IdempotencyKeyReused,
    /// The caller sends too often.
    TooManyRequests,
    /// The request line or the headers are too large.
    HeadersTooLarge,
    /// A defect of the service.
    InternalError,
    /// A queue or limit is full.
    Overloaded,
    /// The request came in time, and was not done in time.
    TimedOut,
    /// The database does not answer.
    StorageUnavailable,
    /// Redis does not answer, and the fallback is `refuse`.
    LeaseUnavailable,
    /// The service is stopping.
    ShuttingDown,
    /// An earlier item of the batch has no final answer.
    EarlierItemPending,
    /// The work order's row is behind its log.
    WorkOrderQuarantined,
}

impl Code {
    /// Every code.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The code's word in JSON, path and log.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The code with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// The status it is answered with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::IdempotencyKeyMissing | Self::IdempotencyKeyInvalid | Self::MalformedRequest => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::WorkOrderUnknown | Self::UpdateUnknown | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BarcodeAlreadyCounted
            | Self::BarcodeNotCounted
            | Self::BarcodeMismatch
            | Self::AlreadySettled
            | Self::NothingToUndo
            | Self::OverPlan
            | Self::BelowZero
            | Self::WorkOrderNotOpen
            | Self::NotAsExpected
            | Self::BarcodePolicyFixed
            | Self::FindingSettled
            | Self::DecisionNeeded => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidField | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded
            | Self::TimedOut
            | Self::StorageUnavailable
            | Self::LeaseUnavailable
            | Self::ShuttingDown
            | Self::EarlierItemPending
            | Self::WorkOrderQuarantined => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether a change may have taken effect, if the code alone says so.
    pub(super) fn applied(self) -> Option<Applied> {
        match self {
            Self::WorkOrderUnknown
            | Self::UpdateUnknown
            | Self::BarcodeAlreadyCounted
            | Self::BarcodeNotCounted
            | Self::BarcodeMismatch
            | Self::AlreadySettled
            | Self::NothingToUndo
            | Self::OverPlan
            | Self::BelowZero
            | Self::WorkOrderNotOpen
            | Self::NotAsExpected
            | Self::BarcodePolicyFixed
            | Self::FindingSettled
            | Self::DecisionNeeded
            | Self::PreconditionFailed => Some(Applied::No),
            // An earlier attempt under the same id may have been counted.
            Self::Unauthenticated
            | Self::Forbidden
            | Self::RequestTimeout
            | Self::TooManyRequests
            | Self::InternalError
            | Self::Overloaded
            | Self::TimedOut
            | Self::StorageUnavailable
            | Self::LeaseUnavailable
            | Self::ShuttingDown
            | Self::EarlierItemPending
            | Self::WorkOrderQuarantined => Some(Applied::Unknown),
            // For a reused key, the stored update says it; see `Extension::Differs`.
            Self::IdempotencyKeyReused
            | Self::IdempotencyKeyMissing
            | Self::IdempotencyKeyInvalid
            | Self::MalformedRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::BodyTooLarge
            | Self::UnsupportedMediaType
            | Self::InvalidField
            | Self::HeadersTooLarge => None,
        }
    }

    /// Whether the same request, sent again under the same id, may succeed.
    #[must_use]
    pub fn retryable(self) -> bool {
        match self.status() {
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::SERVICE_UNAVAILABLE => true,
            _ => matches!(self, Self::WorkOrderUnknown | Self::UpdateUnknown),
        }
    }

    /// After how many seconds to send it again.
    #[must_use]
    pub fn retry_after(self) -> Option<u32> {
        match self {
            // It lasts until a person or a repair has looked at it.
            Self::WorkOrderQuarantined => Some(30),
            _ => matches!(self.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        }
    }
}

impl From<RefusalCode> for Code {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::BarcodeAlreadyCounted => Self::BarcodeAlreadyCounted,
            RefusalCode::BarcodeNotCounted => Self::BarcodeNotCounted,
            RefusalCode::BarcodeMismatch => Self::BarcodeMismatch,
            RefusalCode::AlreadySettled => Self::AlreadySettled,
            RefusalCode::NothingToUndo => Self::NothingToUndo,
            RefusalCode::OverPlan => Self::OverPlan,
            RefusalCode::BelowZero => Self::BelowZero,
            RefusalCode::WorkOrderNotOpen => Self::WorkOrderNotOpen,
            RefusalCode::NotAsExpected => Self::NotAsExpected,
        }
    }
}

impl From<Unsettled> for Code {
    fn from(unsettled: Unsettled) -> Self {
        match unsettled {
            Unsettled::Overloaded => Self::Overloaded,
            Unsettled::StorageUnavailable => Self::StorageUnavailable,
            Unsettled::LeaseUnavailable => Self::LeaseUnavailable,
            Unsettled::ShuttingDown => Self::ShuttingDown,
            Unsettled::EarlierItemPending => Self::EarlierItemPending,
            Unsettled::WorkOrderQuarantined => Self::WorkOrderQuarantined,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_fare_better_is_retryable() {
        for &code in Code::ALL {
            let status = code.status().as_u16();
            let expected =
                [408, 429, 500, 503].contains(&status) || matches!(code, Code::WorkOrderUnknown | Code::UpdateUnknown);
            assert_eq!(code.retryable(), expected, "{code:?}");
            assert_eq!(code.retry_after().is_some(), status == 429 || status == 503, "{code:?}");
        }
    }
}
