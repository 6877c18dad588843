//! The type of a message that is ready to be sent: its lines in the channel's language, and the same as
//! JSON.

use serde_json::Value;

use crate::domain::channel::Language;
use crate::domain::time::Timestamp;

/// A message in the language of its channel.
#[derive(Clone, Debug)]
pub struct WordedMessage {
    /// Its id, the same for all attempts.
    pub message_id: String,
    /// When the alarms fired or were resolved.
    pub at: Timestamp,
    /// Its language.
    pub language: Language,
    /// The first line.
    pub title: String,
    /// The other lines.
    pub lines: Vec<String>,
    /// The same for programs, as JSON.
    pub event: Value,
}

impl WordedMessage {
    /// All lines.
    pub(super) fn text(&self) -> String {
        std::iter::once(&self.title).chain(&self.lines).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}
