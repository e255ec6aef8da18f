//! Where the services are: as connection strings say, and an emulator for what they leave out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use oncebus_azure::blob::{create_container, parse_container};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_core::config::{Config, Idempotency};
use oncebus_core::secret::Secret;
use oncebus_emulator::{Emulator, Options, QueueOptions, Store};
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::records::Records;

/// How long the storage may take to answer at all, while everything starts.
const PATIENCE: Duration = Duration::from_secs(15);

/// Connection strings, as given.
#[derive(Debug, clap::Args)]
pub(super) struct Connections {
    /// Service Bus connection string; without it the emulator is Service Bus.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS", hide_env_values = true)]
    servicebus: Option<Secret>,
    /// Another one for sending.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS_SEND", hide_env_values = true)]
    servicebus_send: Option<Secret>,
    /// Another one for receiving.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS_LISTEN", hide_env_values = true)]
    servicebus_listen: Option<Secret>,
    /// Storage connection string; without it the emulator is the storage.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_STORAGE", hide_env_values = true)]
    storage: Option<Secret>,
}

/// Both services.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) send: ServiceBusConnection,
    pub(crate) listen: ServiceBusConnection,
    pub(crate) storage: StorageConnection,
}

/// The emulator, and which halves of it are used.
#[derive(Debug)]
pub(super) struct Emulated {
    emulator: Emulator,
    service_bus: bool,
    storage: bool,
}

impl Connections {
    /// Reads what was given, and starts an emulator for the rest. Its queues are those of the configuration.
    pub(super) async fn resolve(
        &self,
        config: &Config,
        store: Option<PathBuf>,
    ) -> anyhow::Result<(Services, Option<Emulated>)> {
        let send = self.servicebus_send.as_ref().or(self.servicebus.as_ref());
        let listen = self.servicebus_listen.as_ref().or(self.servicebus.as_ref());
        let bus = match (send, listen) {
            (None, None) => None,
            (Some(send), Some(listen)) => {
                let read = |text: &Secret| ServiceBusConnection::parse(text.expose());
                let send = read(send).context("the Service Bus connection string for sending")?;
                let listen = read(listen).context("the Service Bus connection string for receiving")?;
                ensure!(
                    send.origin() == listen.origin(),
                    "sending ({}) and receiving ({}) must be on one namespace",
                    send.origin(),
                    listen.origin()
                );
                Some((send, listen))
            }
            (Some(_), None) => bail!("--servicebus-send needs --servicebus-listen beside it, or --servicebus for both"),
            (None, Some(_)) => bail!("--servicebus-listen needs --servicebus-send beside it, or --servicebus for both"),
        };
        let storage = self.storage.as_ref().map(|text| StorageConnection::parse(text.expose()));
        let storage = storage.transpose().context("the storage connection string")?;
        if let (Some((send, listen)), Some(storage)) = (&bus, &storage) {
            let services = Services { send: send.clone(), listen: listen.clone(), storage: storage.clone() };
            return Ok((services, None));
        }
        let emulator = start(config, store).await?;
        let emulated = Emulated { service_bus: bus.is_none(), storage: storage.is_none(), emulator };
        let (send, listen) = match bus {
            Some(bus) => bus,
            None => {
                let bus = ServiceBusConnection::parse(&emulated.emulator.service_bus_connection_string())?;
                (bus.clone(), bus)
            }
        };
        let storage = match storage {
            Some(storage) => storage,
            None => StorageConnection::parse(&emulated.emulator.storage_connection_string())?,
        };
        Ok((Services { send, listen, storage }, Some(emulated)))
    }
}

async fn start(config: &Config, store: Option<PathBuf>) -> anyhow::Result<Emulator> {
    if let Some(folder) = store.as_ref().and_then(|path| path.parent()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let options =
        Options { queues: queues(config), store: store.map_or(Store::Memory, Store::Sqlite), ..Options::default() };
    Emulator::start(options).await.context("the emulator did not start")
}

/// Every configured queue and every poison queue, each once, as the configuration says they are on Service Bus. A poison
/// queue has the times of the first queue that names it.
fn queues(config: &Config) -> Vec<QueueOptions> {
    let mut seen = BTreeSet::new();
    let own = config.queues.values().map(|queue| (&queue.name, queue));
    let poison = config.queues.values().map(|queue| (&queue.poison_queue, queue));
    own.chain(poison)
        .filter(|(name, _)| seen.insert(*name))
        .map(|(name, queue)| QueueOptions {
            requires_duplicate_detection: *name == queue.name && queue.door.idempotency == Idempotency::Broker,
            name: name.clone(),
            lock_duration: queue.lock_duration,
            max_delivery_count: queue.max_delivery_count,
            ..QueueOptions::default()
        })
        .collect()
}

impl Services {
    /// Makes the container of the records, where a key allows it; else makes sure that it is there.
    pub(super) async fn provide_container(&self, platform: &Native, container: &str) -> anyhow::Result<()> {
        let deadline = platform.now().plus(PATIENCE);
        if self.storage.has_account_key() {
            let request = create_container(&self.storage, container, platform.wall());
            let bounds = Bounds { repeat: Repeat::Always, each: PATIENCE, deadline, wait_when_throttled: true };
            let answer = call(platform, request, bounds).await.result.with_context(|| self.storage_at())?;
            parse_container(answer).with_context(|| format!("cannot make the container {container}"))?;
            return Ok(());
        }
        let probe = Records::new(platform, &self.storage, container).probe(deadline).await;
        probe.with_context(|| {
            format!("the container {container} at {} cannot be used, and a SAS makes none", self.storage.endpoint())
        })
    }

    fn storage_at(&self) -> String {
        format!("no storage at {}", self.storage.endpoint())
    }
}

impl Emulated {
    /// What is emulated, and where: a name and an address each.
    pub(super) fn addresses(&self) -> Vec<(&'static str, String)> {
        let service_bus = self.service_bus.then(|| ("Service Bus emulator", self.emulator.service_bus_url()));
        let storage = self.storage.then(|| ("Blob Storage emulator", self.emulator.blob_url()));
        let admin = Some(("emulator's admin port", self.emulator.admin_url()));
        [service_bus, storage, admin].into_iter().flatten().collect()
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.emulator.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emulator_has_each_queue_once_with_its_poison_queue() {
        let document = "[defaults]\nlock_duration_seconds = 90\n[queues.a]\npoison_queue = 'b'\n[queues.b]\nmax_delivery_count = 20\n";
        let queues = queues(&Config::parse(document).unwrap());
        let seen: Vec<(&str, u64, u32)> =
            queues.iter().map(|q| (q.name.as_str(), q.lock_duration.as_secs(), q.max_delivery_count)).collect();
        assert_eq!(seen, [("a", 90, 10), ("b", 90, 20), ("b.poison", 90, 20)]);
        let document = "[queues.a]\nidempotency = 'broker'\n[queues.b]";
        let queues = super::queues(&Config::parse(document).unwrap());
        let detecting: Vec<&str> =
            queues.iter().filter(|q| q.requires_duplicate_detection).map(|q| q.name.as_str()).collect();
        assert_eq!(detecting, ["a"]);
    }
}
