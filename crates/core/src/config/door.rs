//! What a sender must say of a message, and what becomes of a repetition: settings of a queue.

use super::ConfigError;
use super::reader::Reader;
use super::settings::{self, Setting};
use crate::ingest::key::{IdSources, KeySource, LockKeySources};

/// What becomes of a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Idempotency {
    /// It is sent again, and recognised when it is processed.
    #[default]
    Off,
    /// The broker drops it, by its `MessageId`.
    Broker,
    /// It is recognised before it is sent ([`crate::ingest::door`]).
    Record,
}

/// The door of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DoorConfig {
    /// See [`settings::IDEMPOTENCY`].
    pub idempotency: Idempotency,
    /// See [`settings::KEY_FROM`].
    pub key_from: IdSources,
    /// See [`settings::KEY_REQUIRED`].
    pub key_required: bool,
    /// See [`settings::LOCK_KEY_FROM`].
    pub lock_key_from: LockKeySources,
}

impl DoorConfig {
    /// Reads the queue's own settings; `common` stands in for what it leaves out.
    pub(super) fn parse(own: &mut Reader<'_>, common: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let fallback = idempotency(common)?;
        let idempotency = idempotency(own)?.or(fallback).unwrap_or_default();
        let fallback = sources(common, &settings::KEY_FROM, true)?;
        let key_from = sources(own, &settings::KEY_FROM, true)?.or(fallback).map(IdSources).unwrap_or_default();
        let fallback = sources(common, &settings::LOCK_KEY_FROM, false)?;
        let lock_key_from = sources(own, &settings::LOCK_KEY_FROM, false)?.or(fallback);
        let lock_key_from = lock_key_from.map(LockKeySources).unwrap_or_default();
        let fallback = common.flag(&settings::KEY_REQUIRED)?;
        // To the broker a fresh id is a new message, always.
        let key_required =
            own.flag(&settings::KEY_REQUIRED)?.or(fallback).unwrap_or(false) || idempotency == Idempotency::Broker;
        Ok(Self { idempotency, key_from, key_required, lock_key_from })
    }
}

fn idempotency(reader: &mut Reader<'_>) -> Result<Option<Idempotency>, ConfigError> {
    match reader.text(&settings::IDEMPOTENCY)? {
        None => Ok(None),
        Some("off") => Ok(Some(Idempotency::Off)),
        Some("broker") => Ok(Some(Idempotency::Broker)),
        Some("record") => Ok(Some(Idempotency::Record)),
        Some(other) => Err(reader.wrong(&settings::IDEMPOTENCY, &format!("{other:?}"))),
    }
}

/// A list of places; `payload` says whether the payload may be one.
pub(super) fn sources(
    reader: &mut Reader<'_>,
    setting: &Setting,
    payload: bool,
) -> Result<Option<Vec<KeySource>>, ConfigError> {
    let Some(texts) = reader.texts(setting)? else { return Ok(None) };
    let wrong = |what: String| ConfigError::new(reader.name(setting.key), what);
    let sources: Vec<KeySource> = texts.into_iter().map(KeySource::parse).collect::<Result<_, _>>().map_err(wrong)?;
    match sources.iter().position(|source| *source == KeySource::Payload) {
        Some(_) if !payload => Err(reader.wrong(setting, "`payload`")),
        Some(at) if at + 1 < sources.len() => {
            Err(reader.wrong(setting, "something behind `payload`, which is always there"))
        }
        _ if sources.is_empty() => Err(reader.wrong(setting, "an empty list")),
        _ => Ok(Some(sources)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn error(document: &str) -> String {
        Config::parse(document).unwrap_err().to_string()
    }

    #[test]
    fn a_queue_says_it_or_the_defaults_do() {
        let document = "[defaults]\nidempotency = 'record'\nkey_from = ['json:/id', 'payload']\n[queues.a]\n[queues.b]\nidempotency = 'off'\nkey_required = true\nlock_key_from = ['form:From']\n[queues.c]\nidempotency = 'broker'\nkey_required = false";
        let config = Config::parse(document).unwrap();
        let door = |name: &str| config.queues[name].door.clone();
        assert_eq!(door("a").idempotency, Idempotency::Record);
        assert_eq!(door("a").key_from.0, [KeySource::Json("/id".into()), KeySource::Payload]);
        assert_eq!((door("b").idempotency, door("b").key_required), (Idempotency::Off, true));
        assert_eq!(door("b").lock_key_from.0, [KeySource::Form("From".into())]);
        assert_eq!((door("c").idempotency, door("c").key_required), (Idempotency::Broker, true));
        assert_eq!(Config::parse("[queues.a]").unwrap().queues["a"].door, DoorConfig::default());
    }

    #[test]
    fn an_expression_that_is_none_stops_the_start() {
        for (lines, expected) in [
            ("idempotency = 'on'", "queues.a.idempotency: expected `off`, `broker` or `record`, found \"on\""),
            (
                "key_from = ['id']",
                "queues.a.key_from: \"id\" is none of `header:NAME`, `json:/POINTER`, `form:FIELD` and `payload`",
            ),
            (
                "key_from = ['payload', 'header:x']",
                "queues.a.key_from: expected a list of `header:NAME`, `json:/POINTER`, `form:FIELD` and, as the last, `payload`, found something behind `payload`, which is always there",
            ),
            (
                "key_from = []",
                "queues.a.key_from: expected a list of `header:NAME`, `json:/POINTER`, `form:FIELD` and, as the last, `payload`, found an empty list",
            ),
            (
                "key_from = 'payload'",
                "queues.a.key_from: expected a list of `header:NAME`, `json:/POINTER`, `form:FIELD` and, as the last, `payload`, found \"payload\"",
            ),
            (
                "lock_key_from = ['payload']",
                "queues.a.lock_key_from: expected a list of `header:NAME`, `json:/POINTER` and `form:FIELD`, found `payload`",
            ),
            ("key_required = 'yes'", "queues.a.key_required: expected true or false, found \"yes\""),
        ] {
            assert_eq!(error(&format!("[queues.a]\n{lines}")), format!("configuration: {expected}"));
        }
    }
}
