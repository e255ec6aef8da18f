//! The variables of `spin.toml`, made from what `up` knows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use oncebus_azure::sas::blob::Permissions;
use oncebus_core::config::{Config, OnDone, parse_document, settings};
use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;
use serde_json::{Value, json};

use super::services::Services;

/// How long the app may use the storage: longer than anybody leaves a local app running, and no key for ever.
const STORAGE_SAS_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The secrets that the app is started with.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// What the pump shows to the app.
    pub(crate) run_token: Secret,
    /// What webhooks are signed with, as far as it is known, by the names of variables.
    pub(crate) webhooks: BTreeMap<String, Secret>,
    /// What clients sign their requests with, if they do.
    pub(crate) access: Option<Secret>,
}

/// Values by the names of variables. All are kept as secrets, since some are.
#[derive(Debug)]
pub(crate) struct Variables(BTreeMap<String, Secret>);

impl Variables {
    /// The variables of an app at `public_url` that works with these services. With an account key the app is given
    /// a SAS in its place: read, create and write, in the one container, and delete where a queue says so.
    pub(crate) fn new(
        document: &Document,
        public_url: &str,
        services: &Services,
        secrets: &Secrets,
        now: UnixTime,
    ) -> Self {
        let expires = now.plus(STORAGE_SAS_LIFETIME);
        let deletes = document.config.queues.values().any(|queue| queue.on_done == OnDone::Delete);
        let permissions = if deletes { Permissions::RECORDS_DELETED } else { Permissions::RECORDS };
        let storage = services.storage.with_container_sas(&document.config.container, permissions, expires);
        let values = [
            (settings::CONFIG_VARIABLE.key, Secret::new(&document.line)),
            (settings::PUBLIC_URL_VARIABLE.key, Secret::new(public_url)),
            (settings::SERVICEBUS_SEND.key, Secret::new(services.send.expose())),
            (settings::SERVICEBUS_LISTEN.key, Secret::new(services.listen.expose())),
            (settings::SERVICEBUS_ORIGIN.key, Secret::new(services.send.origin())),
            (settings::STORAGE.key, Secret::new(storage.expose())),
            (settings::STORAGE_ORIGIN.key, Secret::new(services.storage.origin())),
            (settings::RUN_TOKEN.key, secrets.run_token.clone()),
        ];
        let webhooks = secrets.webhooks.iter().map(|(name, secret)| (name.clone(), secret.clone()));
        let access = secrets.access.clone().map(|secret| (settings::ACCESS_SECRET.key.to_owned(), secret));
        let values = values.map(|(name, value)| (name.to_owned(), value)).into_iter();
        Self(values.chain(webhooks).chain(access).collect())
    }

    /// Names and values, **secrets among them**.
    pub(crate) fn expose(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }
}

/// The configuration, checked, and as the app gets it.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) config: Config,
    /// JSON in one line, without a single quote: it can stand between two.
    line: String,
}

impl Document {
    /// Under which URL senders reach the app. What the document says is meant: behind a tunnel or a proxy nobody else knows
    /// it, and a signature over another URL is refused. Where it says nothing, and for the demo, which signs for itself, it is
    /// the address on this machine.
    pub(super) fn public_url<'a>(&'a self, local: &'a str, demo: bool) -> &'a str {
        self.config.public_url.as_deref().filter(|_| !demo).unwrap_or(local)
    }

    /// Reads the document. `log_effects` turns on the log that shows whether a step ran twice, for those who send to themselves: so
    /// access is open, too.
    pub(crate) fn parse(text: &str, log_effects: bool) -> anyhow::Result<Self> {
        Config::parse(text)?;
        let mut tree = parse_document(text)?;
        if log_effects {
            if let Some(tables) = tree.as_object_mut() {
                tables.remove("access");
            }
            set(&mut tree, &["processor", "settings", "effects"], json!(true))
                .context("processor.settings is no table")?;
        }
        // In JSON a single quote stands in strings only, and there it may be escaped.
        let line = tree.to_string().replace('\'', r"\u0027");
        Ok(Self { config: Config::parse(&line)?, line })
    }
}

/// Sets a value below tables that are made where they are missing. `None` when one of them is something else.
fn set(tree: &mut Value, path: &[&str], value: Value) -> Option<()> {
    match path {
        [] => *tree = value,
        [key, rest @ ..] => {
            let table = tree.as_object_mut()?;
            set(table.entry(*key).or_insert_with(|| json!({})), rest, value)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
    use oncebus_core::ingest::access::Access;
    use oncebus_core::ingest::webhooks::Source;

    use super::super::webhooks;
    use super::*;

    fn services() -> Services {
        let bus = "Endpoint=http://127.0.0.1:7001;SharedAccessKeyName=k;SharedAccessKey=s3cret";
        let storage = "AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:7002/a";
        Services {
            send: ServiceBusConnection::parse(bus).unwrap(),
            listen: ServiceBusConnection::parse(bus).unwrap(),
            storage: StorageConnection::parse(storage).unwrap(),
        }
    }

    #[test]
    fn the_app_gets_a_sas_and_no_account_key() {
        let secrets = Secrets { run_token: Secret::new("t"), webhooks: BTreeMap::new(), access: None };
        let document = Document::parse("[queues.q]\n[processor.settings]\nname = \"it's\"", true).unwrap();
        let variables = Variables::new(&document, "http://h", &services(), &secrets, UnixTime(1_795_174_201));
        let values: BTreeMap<&str, &str> = variables.expose().collect();
        assert!(values["storage"].contains("sp=rcw") && values["storage"].contains("se=2026-11-27"));
        assert!(!values["storage"].contains("a2V5"));
        assert_eq!(values["storage_origin"], "http://127.0.0.1:7002");
        assert_eq!(values["servicebus_origin"], "http://127.0.0.1:7001");
        assert_eq!(values["public_url"], "http://h");
        assert!(!values["oncebus_config"].contains(['\'', '\n']));
        let config = Config::parse(values["oncebus_config"]).unwrap();
        assert_eq!(config.processor_settings["effects"], "true");
        assert_eq!(config.processor_settings["name"], "it's");
        assert!(!format!("{variables:?}").contains("s3cret"));
    }

    #[test]
    fn every_variable_is_one_of_the_manifest() {
        let manifest: toml::Table = include_str!("../../../../spin.toml").parse().unwrap();
        // A webhook of each kind, with the secret that it has when nothing else is said.
        let kinds = Source::KINDS.map(|kind| format!("[webhooks.{kind}]\nqueue = \"q\"\n"));
        let document = Document::parse(&format!("[queues.q]\n{}header = \"X-Sig\"", kinds.concat()), false).unwrap();
        let webhooks = webhooks::secrets(&document.config, |_| Some(Secret::new("t")));
        let secrets = Secrets { run_token: Secret::new("t"), webhooks, access: Some(Secret::new("t")) };
        let variables = Variables::new(&document, "http://h", &services(), &secrets, UnixTime(0));
        let given: BTreeSet<&str> = variables.expose().map(|(name, _)| name).collect();
        let declared: BTreeSet<&str> = manifest["variables"].as_table().unwrap().keys().map(String::as_str).collect();
        assert_eq!(given, declared);
        // Ingest gets what it verifies with, and is the only one.
        let of_component = |name: &str| {
            let variables = manifest["component"][name]["variables"].as_table().unwrap();
            secrets.webhooks.keys().filter(|name| variables.contains_key(name.as_str())).count()
        };
        assert_eq!((of_component("ingest"), of_component("queue-handler")), (Source::KINDS.len(), 0));
    }

    #[test]
    fn the_public_url_of_the_document_is_kept_but_for_the_demo() {
        let local = "http://127.0.0.1:3000";
        let tunnel = "https://tunnel.example/hooks";
        let document = Document::parse(&format!("public_url = \"{tunnel}\"\n[queues.q]"), false).unwrap();
        assert_eq!(document.public_url(local, false), tunnel);
        assert_eq!(document.public_url(local, true), local);
        assert_eq!(Document::parse("[queues.q]", false).unwrap().public_url(local, false), local);
        // What the app makes of both: the variable beats the document, and here they agree.
        let secrets = Secrets { run_token: Secret::new("t"), webhooks: BTreeMap::new(), access: None };
        let public_url = document.public_url(local, false);
        let variables = Variables::new(&document, public_url, &services(), &secrets, UnixTime(0));
        let values: BTreeMap<&str, &str> = variables.expose().collect();
        let config = Config::parse(values["oncebus_config"]).unwrap().with_public_url(values["public_url"]).unwrap();
        assert_eq!(config.public_url.as_deref(), Some(tunnel));
    }

    #[test]
    fn the_demo_needs_no_key() {
        let keys = "[queues.q]\n[access]\nmode = 'hmac'\n[[access.keys]]\nname = 'a'";
        assert_eq!(Document::parse(keys, true).unwrap().config.access, Access::Open);
        assert_ne!(Document::parse(keys, false).unwrap().config.access, Access::Open);
    }

    #[test]
    fn effects_are_logged_only_when_asked_for() {
        let document = Document::parse("[queues.q]", false).unwrap();
        assert!(document.config.processor_settings.is_empty());
    }
}
