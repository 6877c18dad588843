//! The codes of problems: for each its word, its status, whether it may have taken effect, and
//! what it says to people, in English and in Chinese (contract, section 4).

use axum::http::StatusCode;
use serde::Serialize;

use super::problem::Language;
use crate::counting::Unsettled;
use crate::domain::update::RefusalCode;

/// Whether the request id has changed, or may yet change, a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Applied {
    /// It has not.
    No,
    /// It may have.
    Unknown,
}

/// Every problem there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No Idempotency-Key.
    IdempotencyKeyMissing,
    /// An Idempotency-Key that is none.
    IdempotencyKeyInvalid,
    /// Not HTTP, or not a JSON object with each field once.
    MalformedRequest,
    /// The caller is not known.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// No such work order.
    WorkOrderUnknown,
    /// No such path, or nothing under this name.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The request took too long.
    RequestTimeout,
    /// The barcode stands counted.
    BarcodeAlreadyCounted,
    /// The barcode does not stand counted.
    BarcodeNotCounted,
    /// Past plan and allowance.
    OverPlan,
    /// Below zero.
    BelowZero,
    /// The work order's status does not take this.
    WorkOrderNotOpen,
    /// The counter is not as expected.
    NotAsExpected,
    /// The barcode policy can't change any more.
    BarcodePolicyFixed,
    /// The finding does not stand any more.
    FindingSettled,
    /// The log can't say what is right.
    DecisionNeeded,
    /// `If-Match` names another revision.
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
    /// Too much to do.
    Overloaded,
    /// The database does not answer.
    StorageUnavailable,
    /// Redis does not answer, and the fallback is `refuse`.
    LeaseUnavailable,
    /// The service stops.
    ShuttingDown,
    /// An earlier item of the batch has no final answer.
    EarlierItemPending,
    /// The work order's row lags its log.
    WorkOrderQuarantined,
}

/// A code's fixed traits, one row each.
struct Traits {
    word: &'static str,
    status: StatusCode,
    applied: Option<Applied>,
    english: (&'static str, &'static str),
    chinese: (&'static str, &'static str),
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 32] = [
        Self::IdempotencyKeyMissing,
        Self::IdempotencyKeyInvalid,
        Self::MalformedRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::WorkOrderUnknown,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BarcodeAlreadyCounted,
        Self::BarcodeNotCounted,
        Self::OverPlan,
        Self::BelowZero,
        Self::WorkOrderNotOpen,
        Self::NotAsExpected,
        Self::BarcodePolicyFixed,
        Self::FindingSettled,
        Self::DecisionNeeded,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidField,
        Self::IdempotencyKeyReused,
        Self::TooManyRequests,
        Self::HeadersTooLarge,
        Self::InternalError,
        Self::Overloaded,
        Self::StorageUnavailable,
        Self::LeaseUnavailable,
        Self::ShuttingDown,
        Self::EarlierItemPending,
        Self::WorkOrderQuarantined,
    ];

    /// The code's word in JSON, path and log.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.traits().word
    }

    /// The code with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.word() == word)
    }

    /// Whether a change may have taken effect, where the code alone says so.
    pub(super) fn applied(self) -> Option<Applied> {
        self.traits().applied
    }

    /// The status it is answered with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.traits().status
    }

    /// Whether the same request, sent again under the same id, may fare better.
    #[must_use]
    pub fn retryable(self) -> bool {
        match self.status() {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
            _ => self == Self::WorkOrderUnknown,
        }
    }

    /// After how many seconds to send it again.
    #[must_use]
    pub fn retry_after(self) -> Option<u32> {
        match self {
            // Lasts until a person or a repair has looked at it.
            Self::WorkOrderQuarantined => Some(30),
            _ => matches!(self.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        }
    }

    /// What the problem is called.
    #[must_use]
    pub fn title(self, language: Language) -> &'static str {
        self.words(language).0
    }

    /// What the problem is about, and what to do.
    #[must_use]
    pub fn explanation(self, language: Language) -> &'static str {
        self.words(language).1
    }

    fn words(self, language: Language) -> (&'static str, &'static str) {
        match language {
            Language::English => self.traits().english,
            Language::Chinese => self.traits().chinese,
        }
    }

    fn traits(self) -> Traits {
        use Applied::{No, Unknown};
        let row = |word, status, applied, english, chinese| Traits { word, status, applied, english, chinese };
        match self {
            Self::IdempotencyKeyMissing => row(
                "idempotency-key-missing",
                StatusCode::BAD_REQUEST,
                None,
                (
                    "Idempotency-Key is missing",
                    "Every request that changes a quantity names itself by the header Idempotency-Key (in a batch: \
                     by each item's request_id), so that it can be repeated safely. Make a new key per scan, such as \
                     a UUIDv7, and send the same key with every repeat.",
                ),
                (
                    "缺少 Idempotency-Key",
                    "每个改变数量的请求都必须带 Idempotency-Key 请求头（批量时为每条的 request_id），这样才能安全地重发。\
                     每次扫码生成一个新的请求号（建议 UUIDv7），重发时使用同一个请求号。",
                ),
            ),
            Self::IdempotencyKeyInvalid => row(
                "idempotency-key-invalid",
                StatusCode::BAD_REQUEST,
                None,
                (
                    "Idempotency-Key is invalid",
                    "A key is 1 to 255 visible ASCII characters, bare or as a quoted string, and sent once.",
                ),
                ("Idempotency-Key 无效", "请求号为 1 至 255 个可见 ASCII 字符，可加双引号，且只能发送一次。"),
            ),
            Self::MalformedRequest => row(
                "malformed-request",
                StatusCode::BAD_REQUEST,
                None,
                (
                    "The request is malformed",
                    "The request is not valid HTTP, a header can't be read, or the body is not a JSON object in \
                     UTF-8 with each field once.",
                ),
                (
                    "请求格式错误",
                    "请求不是有效的 HTTP、请求头无法解析，或正文不是每个字段只出现一次的 UTF-8 JSON 对象。",
                ),
            ),
            Self::Unauthenticated => row(
                "unauthenticated",
                StatusCode::UNAUTHORIZED,
                Some(Unknown),
                (
                    "The caller is not known",
                    "The service takes requests from its own machine only (Host localhost, 127.0.0.1 or [::1], not \
                     through a proxy), or a key is needed and was not sent.",
                ),
                (
                    "未认证",
                    "服务只接受本机请求（Host 为 localhost、127.0.0.1 或 [::1]，且不经代理），或者需要密钥但未提供。",
                ),
            ),
            Self::Forbidden => row(
                "forbidden",
                StatusCode::FORBIDDEN,
                Some(Unknown),
                ("The caller may not do this", "The key is known, but its role does not allow this request."),
                ("没有权限", "密钥有效，但其角色不允许此请求。"),
            ),
            Self::WorkOrderUnknown => row(
                "work-order-unknown",
                StatusCode::NOT_FOUND,
                Some(No),
                (
                    "There is no such work order",
                    "No work order has this number yet. Create it with PUT; the same request may then be sent again \
                     under the same id.",
                ),
                ("工单不存在", "还没有这个编号的工单。请先用 PUT 创建，然后可用同一请求号重发。"),
            ),
            Self::NotFound => row(
                "not-found",
                StatusCode::NOT_FOUND,
                None,
                ("Not found", "The service has no such path, or nothing is recorded under this name."),
                ("未找到", "服务没有此路径，或没有此名称的记录。"),
            ),
            Self::MethodNotAllowed => row(
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                None,
                ("The method is not allowed here", "The header Allow lists the methods that this path takes."),
                ("不支持该方法", "Allow 响应头列出了此路径支持的方法。"),
            ),
            Self::RequestTimeout => row(
                "request-timeout",
                StatusCode::REQUEST_TIMEOUT,
                Some(Unknown),
                (
                    "The request took too long",
                    "The request did not arrive, or was not done, within the time limit. It may still take effect: \
                     send it again under the same id to learn what became of it.",
                ),
                ("请求超时", "请求未在时限内到达或完成，但仍可能生效：请用同一请求号重发以得知结果。"),
            ),
            Self::BarcodeAlreadyCounted => row(
                "barcode-already-counted",
                StatusCode::CONFLICT,
                Some(No),
                (
                    "The barcode is already counted",
                    "A barcode counts once per work order, counter and step, until it is unbound. The member \
                     original says when, where and by whom it was counted. This answer is final.",
                ),
                (
                    "条码已计数",
                    "同一工单、数量类型和工序下，一个条码只计一次，解绑后才能再扫。original 说明何时、何地、由谁计入。此结果为最终结果。",
                ),
            ),
            Self::BarcodeNotCounted => row(
                "barcode-not-counted",
                StatusCode::CONFLICT,
                Some(No),
                (
                    "The barcode is not counted",
                    "There is nothing to unbind: the barcode does not stand counted for this work order, counter \
                     and step. This answer is final.",
                ),
                ("条码未计数", "没有可解绑的记录：该条码在此工单、数量类型和工序下未计数。此结果为最终结果。"),
            ),
            Self::OverPlan => row(
                "over-plan",
                StatusCode::CONFLICT,
                Some(No),
                (
                    "Past the plan",
                    "Input and output keep within planned quantity and allowance, and every quantity within 10^12. \
                     This answer is final; scan again under a new id once the plan was raised.",
                ),
                (
                    "超出计划",
                    "投入量和产出量不得超过计划数量加允许超出量，任何数量不得超过 10^12。此结果为最终结果；调整计划后请用新的请求号重新扫码。",
                ),
            ),
            Self::BelowZero => row(
                "below-zero",
                StatusCode::CONFLICT,
                Some(No),
                ("Below zero", "The change would make a quantity negative. This answer is final."),
                ("数量低于零", "此变更会使数量为负。此结果为最终结果。"),
            ),
            Self::WorkOrderNotOpen => row(
                "work-order-not-open",
                StatusCode::CONFLICT,
                Some(No),
                (
                    "The work order is not open",
                    "A paused or cancelled work order takes no scans, a cancelled one no corrections. This answer \
                     is final; scan again under a new id once the work order is open.",
                ),
                (
                    "工单未开放",
                    "已暂停或已取消的工单不接受扫码，已取消的工单不接受修正。此结果为最终结果；工单恢复后请用新的请求号重新扫码。",
                ),
            ),
            Self::NotAsExpected => row(
                "not-as-expected",
                StatusCode::CONFLICT,
                Some(No),
                (
                    "The quantity is not as expected",
                    "The correction named the quantity that it expected, and the counter stood at another. This \
                     answer is final; look at the quantity and correct it under a new id.",
                ),
                (
                    "数量与预期不符",
                    "修正所给的预期数量与当前数量不同。此结果为最终结果；请查看当前数量后用新的请求号修正。",
                ),
            ),
            Self::BarcodePolicyFixed => row(
                "barcode-policy-fixed",
                StatusCode::CONFLICT,
                Some(No),
                ("The barcode policy is fixed", "The barcode policy can't change once a barcode was counted."),
                ("条码策略已固定", "一旦有条码计数，条码策略就不能再更改。"),
            ),
            Self::FindingSettled => row(
                "finding-settled",
                StatusCode::CONFLICT,
                Some(No),
                (
                    "The finding is settled",
                    "The finding was repaired already, or a later check no longer saw it. There is nothing to repair.",
                ),
                ("发现项已处理", "该发现项已修复，或后续检查已不再出现，无需修复。"),
            ),
            Self::DecisionNeeded => row(
                "decision-needed",
                StatusCode::CONFLICT,
                Some(No),
                (
                    "A person has to decide",
                    "The log itself is in doubt here, so it can't say what is right. The finding shows the rows and, where there is one, a correction that would bring the quantity to the sum of the log.",
                ),
                (
                    "需要人工决定",
                    "变更记录本身存疑，无法据此判断正确值。发现项列出了相关记录，并在可能时给出使数量与记录之和一致的修正建议。",
                ),
            ),
            Self::PreconditionFailed => row(
                "precondition-failed",
                StatusCode::PRECONDITION_FAILED,
                Some(No),
                (
                    "The work order was changed in the meantime",
                    "If-Match names another revision than the work order has. Read it again, look at what changed, \
                     and send the change with the new ETag.",
                ),
                ("工单已被他人修改", "If-Match 与工单当前版本不符。请重新读取，确认变化后带上新的 ETag 再提交。"),
            ),
            Self::BodyTooLarge => row(
                "body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                None,
                ("The body is too large", "A body is at most 16 KiB, a batch 1 MiB, unless configured otherwise."),
                ("正文过大", "正文最大 16 KiB，批量最大 1 MiB（除非另有配置）。"),
            ),
            Self::UnsupportedMediaType => row(
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                None,
                ("The body is not JSON", "Send Content-Type: application/json, in UTF-8 and without Content-Encoding."),
                ("不支持的正文类型", "请发送 Content-Type: application/json，UTF-8 编码且不使用 Content-Encoding。"),
            ),
            Self::InvalidField => row(
                "invalid-field",
                StatusCode::UNPROCESSABLE_ENTITY,
                None,
                (
                    "Fields are wrong",
                    "A field or query parameter is unknown, missing, of the wrong type or out of range. The member \
                     errors lists each of them with the reason.",
                ),
                ("字段有误", "字段或查询参数未知、缺失、类型错误或超出范围。errors 逐一列出字段和原因。"),
            ),
            Self::IdempotencyKeyReused => row(
                "idempotency-key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                // Told by the stored update; see `More::Differs`.
                None,
                (
                    "The key belongs to another request",
                    "Another request was decided under this id. The member differs names the fields in which this \
                     one differs. A new scan takes a new key.",
                ),
                (
                    "请求号已被其他请求使用",
                    "此请求号已对应另一个请求，differs 列出不同的字段。新的扫码请使用新的请求号。",
                ),
            ),
            Self::TooManyRequests => row(
                "too-many-requests",
                StatusCode::TOO_MANY_REQUESTS,
                Some(Unknown),
                ("Too many requests", "The caller sends more often than it may. Wait as long as Retry-After says."),
                ("请求过于频繁", "请求频率超出限制，请按 Retry-After 等待后重发。"),
            ),
            Self::HeadersTooLarge => row(
                "headers-too-large",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                None,
                (
                    "The request line or headers are too large",
                    "Request line and headers together are at most 16 KiB, unless configured otherwise, and 100 headers.",
                ),
                ("请求行或请求头过大", "请求行与请求头合计不得超过 16 KiB（除非另有配置），且最多 100 个请求头。"),
            ),
            Self::InternalError => row(
                "internal-error",
                StatusCode::INTERNAL_SERVER_ERROR,
                Some(Unknown),
                (
                    "The service made a mistake",
                    "A defect of the service kept it from answering. The request may have taken effect: send it \
                     again under the same id to learn what became of it.",
                ),
                ("服务内部错误", "服务出现缺陷而未能作答，请求可能已生效：请用同一请求号重发以得知结果。"),
            ),
            Self::Overloaded => row(
                "overloaded",
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Unknown),
                ("Too much to do", "A queue or limit of the service is full. Send it again under the same id."),
                ("服务繁忙", "服务的队列或限额已满，请用同一请求号重发。"),
            ),
            Self::StorageUnavailable => row(
                "storage-unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Unknown),
                (
                    "The database does not answer",
                    "The database did not answer in time, so it is not known whether the request took effect. Send \
                     it again under the same id.",
                ),
                ("数据库无响应", "数据库未及时响应，无法确定请求是否生效，请用同一请求号重发。"),
            ),
            Self::LeaseUnavailable => row(
                "lease-unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Unknown),
                ("The lock service does not answer", "Redis can't be reached. Send it again under the same id."),
                ("锁服务无响应", "无法连接 Redis，请用同一请求号重发。"),
            ),
            Self::ShuttingDown => row(
                "shutting-down",
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Unknown),
                (
                    "The service is stopping",
                    "This replica stops. Send it again under the same id, on a new connection.",
                ),
                ("服务正在停止", "此副本正在停止，请换新连接、用同一请求号重发。"),
            ),
            Self::EarlierItemPending => row(
                "earlier-item-pending",
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Unknown),
                (
                    "An earlier item is pending",
                    "An earlier item of the batch, of the same work order and terminal, has no final answer, so this \
                     one waits for it. Send both again under the same ids, in the same order.",
                ),
                (
                    "前面的条目未完成",
                    "同一工单和终端的前一条目还没有最终结果，此条须等待。请按原顺序、用原请求号重发。",
                ),
            ),
            Self::WorkOrderQuarantined => row(
                "work-order-quarantined",
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Unknown),
                (
                    "The work order is quarantined",
                    "The work order's quantity lags its update log, as after a restored backup, and nothing is \
                     counted on it until that is repaired. Other work orders are not affected.",
                ),
                ("工单已隔离", "工单数量落后于变更记录（例如恢复备份之后），修复前不再计数。其他工单不受影响。"),
            ),
        }
    }
}

impl From<RefusalCode> for Code {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::BarcodeAlreadyCounted => Self::BarcodeAlreadyCounted,
            RefusalCode::BarcodeNotCounted => Self::BarcodeNotCounted,
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
