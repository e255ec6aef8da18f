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

    /// A key as a user writes it.
    pub(super) fn name(&self, key: &str) -> String {
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

    /// The elements of a list of tables, as in `[[key]]`; absent is an empty list. That each is a table is for the caller to see.
    pub(super) fn tables(&mut self, key: &str) -> Result<impl Iterator<Item = &'a Value> + use<'a>, ConfigError> {
        let list = match self.take(key) {
            None => None,
            Some(Value::Array(list)) => Some(list),
            Some(_) => return Err(ConfigError::new(self.name(key), "expected a list of tables")),
        };
        Ok(list.into_iter().flatten())
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

    /// True or false, if it is there.
    pub(super) fn flag(&mut self, setting: &Setting) -> Result<Option<bool>, ConfigError> {
        match self.take(setting.key) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(other) => Err(self.wrong(setting, &other.to_string())),
        }
    }

    /// A list of texts, if it is there.
    pub(super) fn texts(&mut self, setting: &Setting) -> Result<Option<Vec<&'a str>>, ConfigError> {
        let Some(value) = self.take(setting.key) else { return Ok(None) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        texts.map(Some).ok_or_else(|| self.wrong(setting, &value.to_string()))
    }

    /// The entries of a table, in the order of their names; none where it is absent.
    pub(super) fn entries(
        &mut self,
        setting: &Setting,
    ) -> Result<impl Iterator<Item = (&'a str, &'a Value)> + use<'a>, ConfigError> {
        let table = match self.take(setting.key) {
            None => None,
            Some(Value::Object(table)) => Some(table),
            Some(other) => return Err(self.wrong(setting, &other.to_string())),
        };
        Ok(table.into_iter().flatten().map(|(key, value)| (key.as_str(), value)))
    }

    /// Whether a key is there.
    pub(super) fn has(&self, setting: &Setting) -> bool {
        self.table.is_some_and(|table| table.contains_key(setting.key))
    }

    /// The setting is not what it must be.
    pub(super) fn wrong(&self, setting: &Setting, found: &str) -> ConfigError {
        ConfigError::new(self.name(setting.key), format!("expected {}, found {found}", expected(setting)))
    }

    /// The setting is missing.
    pub(super) fn missing(&self, setting: &Setting) -> ConfigError {
        self.wrong(setting, "nothing")
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
        Kind::Text { expected, .. } | Kind::Structure { expected, .. } => expected,
        Kind::Number { .. } => "a whole number",
        Kind::Flag { .. } => "true or false",
    }
}

/// The setting's default number.
pub(super) fn default_number(setting: &Setting) -> u64 {
    match setting.kind {
        Kind::Number { default, .. } => default,
        Kind::Text { .. } | Kind::Structure { .. } | Kind::Flag { .. } => 0,
    }
}

/// Seconds as a duration.
pub(super) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}
