//! Words in both languages.

use crate::http::output::language::Language;

/// A problem's words.
pub(super) struct Words {
    pub english: Text,
    pub chinese: Text,
}

/// A problem's words in one language.
pub(super) struct Text {
    /// What happened, in a few words.
    pub title: &'static str,
    /// What it means, and what to do.
    pub explanation: &'static str,
}

impl Words {
    /// The words in this language.
    pub(super) fn of(self, language: Language) -> Text {
        match language {
            Language::English => self.english,
            Language::Chinese => self.chinese,
        }
    }
}
