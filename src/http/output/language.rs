//! The languages of titles and explanations.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;

use super::negotiation::preferred;

/// A language that titles and explanations are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese, simplified.
    Chinese,
}

impl Language {
    /// Every language. By hand: the order decides between languages that the caller likes equally.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// The language that the caller's `Accept-Language` prefers; English if it names none of ours.
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

#[cfg(test)]
mod tests {
    use super::*;

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
