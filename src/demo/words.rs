//! The texts of the demo, in English and in Chinese.

use super::audit::Verdict;
use super::tally::Numbers;

/// A language that the demo speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese.
    Chinese,
}

impl Language {
    /// The language of a locale's name, such as `zh_CN.UTF-8`. If it is neither, English.
    #[must_use]
    pub fn of_locale(locale: &str) -> Self {
        match locale.get(..2) {
            Some("zh") => Self::Chinese,
            Some(_) | None => Self::English,
        }
    }

    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

/// Every text of the demo.
pub(super) struct Words {
    pub title: fn(terminals: u64) -> String,
    pub ends_early: &'static str,
    pub summary: fn(seconds: u64, terminals: u64, seed: u64) -> String,
    pub made: &'static str,
    pub counted: &'static str,
    pub right: &'static str,
    pub wrong: &'static str,
    pub on_their_way: fn(u64) -> String,
    pub naive: &'static str,
    pub too_many: fn(u64) -> String,
    pub network: &'static str,
    pub network_faults: fn(&Numbers) -> String,
    pub stopped: &'static str,
    pub repeats: fn(&Numbers) -> String,
    pub audit: &'static str,
    pub sums_up: fn(&Verdict) -> String,
    pub no_gap: fn(&Verdict) -> String,
    pub requests_once: fn(&Verdict) -> String,
    pub parts_once: fn(&Verdict) -> String,
    pub holds: &'static str,
    pub fails: &'static str,
}

static ENGLISH: Words = Words {
    title: |terminals| format!("Scanfence demo: {terminals} terminals on a bad network"),
    ends_early: "Ctrl-C ends it early",
    summary: |seconds, terminals, seed| {
        format!("Scanfence demo: {seconds} s, {terminals} terminals on a bad network (--seed {seed})")
    },
    made: "parts made",
    counted: "counted by Scanfence",
    right: "right",
    wrong: "WRONG",
    on_their_way: |parts| format!("{parts} on the way"),
    naive: "a naive counter",
    too_many: |parts| format!("{} too many", grouped(parts)),
    network: "requests",
    network_faults: |numbers| {
        format!(
            "{} sent · {} lost · {} answers lost · {} doubled · {} late",
            grouped(numbers.sent),
            grouped(numbers.requests_lost),
            grouped(numbers.answers_lost),
            grouped(numbers.doubled),
            grouped(numbers.late),
        )
    },
    stopped: "stopped",
    repeats: |numbers| {
        format!("{} repeats · {} parts scanned twice", grouped(numbers.repeats), grouped(numbers.scanned_twice))
    },
    audit: "The audit, from the log alone:",
    sums_up: |verdict| format!("the quantity, {}, is the sum of the log", signed(verdict.quantity)),
    no_gap: |verdict| {
        format!("its {} counted rows have no gap: each begins where the one before ended", grouped(verdict.counted))
    },
    requests_once: |verdict| format!("each of the {} requests is in it once", grouped(verdict.rows)),
    parts_once: |verdict| format!("each of the {} parts made is counted once", grouped(verdict.made)),
    holds: "Every part was counted exactly once.",
    fails: "The count is WRONG.",
};

static CHINESE: Words = Words {
    title: |terminals| format!("Scanfence 演示：{terminals} 台终端，一个很差的网络"),
    ends_early: "Ctrl-C 提前结束",
    summary: |seconds, terminals, seed| {
        format!("Scanfence 演示：{seconds} 秒，{terminals} 台终端，一个很差的网络（--seed {seed}）")
    },
    made: "实际生产",
    counted: "Scanfence 计数",
    right: "正确",
    wrong: "错误",
    on_their_way: |parts| format!("{parts} 件在途"),
    naive: "简单累加",
    too_many: |parts| format!("多计 {}", grouped(parts)),
    network: "请求",
    network_faults: |numbers| {
        format!(
            "发出 {} · 丢失 {} · 响应丢失 {} · 重复到达 {} · 延迟到达 {}",
            grouped(numbers.sent),
            grouped(numbers.requests_lost),
            grouped(numbers.answers_lost),
            grouped(numbers.doubled),
            grouped(numbers.late),
        )
    },
    stopped: "已拦截",
    repeats: |numbers| {
        format!("重复请求 {} · 重复扫同一件 {}", grouped(numbers.repeats), grouped(numbers.scanned_twice))
    },
    audit: "核对（只根据变更记录）：",
    sums_up: |verdict| format!("数量 {} 等于变更记录之和", signed(verdict.quantity)),
    no_gap: |verdict| format!("{} 条计入记录没有缺号，每条都从上一条的结果开始", grouped(verdict.counted)),
    requests_once: |verdict| format!("{} 个请求，每个只有一条记录", grouped(verdict.rows)),
    parts_once: |verdict| format!("生产的 {} 件，每件只计一次", grouped(verdict.made)),
    holds: "每一件都恰好计数一次。",
    fails: "计数有误！",
};

/// A number with a space between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn signed(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(number.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_chooses_the_language() {
        for (locale, language) in [
            ("zh_CN.UTF-8", Language::Chinese),
            ("zh", Language::Chinese),
            ("de_DE.UTF-8", Language::English),
            ("C", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (26_927, "26 927"), (1_000_000, "1 000 000")] {
            assert_eq!(grouped(number), text);
        }
    }
}
