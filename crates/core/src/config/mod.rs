//! The configuration: one document, parsed once, into types.
//!
//! The document is `oncebus.toml`. The command line checks it and hands it to the components as JSON in one
//! line; a platform may as well hand over the TOML: [`Config::parse`] takes both. Whatever is wrong is a
//! [`ConfigError`] that names the key and what was expected, and stops the start.
//!
//! Addresses and secrets are not in the document. They are variables of their own ([`settings`]).

mod access;
mod cloudevents;
mod door;
mod queue;
mod reader;
mod routes;
pub mod settings;
mod webhooks;

use std::collections::BTreeMap;

use serde_json::Value;

pub use cloudevents::CloudEventsConfig;
pub use door::{DoorConfig, Idempotency};
pub use queue::{LargeBodies, OnDone, OnKeyFailure, QueueConfig};
use reader::{Reader, default_number, expected};

use crate::ingest::access::Access;
use crate::ingest::routing::Routing;
use crate::ingest::webhooks::Webhook;

/// A setting that is missing, unknown or out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {key}: {problem}")]
pub struct ConfigError {
    /// The key, as a user writes it.
    pub key: String,
    /// What is wrong with it and what was expected.
    pub problem: String,
}

impl ConfigError {
    /// An error about a key.
    #[must_use]
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// See [`settings::PUBLIC_URL`]. Without a slash at its end.
    pub public_url: Option<String>,
    /// See [`settings::MAX_MESSAGE_BYTES`].
    pub max_message_bytes: usize,
    /// See [`settings::MAX_BATCH_ITEMS`].
    pub max_batch_items: usize,
    /// See [`settings::MAX_BATCH_BYTES`].
    pub max_batch_bytes: usize,
    /// See [`settings::MAX_SENDS_IN_FLIGHT`].
    pub max_sends_in_flight: usize,
    /// `[cloudevents]`.
    pub cloudevents: CloudEventsConfig,
    /// See [`settings::CONTAINER`].
    pub container: String,
    /// The queues by name; at least one.
    pub queues: BTreeMap<String, QueueConfig>,
    /// `[webhooks.NAME]`: the webhooks by name.
    pub webhooks: BTreeMap<String, Webhook>,
    /// `[[routes]]`, `[groups]` and `[routing]`: where `POST /messages` sends.
    pub routing: Routing,
    /// `[access]`: who may send and ask.
    pub access: Access,
    /// `[processor.settings]`: handed to the processor with every message. No secrets.
    pub processor_settings: BTreeMap<String, String>,
}

impl Config {
    /// Parses the document, TOML or JSON (which begins with a brace).
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn parse(document: &str) -> Result<Self, ConfigError> {
        let root = parse_document(document)?;
        let table = root.as_object();
        let mut top = Reader::new("", table);

        let public_url = top
            .text(&settings::PUBLIC_URL)?
            .map(|url| checked_public_url(settings::PUBLIC_URL.key, url))
            .transpose()?;
        let max_message_bytes = size(top.number(&settings::MAX_MESSAGE_BYTES)?, &settings::MAX_MESSAGE_BYTES);
        let max_batch_items = size(top.number(&settings::MAX_BATCH_ITEMS)?, &settings::MAX_BATCH_ITEMS);
        let max_batch_bytes = size(top.number(&settings::MAX_BATCH_BYTES)?, &settings::MAX_BATCH_BYTES);
        let max_sends_in_flight = size(top.number(&settings::MAX_SENDS_IN_FLIGHT)?, &settings::MAX_SENDS_IN_FLIGHT);

        let mut storage = Reader::new("storage", top.table("storage")?);
        let container = storage.text(&settings::CONTAINER)?.unwrap_or("oncebus").to_owned();
        if !is_container_name(&container) {
            return Err(ConfigError::new(
                "storage.container",
                format!("expected {}, found {container:?}", expected(&settings::CONTAINER)),
            ));
        }
        storage.finish()?;

        let defaults = top.table("defaults")?;
        let queues = queue::parse_all(top.table("queues")?, defaults)?;

        let cloudevents = CloudEventsConfig::parse(top.table("cloudevents")?)?;
        let webhooks = webhooks::parse_all(top.table("webhooks")?, &queues)?;
        let sources: Vec<&str> = webhooks.keys().map(String::as_str).collect();
        let routing = routes::parse(&mut top, &queues, &sources)?;
        webhooks::check_routed(&webhooks, &routing)?;
        let access = access::parse(top.table("access")?, &queues)?;
        let processor_settings = parse_processor(&mut top)?;
        top.finish()?;
        Ok(Self {
            public_url,
            max_message_bytes,
            max_batch_items,
            max_batch_bytes,
            max_sends_in_flight,
            cloudevents,
            container,
            queues,
            webhooks,
            routing,
            access,
            processor_settings,
        })
    }

    /// The same configuration with another public URL, where the variable `public_url` gives one.
    ///
    /// # Errors
    /// When it is not a URL.
    pub fn with_public_url(mut self, variable: &str) -> Result<Self, ConfigError> {
        if !variable.trim().is_empty() {
            self.public_url = Some(checked_public_url(settings::PUBLIC_URL_VARIABLE.key, variable.trim())?);
        }
        Ok(self)
    }

    /// A queue by name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&QueueConfig> {
        self.queues.get(name)
    }
}

/// Turns the document into JSON in one line, as the components get it, after checking it.
///
/// # Errors
/// As [`Config::parse`].
pub fn to_one_line(document: &str) -> Result<String, ConfigError> {
    Config::parse(document)?;
    Ok(parse_document(document)?.to_string())
}

/// The document as a tree. The TOML is read as the JSON it stands for: it has no dates in our settings.
///
/// # Errors
/// When it is neither TOML nor JSON.
pub fn parse_document(document: &str) -> Result<Value, ConfigError> {
    // A pair of quotes around the whole is what `docker --env-file` leaves of a line meant for a shell.
    let document = unquote(document);
    let key = settings::CONFIG_VARIABLE.key;
    if document.is_empty() {
        return Err(ConfigError::new(key, "expected the configuration document, found nothing"));
    }
    if document.starts_with('{') {
        return serde_json::from_str(document).map_err(|error| ConfigError::new(key, format!("not JSON: {error}")));
    }
    toml::from_str(document).map_err(|error| ConfigError::new(key, format!("not TOML: {}", error.message())))
}

fn unquote(text: &str) -> &str {
    let text = text.trim();
    ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text).trim()
}

fn parse_processor(top: &mut Reader<'_>) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut processor = Reader::new("processor", top.table("processor")?);
    let settings = processor.table("settings")?;
    processor.finish()?;
    let settings = settings.into_iter().flatten().map(|(key, value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok((key.clone(), value.to_string())),
        _ => Err(ConfigError::new(format!("processor.settings.{key}"), "expected text, a number, true or false")),
    });
    settings.collect()
}

fn size(given: Option<u64>, setting: &settings::Setting) -> usize {
    usize::try_from(given.unwrap_or_else(|| default_number(setting))).unwrap_or(usize::MAX)
}

fn checked_public_url(key: &str, url: &str) -> Result<String, ConfigError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', ' ']) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err(ConfigError::new(key, format!("expected {}, found {url:?}", expected(&settings::PUBLIC_URL)))),
    }
}

fn is_container_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "[queues.orders]\n";

    fn error(document: &str) -> String {
        Config::parse(document).unwrap_err().to_string()
    }

    #[test]
    fn defaults_fill_what_the_document_leaves_out() {
        let config = Config::parse(SMALL).unwrap();
        assert_eq!(config.container, "oncebus");
        assert_eq!(config.max_message_bytes, 262_144);
        let queue = config.queue("orders").unwrap();
        assert_eq!((queue.group.as_str(), queue.poison_queue.as_str()), ("orders", "orders.poison"));
    }

    #[test]
    fn toml_and_the_json_in_one_line_mean_the_same() {
        let document = "public_url = 'https://example.com/hooks/'\n[defaults]\nbatch = 8\n[queues.a]\n[queues.b]\nbatch = 9\n[webhooks.twilio]\nqueue = 'a'\n[processor.settings]\neffects = true\n";
        let line = to_one_line(document).unwrap();
        assert!(!line.contains('\n'));
        let config = Config::parse(&line).unwrap();
        assert_eq!(config, Config::parse(document).unwrap());
        assert_eq!(config, Config::parse(&format!("'{line}'")).unwrap());
        assert_eq!((config.queues["a"].batch, config.queues["b"].batch), (8, 9));
        assert_eq!(config.processor_settings["effects"], "true");
        assert_eq!(config.public_url.as_deref(), Some("https://example.com/hooks"));
    }

    #[test]
    fn an_error_names_the_key_and_what_was_expected() {
        for (document, expected) in [
            ("", "configuration: oncebus_config: expected the configuration document, found nothing"),
            ("queues = 3", "configuration: queues: expected a table"),
            ("x = 1\n[queues.a]", "configuration: x: no such setting; docs/CONFIGURATION.md lists all of them"),
            (
                "[queues.a]\nbatch = 0",
                "configuration: queues.a.batch: expected a whole number from 1 to 256 (messages), found 0",
            ),
            (
                "[defaults]\nbatch = 'x'\n[queues.a]",
                "configuration: defaults.batch: expected a whole number from 1 to 256 (messages), found \"x\"",
            ),
            (
                "[queues.a]\nbatches = 1",
                "configuration: queues.a.batches: no such setting; docs/CONFIGURATION.md lists all of them",
            ),
            (
                "[queues.a]\n[webhooks.twilio]\nqueue = 'b'",
                "configuration: webhooks.twilio.queue: expected the name of a configured queue, found \"b\"",
            ),
            (
                "[storage]\ncontainer = 'A'\n[queues.a]",
                "configuration: storage.container: expected 3 to 63 characters out of a-z, 0-9 and single hyphens, found \"A\"",
            ),
            (
                "public_url = 'example.com'\n[queues.a]",
                "configuration: public_url: expected an http:// or https:// URL without a query, found \"example.com\"",
            ),
            ("storage = {}", "configuration: queues: expected at least one queue, as in [queues.orders]"),
        ] {
            assert_eq!(error(document), expected, "{document}");
        }
        assert!(error("{").starts_with("configuration: oncebus_config: not JSON"));
        assert!(error("=").starts_with("configuration: oncebus_config: not TOML"));
    }

    #[test]
    fn the_public_url_of_the_variable_wins() {
        let config = Config::parse("public_url = 'https://a'\n[queues.q]").unwrap();
        assert_eq!(config.clone().with_public_url(" ").unwrap().public_url.as_deref(), Some("https://a"));
        assert_eq!(config.clone().with_public_url("http://b/").unwrap().public_url.as_deref(), Some("http://b"));
        assert!(config.with_public_url("ftp://b").is_err());
    }
}
