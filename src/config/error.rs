//! Why the settings can't be used.

use std::path::PathBuf;

use super::settings::Source;

/// Why the settings can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// The file of `--config` can't be read.
    #[error("the settings file {0} can't be read: {1}")]
    File(PathBuf, String),
    /// The file of `--config` has a key that is not a setting.
    #[error("the settings file {0} has the key {1}, which is not a setting; the settings are: {2}")]
    UnknownKey(PathBuf, String, String),
    /// A variable of the environment is not text.
    #[error("the environment variable {0} is not UTF-8")]
    NotUtf8(String),
    /// A secret is given twice.
    #[error("{0} and {0}_FILE are both set; remove one of them")]
    SecretTwice(&'static str),
    /// The file that holds a secret can't be read.
    #[error("the file that {0}_FILE names can't be read: {1}")]
    SecretFile(&'static str, String),
    /// A value does not fit its setting.
    #[error("{name} = {value:?} (from {source_}; environment variable {env}): {problem}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Its environment variable.
        env: &'static str,
        /// Its text, hidden if it is a secret.
        value: String,
        /// Where it came from.
        source_: Source,
        /// What is wrong with it.
        problem: String,
    },
    /// Settings that can't work together.
    #[error("{0}")]
    Together(String),
}
