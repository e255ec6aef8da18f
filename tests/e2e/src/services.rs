//! The broker and the storage.

use std::time::Duration;

use oncebus_azure::blob::listing::Page;
use oncebus_azure::blob::{create_container, parse_container};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_core::message::Outgoing;
use oncebus_emulator::{Admin, Emulator, Options};
use oncebus_runtime::broker::Broker;
use oncebus_runtime::inventory::Inventory;
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::platform::{Clock as _, Transport as _};
use oncebus_third_party::Azurite;

const CONTAINER: &str = "oncebus";
/// Longer than any answer here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Past a peek-lock of a minute, and past a claim that fits into it.
const PEEK_LOCK: Duration = Duration::from_secs(61);
/// No claim is taken over later than this after its ttl: the margin, of 5 s at the most, and the resolution of server times.
const MARGIN: Duration = Duration::from_secs(6);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Broker and storage, with nothing in them but empty queues and an empty container. Apps come and go before them.
pub struct Services {
    emulator: Emulator,
    /// The storage, if it is not the emulator's.
    azurite: Option<Azurite>,
    platform: Native,
}

impl Services {
    /// Both emulated, in this process.
    ///
    /// # Panics
    /// When the emulator does not start.
    pub async fn emulated() -> Self {
        let queues = ["orders", "texts", "orders.poison", "texts.poison"];
        let options = Options {
            queues: queues.into_iter().map(Into::into).collect(),
            containers: vec![CONTAINER.to_owned()],
            ..Options::default()
        };
        let emulator = Emulator::start(options).await.expect("the emulator starts");
        Self { emulator, azurite: None, platform: Native::new().expect("a client") }
    }

    /// With Azurite as the storage; none when it is to be left out. Its clock cannot be moved: claims have to run out on their own.
    ///
    /// # Panics
    /// When one of them does not start.
    pub async fn with_azurite() -> Option<Self> {
        let azurite = Azurite::start()?;
        let services = Self { azurite: Some(azurite), ..Self::emulated().await };
        let connection = services.storage_connection();
        let request = create_container(&connection, CONTAINER, services.platform.wall());
        let answer = services.platform.send(request, PATIENCE).await.expect("an answer");
        parse_container(answer).expect("a container");
        Some(services)
    }

    /// The emulator's admin.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.emulator.admin()
    }

    /// The address of the broker.
    #[must_use]
    pub fn service_bus_url(&self) -> String {
        self.emulator.service_bus_url()
    }

    /// The connection string of the broker.
    #[must_use]
    pub fn service_bus(&self) -> String {
        self.emulator.service_bus_connection_string()
    }

    /// The connection string of the storage.
    #[must_use]
    pub fn storage(&self) -> String {
        match &self.azurite {
            Some(azurite) => azurite.connection_string(),
            None => self.emulator.storage_connection_string(),
        }
    }

    /// Scheme, host and port of the storage.
    #[must_use]
    pub fn storage_origin(&self) -> String {
        let url =
            self.azurite.as_ref().map_or_else(|| self.emulator.blob_url(), |azurite| azurite.blob_url().to_owned());
        url.rsplit_once('/').map(|(origin, _)| origin.to_owned()).unwrap_or_default()
    }

    /// How many messages an entity holds, in whatever state.
    #[must_use]
    pub fn queued(&self, entity: &str) -> usize {
        self.admin().messages(entity).len()
    }

    /// Puts a message on a queue as somebody else would who knows nothing of Oncebus.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn put_on_queue(&self, queue: &str, message: &Outgoing) {
        let connection =
            ServiceBusConnection::parse(&self.service_bus()).expect("the emulator's own connection string");
        let deadline = self.platform.now().plus(PATIENCE);
        let (sent, _) = Broker::new(&self.platform, &connection).send(queue, message, deadline, true).await;
        sent.expect("the broker takes it");
    }

    /// All blobs, as an operator sees them.
    ///
    /// # Panics
    /// When the storage does not answer, or has too many for one page.
    pub async fn blobs(&self) -> Page {
        let connection = self.storage_connection();
        let deadline = self.platform.now().plus(PATIENCE);
        let (page, _) = Inventory::new(&self.platform, &connection, CONTAINER).page("", None, deadline).await;
        let page = page.expect("a listing");
        assert_eq!(page.next, None, "too many blobs for a test");
        page
    }

    /// Returns when each peek-lock and each claim has run out: clocks are moved, and where one cannot be, that time is waited for.
    ///
    /// # Panics
    /// When a claim does not run out: somebody renews it.
    pub async fn let_locks_expire(&self) {
        if self.azurite.is_none() {
            return self.admin().advance_clock(PEEK_LOCK);
        }
        self.admin().advance_service_bus_clock(PEEK_LOCK);
        let deadline = self.platform.now().plus(PATIENCE);
        while holds_claim(&self.blobs().await) {
            assert!(self.platform.now() < deadline, "a claim never runs out");
            self.platform.sleep(LOOK_AGAIN).await;
        }
    }

    fn storage_connection(&self) -> StorageConnection {
        StorageConnection::parse(&self.storage()).expect("an emulator's own connection string")
    }
}

/// Whether any record or lock key is held.
fn holds_claim(page: &Page) -> bool {
    page.blobs.iter().any(|blob| {
        let value = |name: &str| blob.metadata.get(name).map(String::as_str);
        let ttl = value("ttl").and_then(|ttl| ttl.parse().ok()).map(Duration::from_secs).unwrap_or_default();
        let age = Duration::from_secs(page.date.0.saturating_sub(blob.last_modified.0));
        value("st") == Some("p") && age <= ttl + MARGIN
    })
}
