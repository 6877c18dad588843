//! The words of final refusals.

use super::text::{Text, Words};
use crate::domain::update::RefusalCode;

/// The words of this refusal.
// Long: one entry per refusal, in one list for translators. The compiler asks for every one.
pub(super) fn words(code: RefusalCode) -> Words {
    match code {
        RefusalCode::BarcodeAlreadyCounted => Words {
            english: Text {
                title: "The barcode is already counted",
                explanation: "This scan was not counted. A barcode counts once per work order, counter and step, until it \
                              is unbound. The member original says when, where and by whom it was counted. This answer is \
                              final. To count the barcode again, unbind it, then scan it under a new id.",
            },
            chinese: Text {
                title: "条码已计数",
                explanation: "本次扫码未计数。一个条码在同一工单、数量类型和工序下只计一次，解绑后才能再扫。original 说明\
                              何时、在哪里、由谁计入。这是最终结果。如需再次计数，请先解绑，再用新的请求号扫码。",
            },
        },
        RefusalCode::BarcodeNotCounted => Words {
            english: Text {
                title: "The barcode is not counted",
                explanation: "Nothing was unbound: the barcode is not counted for this work order, counter and step. This \
                              answer is final. Check barcode, counter and step, then unbind under a new id.",
            },
            chinese: Text {
                title: "条码未计数",
                explanation: "没有可解绑的记录：该条码在此工单、数量类型和工序下没有计入。这是最终结果。请核实条码、数量类\
                              型和工序，再用新的请求号解绑。",
            },
        },
        RefusalCode::BarcodeMismatch => Words {
            english: Text {
                title: "The barcode does not match the pattern",
                explanation: "This scan was not counted. The work order has a barcode_pattern, and the barcode does not \
                              match it: perhaps a badge, half a code, or two codes in one. This answer is final. Scan the \
                              right label under a new id, or have a supervisor count it with override.",
            },
            chinese: Text {
                title: "条码不符合规则",
                explanation: "本次扫码未计数。工单设有 barcode_pattern，该条码与之不符，可能扫到了工牌、半截条码或两个连在一\
                              起的条码。这是最终结果。请扫正确的标签（用新的请求号），或由班组长用 override 计入。",
            },
        },
        RefusalCode::AlreadySettled => Words {
            english: Text {
                title: "The refused scan is already settled",
                explanation: "This request changed nothing. The refused scan was counted by an earlier override, or there is \
                              no refused scan under this id that a person may count. This answer is final. Read that \
                              update: settled_by names the scan that counted it.",
            },
            chinese: Text {
                title: "被拒的扫码已处理",
                explanation: "本次请求未做任何更改。该扫码已由先前的 override 计入，或此请求号下没有可以补计的被拒扫码。这是\
                              最终结果。请查看该变更记录，settled_by 指明由哪次扫码计入。",
            },
        },
        RefusalCode::NothingToUndo => Words {
            english: Text {
                title: "There is nothing to undo",
                explanation: "Nothing was taken back. The update that undoes names is no counted scan of this work order and \
                              counter, it was taken back already, or a recount has freed its barcode since. This answer is \
                              final. Look at that update; correct the quantity if it is wrong.",
            },
            chinese: Text {
                title: "没有可撤销的计数",
                explanation: "本次未撤销。undoes 指明的不是此工单、此数量类型下已计入的扫码，或已被撤销，或此后盘点已释放其条\
                              码。这是最终结果。请查看该变更记录；如数量有误，请做人工修正。",
            },
        },
        RefusalCode::OverPlan => Words {
            english: Text {
                title: "Over the plan",
                explanation: "This request was not counted. Input and output may not exceed the planned quantity plus the \
                              allowance, and no quantity may exceed 10^12. This answer is final. If the plan is raised, \
                              send the scan under a new id.",
            },
            chinese: Text {
                title: "超出计划",
                explanation: "本次未计数。投入量和产出量不得超过计划数量加允许超出量，任何数量不得超过 10^12。这是最终结果。\
                              计划增加后，请用新的请求号再扫。",
            },
        },
        RefusalCode::BelowZero => Words {
            english: Text {
                title: "The quantity would be below zero",
                explanation: "Nothing was changed, because a quantity can't be negative. This answer is final. Check the \
                              quantity, then send the right change under a new id. If parts are counted that a recount has \
                              removed, correct with set_to and barcodes release: then they can be scanned again.",
            },
            chinese: Text {
                title: "数量低于零",
                explanation: "本次未做任何更改。这次变更会使数量变为负数。这是最终结果。请核实当前数量，再用新的请求号提交\
                              正确的变更。如果盘点后条码仍占用，请用 set_to 加 barcodes release 修正，之后可重新扫码。",
            },
        },
        RefusalCode::WorkOrderNotOpen => Words {
            english: Text {
                title: "The work order is not open",
                explanation: "This request was not counted. A paused or cancelled work order takes no scans, and a \
                              cancelled one takes no corrections. This answer is final. When the work order is open \
                              again, scan again under a new id.",
            },
            chinese: Text {
                title: "工单未开放",
                explanation: "本次未计数。已暂停或已取消的工单不接受扫码，已取消的工单不接受人工修正。这是最终结果。工单恢\
                              复后，请用新的请求号再扫。",
            },
        },
        RefusalCode::NotAsExpected => Words {
            english: Text {
                title: "The quantity is not as expected",
                explanation: "Nothing was corrected. The correction named the quantity that it expected, and the counter \
                              had another one. This answer is final. Look at the quantity, then send the correction under \
                              a new id.",
            },
            chinese: Text {
                title: "数量与预期不符",
                explanation: "本次未修正。人工修正给出的预期数量与当前数量不同。这是最终结果。请查看当前数量，用新的请求号\
                              修正。",
            },
        },
    }
}
