//! Where settings come from: flags, the environment, files that hold secrets, and the settings file.

use std::collections::BTreeMap;
use std::env::VarError;
use std::path::Path;

use clap::ArgMatches;
use url::Url;

use super::error::BadConfig;
use super::settings::{CHANNELS, Given, SETTINGS, Setting, Source};

/// Every setting as text, before it is read.
#[derive(Clone, Debug)]
pub struct Settings(BTreeMap<&'static str, Given>);

impl Settings {
    /// Gathers the settings from the flags, the environment of this process and the settings file.
    ///
    /// # Errors
    /// See [`BadConfig`].
    pub fn gather(flags: &ArgMatches) -> Result<Self, BadConfig> {
        Self::from_sources(flags, |name| std::env::var(name))
    }

    /// The defaults, except for these settings. Nothing that the user has set is read.
    #[must_use]
    pub fn defaults_but(given: &[(&'static str, String)]) -> Self {
        let default = |setting: &Setting| Some((setting.name, setting.default?.to_owned()));
        let values = SETTINGS.iter().filter_map(default).chain(given.iter().cloned());
        Self(values.map(|(name, value)| (name, Given { value, source: Source::Default })).collect())
    }

    pub(super) fn from_sources(
        flags: &ArgMatches,
        env: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, BadConfig> {
        let env = |name: &str| match env(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(BadConfig::NotUtf8(name.to_owned())),
        };
        let file = match flags.get_one::<String>("config") {
            Some(path) => read_file(Path::new(path))?,
            None => BTreeMap::new(),
        };
        let mut settings = BTreeMap::new();
        for setting in SETTINGS {
            let from_env = match setting.secret {
                true => secret_from_env(setting, &env)?,
                false => env(setting.env)?,
            };
            let given = flags
                .get_one::<String>(setting.name)
                .map(|value| (value.clone(), Source::Flag))
                .or(from_env.map(|value| (value, Source::Environment)))
                .or(file.get(setting.name).map(|value| (value.clone(), Source::File)))
                .or(setting.default.map(|value| (value.to_owned(), Source::Default)));
            if let Some((value, source)) = given {
                settings.insert(setting.name, Given { value, source });
            }
        }
        Ok(Self(settings))
    }

    /// Every setting in the order of the table, secrets hidden.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static Setting, Option<Given>)> {
        let shown = |setting: &Setting| {
            let given = self.given(setting.name)?;
            let value = if setting.secret { hide(&given.value) } else { given.value.clone() };
            Some(Given { value, source: given.source })
        };
        SETTINGS.iter().map(|setting| (setting, shown(setting))).collect()
    }

    /// The text of a setting and its source; `None`: it is not set.
    pub(super) fn given(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }
}

/// A secret from its variable, or from the file that its `…_FILE` variable names.
fn secret_from_env(
    setting: &Setting,
    env: &impl Fn(&str) -> Result<Option<String>, BadConfig>,
) -> Result<Option<String>, BadConfig> {
    match (env(setting.env)?, env(&format!("{}_FILE", setting.env))?) {
        (Some(_), Some(_)) => Err(BadConfig::SecretTwice(setting.env)),
        (value, None) => Ok(value),
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(value) => Ok(Some(value.trim().to_owned())),
            Err(error) => Err(BadConfig::SecretFile(setting.env, error.to_string())),
        },
    }
}

/// The settings file: the text of each key, by the name of its setting.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>, BadConfig> {
    let unreadable = |problem: String| BadConfig::File(path.to_owned(), problem);
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| unreadable(error.to_string()))?;
    let mut file = BTreeMap::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        if !SETTINGS.iter().any(|setting| setting.name == name) {
            let names: Vec<_> = SETTINGS.iter().map(|setting| setting.name.replace('-', "_")).collect();
            return Err(BadConfig::UnknownKey(path.to_owned(), key, names.join(", ")));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Array(tables) if name == CHANNELS => {
                serde_json::to_string(&tables).map_err(|error| unreadable(error.to_string()))?
            }
            _ => return Err(unreadable(format!("{key} must be a text or a whole number"))),
        };
        file.insert(name, text);
    }
    Ok(file)
}

/// A URL without its password and its query; `***` for every other text.
fn hide(secret: &str) -> String {
    match Url::parse(secret) {
        Ok(mut url) if url.has_host() => {
            if url.password().is_some() && url.set_password(Some("***")).is_err() {
                return "***".to_owned();
            }
            if url.query().is_some() {
                url.set_query(Some("***"));
            }
            url.into()
        }
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::settings::flags;
    use super::super::{Config, Deployment};
    use super::*;

    /// The settings of a command line and an environment.
    pub(in crate::config) fn gather(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, BadConfig> {
        let command = clap::Command::new("scanfence").args(flags());
        let matches = command.get_matches_from(std::iter::once(&"scanfence").chain(args));
        let env: BTreeMap<_, _> = env.iter().copied().collect();
        Settings::from_sources(&matches, |name| {
            env.get(name).map(|&value| value.to_owned()).ok_or(VarError::NotPresent)
        })
    }

    /// The configuration that is read from them.
    pub(in crate::config) fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Config, BadConfig> {
        gather(args, env)?.read()
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scanfence.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:3\"\nqueue = 7\nlease_ttl = \"3s\"").unwrap();
        let file = file.to_str().unwrap();
        let env = [("SCANFENCE_LISTEN", "127.0.0.1:2"), ("SCANFENCE_LEASE_TTL", "")];
        let config = read(&["--config", file, "--listen", "127.0.0.1:1"], &env).unwrap();
        assert_eq!((config.listen.port(), config.queue), (1, 7));
        assert_eq!(read(&["--config", file], &env).unwrap().listen.port(), 2);
        let ttl = gather(&["--config", file], &env).unwrap().given("lease-ttl").unwrap().clone();
        assert_eq!(ttl, Given { value: "3s".into(), source: Source::File }, "an empty variable is none");
    }

    #[test]
    fn a_variable_that_is_no_text_is_refused_not_taken_for_missing() {
        let matches = clap::Command::new("scanfence").args(flags()).get_matches_from(["scanfence"]);
        for broken in ["SCANFENCE_DATA", "DATABASE_URL", "DATABASE_URL_FILE"] {
            let settings = Settings::from_sources(&matches, |name| match name == broken {
                true => Err(VarError::NotUnicode("\u{fffd}".into())),
                false => Err(VarError::NotPresent),
            });
            assert_eq!(settings.unwrap_err(), BadConfig::NotUtf8(broken.to_owned()));
        }
    }

    #[test]
    fn an_unknown_key_of_the_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scanfence.toml");
        std::fs::write(&file, "lissten = \"127.0.0.1:3\"").unwrap();
        let problem = gather(&["--config", file.to_str().unwrap()], &[]).unwrap_err();
        assert!(matches!(problem, BadConfig::UnknownKey(_, key, _) if key == "lissten"));
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "postgres://u:pass@h/db?sslpassword=word\n").unwrap();
        let file = file.to_str().unwrap();
        let settings = gather(&[], &[("DATABASE_URL_FILE", file)]).unwrap();
        assert!(matches!(settings.read().unwrap().deployment,
            Deployment::Shared { database_url, .. } if database_url.contains("u:pass@h")));
        let shown = format!("{:?}", settings.shown());
        assert!(shown.contains("postgres://u:***@h/db?***") && !shown.contains("pass@") && !shown.contains("word"));
        let twice = gather(&[], &[("DATABASE_URL_FILE", file), ("DATABASE_URL", "postgres://h")]);
        assert_eq!(twice.unwrap_err(), BadConfig::SecretTwice("DATABASE_URL"));
        assert_eq!(hide("no url at all: secret"), "***");
    }
}
