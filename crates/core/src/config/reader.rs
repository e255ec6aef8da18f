//! Reads typed values out of a parsed document and remembers what was read, so that a key nobody knows is an
//! error with its name instead of a setting that silently does nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::ConfigError;
use super::settings::{Kind, Setting};

/// One table of the document.
pub(super) struct Reader<'a> {
    path: String,
    table: Option<&'a Map<String, Value>>,
    read: BTreeSet<&'a str>,
}

impl<'a> Reader<'a> {
    /// A reader over a table; `path` names it in errors and is empty at the top.
    pub(super) fn new(path: impl Into<String>, table: Option<&'a Map<String, Value>>) -> Self {
        Self { path: path.into(), table, read: BTreeSet::new() }
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &str) -> Option<&'a Value> {
        let (known, value) = self.table?.get_key_value(key)?;
        self.read.insert(known.as_str());
        Some(value)
    }

    /// A table below this one; absent is an empty table.
    pub(super) fn table(&mut self, key: &str) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Object(table)) => Ok(Some(table)),
            Some(_) => Err(ConfigError::new(self.name(key), "expected a table")),
        }
    }

    /// A whole number within the setting's range, if it is there.
    pub(super) fn number(&mut self, setting: &Setting) -> Result<Option<u64>, ConfigError> {
        let Kind::Number { unit, min, max, .. } = setting.kind else {
            return Err(ConfigError::new(self.name(setting.key), "is not a number in the table of settings"));
        };
        let Some(value) = self.take(setting.key) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(ConfigError::new(
                self.name(setting.key),
                format!("expected a whole number from {min} to {max} ({unit}), found {value}"),
            )),
        }
    }

    /// Text, if it is there.
    pub(super) fn text(&mut self, setting: &Setting) -> Result<Option<&'a str>, ConfigError> {
        match self.take(setting.key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                Err(ConfigError::new(self.name(setting.key), format!("expected {}, found {other}", expected(setting))))
            }
        }
    }

    /// Fails on the first key that nobody read.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let unknown = self.table.into_iter().flat_map(Map::keys).find(|key| !self.read.contains(key.as_str()));
        match unknown {
            Some(key) => {
                Err(ConfigError::new(self.name(key), "no such setting; docs/CONFIGURATION.md lists all of them"))
            }
            None => Ok(()),
        }
    }
}

/// What the setting wants, in words.
pub(super) fn expected(setting: &Setting) -> &'static str {
    match setting.kind {
        Kind::Text { expected, .. } => expected,
        Kind::Number { .. } => "a whole number",
    }
}

/// The setting's default number.
pub(super) fn default_number(setting: &Setting) -> u64 {
    match setting.kind {
        Kind::Number { default, .. } => default,
        Kind::Text { .. } => 0,
    }
}

/// Seconds as a duration.
pub(super) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}
