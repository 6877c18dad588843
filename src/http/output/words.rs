//! The words of problems: title and explanation, English and Chinese side by side.
//!
//! An explanation says what happened, what it means for the scans, and what to do next.
//! The `detail` of a problem is made where it is found: in `routes/`, `input/`, `edge/` and `problem.rs`.

mod refusals;
mod text;

use self::text::{Text, Words};
use super::code::Code;
use super::language::Language;
use crate::domain::update::RefusalCode;

impl Code {
    /// The problem's title.
    #[must_use]
    pub fn title(self, language: Language) -> &'static str {
        words(self).of(language).title
    }

    /// What the problem means, and what to do.
    #[must_use]
    pub fn explanation(self, language: Language) -> &'static str {
        words(self).of(language).explanation
    }
}

/// The words of this code.
// Long: one entry per code, in one list for translators. The compiler asks for every code.
fn words(code: Code) -> Words {
    match code {
        Code::IdempotencyKeyMissing => Words {
            english: Text {
                title: "Idempotency-Key is missing",
                explanation: "Nothing was changed. Every request that changes a quantity needs the header \
                              Idempotency-Key; in a batch, each item needs a request_id. It makes retries safe. Make a \
                              new key for each scan, for example a UUIDv7, and send the same key with every retry.",
            },
            chinese: Text {
                title: "缺少 Idempotency-Key",
                explanation: "本次未做任何更改。改变数量的请求必须带 Idempotency-Key 请求头（批量时为每条的 request_id），\
                              才能安全重试。每次扫码生成新的请求号（建议用 UUIDv7），重试时使用同一请求号。",
            },
        },
        Code::IdempotencyKeyInvalid => Words {
            english: Text {
                title: "Idempotency-Key is invalid",
                explanation: "Nothing was changed. A key is 1 to 255 visible ASCII characters, plain or as a quoted \
                              string, and is sent once. Correct the key and send the request again.",
            },
            chinese: Text {
                title: "Idempotency-Key 无效",
                explanation: "本次未做任何更改。请求号为 1 至 255 个可见 ASCII 字符，可加双引号。该请求头只能出现一次。请\
                              改正后再发送。",
            },
        },
        Code::MalformedRequest => Words {
            english: Text {
                title: "The request is malformed",
                explanation: "This request changed nothing. It is not valid HTTP, a header can't be read, or the body is \
                              not a JSON object in UTF-8 with each field once. Correct the request; retrying it unchanged \
                              does not help.",
            },
            chinese: Text {
                title: "请求格式错误",
                explanation: "本次请求未做任何更改。请求不是有效的 HTTP，或请求头无法解析，或请求体不是 UTF-8 编码的 JSON \
                              对象，或有重复字段。请改正请求，原样重试无效。",
            },
        },
        Code::Unauthenticated => Words {
            english: Text {
                title: "The caller is not known",
                explanation: "This request was not processed. The service answers only callers on its own machine (Host \
                              localhost, 127.0.0.1 or [::1], no proxy between), or a key is needed and was not sent. Call \
                              from that machine, or ask the administrator for access.",
            },
            chinese: Text {
                title: "未认证",
                explanation: "本次请求未被处理。服务只接受本机请求：Host 为 localhost、127.0.0.1 或 [::1]，且不经过代理。\
                              如果启用了密钥，则是请求没有带密钥。请从本机调用，或向管理员申请访问权限。",
            },
        },
        Code::Forbidden => Words {
            english: Text {
                title: "The caller may not do this",
                explanation: "This request was not processed. The key is known, but its role does not allow this request. \
                              Ask the administrator for a key with the right role.",
            },
            chinese: Text {
                title: "没有权限",
                explanation: "本次请求未被处理。密钥有效，但其角色不允许此请求。请向管理员申请具有相应角色的密钥。",
            },
        },
        Code::WorkOrderUnknown => Words {
            english: Text {
                title: "There is no such work order",
                explanation: "Nothing was counted, because no work order has this number yet. Create it with PUT, then \
                              send the same request again under the same id.",
            },
            chinese: Text {
                title: "工单不存在",
                explanation: "本次未计数，因为还没有这个编号的工单。用 PUT 创建后，可用同一请求号重试。",
            },
        },
        Code::UpdateUnknown => Words {
            english: Text {
                title: "There is no such update yet",
                explanation: "Nothing was taken back, because no update has the id that undoes names. The scan may still be \
                              on its way. Send the scan first, then this request again under the same id.",
            },
            chinese: Text {
                title: "变更记录尚不存在",
                explanation: "本次未撤销，因为没有 undoes 指明的变更记录，该扫码可能尚未送达。请先发送该扫码，再用同一请求号\
                              重试。",
            },
        },
        Code::NotFound => Words {
            english: Text {
                title: "Not found",
                explanation: "The service has no such path, or nothing is recorded under this name. Check the path and \
                              the name.",
            },
            chinese: Text {
                title: "未找到", explanation: "没有这个路径，或没有对应的记录。请检查路径和名称。"
            },
        },
        Code::MethodNotAllowed => Words {
            english: Text {
                title: "The method is not allowed here",
                explanation: "Nothing was changed. The header Allow lists the methods that this path takes.",
            },
            chinese: Text {
                title: "不支持该方法",
                explanation: "本次未做任何更改。Allow 响应头列出了此路径支持的方法。",
            },
        },
        Code::RequestTimeout => Words {
            english: Text {
                title: "The request took too long",
                explanation: "The request did not arrive, or was not completed, within the time limit. It may still take \
                              effect. Send it again under the same id to learn the result; it counts at most once.",
            },
            chinese: Text {
                title: "请求超时",
                explanation: "请求没有在时限内到达或完成，但仍可能计入。请用同一请求号重试，以确定结果；最多只计一次。",
            },
        },
        Code::BarcodeAlreadyCounted => refusals::words(RefusalCode::BarcodeAlreadyCounted),
        Code::BarcodeNotCounted => refusals::words(RefusalCode::BarcodeNotCounted),
        Code::BarcodeMismatch => refusals::words(RefusalCode::BarcodeMismatch),
        Code::AlreadySettled => refusals::words(RefusalCode::AlreadySettled),
        Code::NothingToUndo => refusals::words(RefusalCode::NothingToUndo),
        Code::OverPlan => refusals::words(RefusalCode::OverPlan),
        Code::BelowZero => refusals::words(RefusalCode::BelowZero),
        Code::WorkOrderNotOpen => refusals::words(RefusalCode::WorkOrderNotOpen),
        Code::NotAsExpected => refusals::words(RefusalCode::NotAsExpected),
        Code::BarcodePolicyFixed => Words {
            english: Text {
                title: "The barcode policy can't change any more",
                explanation: "Nothing was changed. The barcode policy can't change after a barcode was counted. Send the \
                              plan with the present policy, or create another work order.",
            },
            chinese: Text {
                title: "条码策略已固定",
                explanation: "本次未做任何更改。已有条码计入后，条码策略不能再更改。请沿用当前策略提交计划，或另建工单。",
            },
        },
        Code::FindingSettled => Words {
            english: Text {
                title: "The finding is settled",
                explanation: "Nothing was changed. The finding was repaired already, or a later check no longer found it. \
                              There is nothing to repair.",
            },
            chinese: Text {
                title: "异常项已处理",
                explanation: "本次未做任何更改。该异常项已修复，或后来的核对中已不再出现，无需修复。",
            },
        },
        Code::DecisionNeeded => Words {
            english: Text {
                title: "A person has to decide",
                explanation: "Nothing was repaired. The log itself is in doubt, so it can't say what is right. The \
                              finding shows the rows and, if there is one, a correction that makes the quantity equal to \
                              the sum of the log. Send that correction, or repeat the repair with accept to leave the log \
                              as it is.",
            },
            chinese: Text {
                title: "需要人工决定",
                explanation: "本次未修复。变更记录本身存疑，不能据此判断正确的值。异常项列出相关记录，有时还给出修正建议，\
                              使数量与记录之和一致。请提交该修正，或在修复请求中加上 accept，按现状接受记录。",
            },
        },
        Code::PreconditionFailed => Words {
            english: Text {
                title: "The work order is not as the request expects",
                explanation: "Nothing was changed. If-Match names another revision than the work order has, or \
                              If-None-Match: * was sent and the work order exists. Read the work order again, look at what \
                              changed, and send your change with the new ETag.",
            },
            chinese: Text {
                title: "工单与请求的前提不符",
                explanation: "本次未做任何更改。If-Match 与工单的当前版本不符，或发送了 If-None-Match: * 而工单已存在。请重新\
                              读取工单，确认变化后用新的 ETag 再提交。",
            },
        },
        Code::BodyTooLarge => Words {
            english: Text {
                title: "The body is too large",
                explanation: "Nothing was changed. The limit is 16 KiB for a body and 1 MiB for a batch, unless \
                              configured otherwise. Send a large batch in several parts.",
            },
            chinese: Text {
                title: "请求体过大",
                explanation: "本次未做任何更改。请求体上限为 16 KiB，批量为 1 MiB（除非另有配置）。批量过大时请分多次发送。",
            },
        },
        Code::UnsupportedMediaType => Words {
            english: Text {
                title: "The body is not JSON",
                explanation: "Nothing was changed. Send Content-Type: application/json, in UTF-8 and without \
                              Content-Encoding.",
            },
            chinese: Text {
                title: "不支持的请求体类型",
                explanation: "本次未做任何更改。请用 Content-Type: application/json 和 UTF-8 编码，不要用 Content-Encoding。",
            },
        },
        Code::InvalidField => Words {
            english: Text {
                title: "Fields are wrong",
                explanation: "Nothing was changed. A field or query parameter is unknown, missing, of the wrong type or \
                              out of range. The member errors lists each of them with the reason. Correct them and send \
                              the request again.",
            },
            chinese: Text {
                title: "字段有误",
                explanation: "本次未做任何更改。字段或查询参数未知、缺失、类型错误或超出范围，errors 逐一列出字段和原因。\
                              请改正后再发送。",
            },
        },
        Code::IdempotencyKeyReused => Words {
            english: Text {
                title: "The key belongs to another request",
                explanation: "This request changed nothing. Another request was decided under this id. The member differs \
                              names the fields that differ. Use a new key for every new scan.",
            },
            chinese: Text {
                title: "请求号已被其他请求使用",
                explanation: "本次请求未做任何更改。此请求号已用于另一个请求，differs 列出不同的字段。每次新的扫码请使用新\
                              的请求号。",
            },
        },
        Code::TooManyRequests => Words {
            english: Text {
                title: "Too many requests",
                explanation: "This request was not processed, because the caller sends more often than it may. Wait for \
                              the seconds in Retry-After, then send it again under the same id.",
            },
            chinese: Text {
                title: "请求过于频繁",
                explanation: "本次请求未被处理，因为请求频率超出限制。请按 Retry-After 等待，然后用同一请求号重试。",
            },
        },
        Code::HeadersTooLarge => Words {
            english: Text {
                title: "The request line or headers are too large",
                explanation: "Nothing was changed. The limit is 16 KiB for request line and headers together, unless \
                              configured otherwise, and 100 headers. Send fewer or shorter headers.",
            },
            chinese: Text {
                title: "请求行或请求头过大",
                explanation: "本次未做任何更改。请求行与请求头合计上限为 16 KiB（除非另有配置），且最多 100 个请求头。请减\
                              少或缩短请求头。",
            },
        },
        Code::InternalError => Words {
            english: Text {
                title: "The service has failed",
                explanation: "A defect of the service prevented an answer. The request may have taken effect. Send it \
                              again under the same id to learn the result; it counts at most once. If this repeats, \
                              report it with the service's log.",
            },
            chinese: Text {
                title: "服务内部错误",
                explanation: "程序缺陷导致没有结果，请求可能已计入。请用同一请求号重试，以确定结果；最多只计一次。如果反复\
                              出现，请附上服务日志反馈。",
            },
        },
        Code::TimedOut => Words {
            english: Text {
                title: "The request was not done in time",
                explanation: "The service is slow or waits for its database. The request goes on, and may still take \
                              effect. Send it again under the same id to learn the result; it counts at most once.",
            },
            chinese: Text {
                title: "处理超时",
                explanation: "服务繁忙，或在等待数据库。请求仍在处理，可能会计入。请用同一请求号重试，以确定结果；最多只\
                              计一次。",
            },
        },
        Code::Overloaded => Words {
            english: Text {
                title: "The service is overloaded",
                explanation: "A queue or limit of the service is full, so this request was not processed. Wait for the \
                              seconds in Retry-After, then send it again under the same id.",
            },
            chinese: Text {
                title: "服务繁忙",
                explanation: "请求超过处理能力，队列或限额已满，本次请求未被处理。请按 Retry-After 等待，然后用同一请求号\
                              重试。",
            },
        },
        Code::StorageUnavailable => Words {
            english: Text {
                title: "The database does not answer",
                explanation: "The database did not answer in time, so it is not known whether the request took effect. \
                              Send it again under the same id; it counts at most once.",
            },
            chinese: Text {
                title: "数据库无响应",
                explanation: "数据库没有及时响应，不能确定是否已计入。请用同一请求号重试，最多只计一次。",
            },
        },
        Code::LeaseUnavailable => Words {
            english: Text {
                title: "Redis does not answer",
                explanation: "Redis can't be reached, and this request needs it. Send the request again under the same id.",
            },
            chinese: Text {
                title: "Redis 无响应", explanation: "连不上 Redis，不能取得锁。请用同一请求号重试。"
            },
        },
        Code::ShuttingDown => Words {
            english: Text {
                title: "The service is stopping",
                explanation: "This replica is stopping and takes no more requests. Send the request again under the same \
                              id, on a new connection.",
            },
            chinese: Text {
                title: "服务正在停止",
                explanation: "这个副本正在停止，不再接受请求。请新建连接，用同一请求号重试。",
            },
        },
        Code::EarlierItemPending => Words {
            english: Text {
                title: "An earlier item is pending",
                explanation: "An earlier item of the batch, of the same work order and terminal, has no final answer. To \
                              keep the order, this item was not counted now. Send both again under the same ids, in the \
                              same order.",
            },
            chinese: Text {
                title: "前面的条目未完成",
                explanation: "同一工单、同一终端的前一条还没有最终结果。为保持顺序，这一条需要等待，本次未计数。请按原顺序、\
                              用原请求号重试。",
            },
        },
        Code::WorkOrderQuarantined => Words {
            english: Text {
                title: "The work order is quarantined",
                explanation: "The work order's quantity is behind its update log, for example after a backup was \
                              restored. Nothing is counted on it until that is repaired; other work orders are not \
                              affected. Run a check, repair what it finds, and send the scans again under the same ids.",
            },
            chinese: Text {
                title: "工单已隔离",
                explanation: "工单的数量落后于变更记录（例如恢复备份之后），修复之前停止计数。其他工单不受影响。请运行一次\
                              核对，修复异常项，然后用原请求号重试。",
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_by_their_words_in_both_languages() {
        for (at, &code) in Code::ALL.iter().enumerate() {
            assert_eq!(Code::of_word(code.word()), Some(code));
            for other in &Code::ALL[..at] {
                for language in Language::ALL {
                    assert_ne!(code.title(language), other.title(language), "{code:?} {other:?}");
                }
            }
            assert!(!code.title(Language::Chinese).is_ascii(), "{code:?}");
        }
    }
}
