//! An emulator from start to end: options in, ports out.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::account::Account;
use crate::admin::{Admin, DeclarationError, Inner, declare_all};
use crate::auth::memo::Memo;
use crate::auth::service_bus::{AccessRule, Rules};
use crate::auth::storage::{ACCOUNT, ACCOUNT_KEY, AccountKey};
use crate::behaviour::Behaviour;
use crate::blob::{BlobStore, Metadata, is_container_name};
use crate::broker::{Broker, QueueOptions, is_valid_name};
use crate::calls::Calls;
use crate::clock::Clock;
use crate::clocks::Clocks;
use crate::entities::Entities;
use crate::faults::Faults;
use crate::http::admin::AdminService;
use crate::http::blob::BlobService;
use crate::http::server::{Acceptor, Limits, Port, serve};
use crate::http::service_bus::ServiceBus;
use crate::ids::RandomIds;
use crate::namespace::Namespace;
use crate::store::{Journal, Store, StoreError};
use crate::tls::{Identity, Tls, TlsError};

/// What an emulator starts with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Queues to make, or to give these properties when the store has them already.
    pub queues: Vec<QueueOptions>,
    /// Entities to make, or to give these properties when the store has them already.
    pub entities: Entities,
    /// Containers to make when they are absent.
    pub containers: Vec<String>,
    /// Where messages and blobs are kept. Default: in memory.
    pub store: Store,
    /// Address of the ports. Port 0 lets the system choose; another is Service Bus's, and those after it are
    /// the blob service's, the admin port, and with TLS both services' once more. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Address of the Service Bus port, instead of `listen`.
    pub service_bus_listen: Option<SocketAddr>,
    /// Address of the blob port, instead of `listen`.
    pub blob_listen: Option<SocketAddr>,
    /// Address of the admin port, instead of `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// The namespace's access rules. Default: `RootManageSharedAccessKey` with the key `SAS_KEY_VALUE`.
    pub access_rules: Vec<AccessRule>,
    /// Access rules of single entities, by name.
    pub entity_access_rules: BTreeMap<String, Vec<AccessRule>>,
    /// Whether any bearer token, unless it is empty, is let in with all rights. Default no: such tokens cannot
    /// be checked here, and are refused.
    pub accept_bearer: bool,
    /// Ports over TLS, beside the plain ones. Default none.
    pub tls: Option<Tls>,
    /// What one client may hold, and for how long.
    pub limits: Limits,
    /// What the namespace is allowed: the largest message that an entity may be made for. Default
    /// standard.
    pub tier: Tier,
    /// What is open about the service. Default: as documented.
    pub behaviour: Behaviour,
}

/// A namespace's tier. It says how large messages may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// 256 KB.
    #[default]
    Standard,
    /// 1 MB, or what an entity was made for, up to 100 MB.
    Premium,
}

impl Tier {
    /// What an entity takes when nobody says otherwise.
    pub(crate) fn largest_message_kilobytes(self) -> usize {
        match self {
            Self::Standard => 256,
            Self::Premium => 1024,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queues: Vec::new(),
            entities: Entities::default(),
            containers: Vec::new(),
            store: Store::Memory,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            service_bus_listen: None,
            blob_listen: None,
            admin_listen: None,
            access_rules: vec![AccessRule::default()],
            entity_access_rules: BTreeMap::new(),
            accept_bearer: false,
            tls: None,
            limits: Limits::default(),
            tier: Tier::Standard,
            behaviour: Behaviour::default(),
        }
    }
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port could not be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store could not be opened.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// TLS was asked for and cannot be had.
    #[error("no TLS")]
    Tls(#[from] TlsError),
    /// An entity cannot be as it is declared.
    #[error(transparent)]
    Entity(#[from] DeclarationError),
    /// A queue's name is none.
    #[error("not a valid queue name: {0}")]
    QueueName(String),
    /// A container's name is none.
    #[error("not a valid container name: {0}")]
    ContainerName(String),
}

/// A running emulator. Dropping it closes the ports; [`Emulator::shutdown`] also waits.
#[derive(Debug)]
pub struct Emulator {
    addresses: Addresses,
    authority: Option<String>,
    admin: Admin,
    root: Option<AccessRule>,
    closing: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Emulator {
    /// Starts on the current tokio runtime. When this returns, the ports answer.
    ///
    /// # Errors
    /// When a port or the store cannot be opened, or a name is none.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        check_names(&options)?;
        let identity = options.tls.as_ref().map(|tls| tls.certificate.load()).transpose()?;
        let ports = Ports::open(&options).await?;
        let (journal, kept) = Journal::open(&options.store)?;
        let journal = Arc::new(journal);
        let (closing, closed) = watch::channel(false);

        let policy = options.behaviour.policy();
        let mut broker = Broker::new(Box::new(RandomIds::default()), journal.is_durable()).with_policy(policy);
        kept.broker.into_iter().for_each(|row| broker.restore(row));
        let clock = Clock::with_offset(kept.broker_offset);
        let namespace = Arc::new(Namespace::new(broker, clock, Arc::clone(&journal), closed.clone()));

        let mut store = BlobStore::new(journal.is_durable());
        kept.blob.into_iter().for_each(|row| store.restore(row));
        let clock = Clock::with_offset(kept.storage_offset);
        let account = Arc::new(Account::new(store, clock, Arc::clone(&journal)));

        for queue in &options.queues {
            let (_, ticket) = namespace.apply(|broker, now| broker.put_queue(queue.clone(), now));
            ticket.written().await?;
        }
        for container in &options.containers {
            // One that the store kept stays as it is.
            let _ = account.commit(|store, now| store.create_container(container, Metadata::new(), now)).await;
        }

        let clocks = Clocks::new(namespace.clock().clone(), account.clock().clone(), Arc::clone(&journal));
        let (faults, calls) = (Arc::new(Faults::new(clocks.clone())), Arc::new(Calls::default()));
        let entities = options.entity_access_rules;
        let entities = entities.into_iter().map(|(name, rules)| (name.to_lowercase(), rules)).collect();
        let root = options.access_rules.first().cloned();
        let service_bus = ServiceBus {
            namespace: Arc::clone(&namespace),
            rules: Rules {
                namespace: options.access_rules,
                entities,
                accept_bearer: options.accept_bearer,
                memo: Memo::default(),
            },
            faults: Arc::clone(&faults),
            calls: Arc::clone(&calls),
            tier: options.tier,
            patience: options.limits.body,
            behaviour: options.behaviour,
        };
        let service_bus = Arc::new(service_bus);
        for ticket in declare_all(&service_bus, &options.entities)? {
            ticket.written().await?;
        }
        let blob = BlobService {
            account: Arc::clone(&account),
            key: AccountKey::default(),
            faults: Arc::clone(&faults),
            calls: Arc::clone(&calls),
            patience: options.limits.body,
        };
        let admin = Admin {
            inner: Arc::new(Inner {
                namespace: Arc::clone(&namespace),
                service_bus: Arc::clone(&service_bus),
                account,
                clocks,
                faults,
                calls,
                journal,
                queues: options.queues,
                entities: options.entities,
                containers: options.containers,
            }),
        };

        let blob = Arc::new(blob);
        let admin_service = Arc::new(AdminService { admin: admin.clone(), patience: options.limits.body });
        let addresses = ports.addresses();
        let limits = Arc::new(options.limits);
        let (acceptor, authority) = match identity {
            Some(Identity { acceptor, authority }) => (Some(Acceptor(acceptor)), authority),
            None => (None, None),
        };
        let mut tasks = JoinSet::new();
        let plain = |listener| Port { listener, tls: None };
        let secure = |listener| Port { listener, tls: acceptor.clone() };
        tasks.spawn(serve(plain(ports.service_bus), Arc::clone(&limits), Arc::clone(&service_bus), closed.clone()));
        tasks.spawn(serve(plain(ports.blob), Arc::clone(&limits), Arc::clone(&blob), closed.clone()));
        tasks.spawn(serve(plain(ports.admin), Arc::clone(&limits), admin_service, closed.clone()));
        if let Some((service_bus_port, blob_port)) = ports.tls {
            tasks.spawn(serve(secure(service_bus_port), Arc::clone(&limits), service_bus, closed.clone()));
            tasks.spawn(serve(secure(blob_port), limits, blob, closed));
        }
        tasks.spawn(namespace.watch_time());
        Ok(Self { addresses, authority, admin, root, closing, tasks })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn service_bus_url(&self) -> String {
        format!("http://{}", self.addresses.service_bus)
    }

    /// `http://127.0.0.1:PORT/devstoreaccount1`.
    #[must_use]
    pub fn blob_url(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.addresses.blob)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.addresses.admin)
    }

    /// `https://localhost:PORT`, when there is TLS.
    #[must_use]
    pub fn service_bus_tls_url(&self) -> Option<String> {
        self.addresses.tls.map(|(service_bus, _)| format!("https://{}", local_name(service_bus)))
    }

    /// `https://localhost:PORT/devstoreaccount1`, when there is TLS.
    #[must_use]
    pub fn blob_tls_url(&self) -> Option<String> {
        self.addresses.tls.map(|(_, blob)| format!("https://{}/{ACCOUNT}", local_name(blob)))
    }

    /// The certificate (PEM) of the authority to trust, when there is TLS with a certificate that was made.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// With the first access rule: `RootManageSharedAccessKey` unless the options say otherwise.
    #[must_use]
    pub fn service_bus_connection_string(&self) -> String {
        let (name, key) = self.root.as_ref().map_or(("", ""), |rule| (&rule.name, &rule.primary_key));
        format!(
            "Endpoint=http://{}/;SharedAccessKeyName={name};SharedAccessKey={key};UseDevelopmentEmulator=true",
            self.addresses.service_bus
        )
    }

    /// With the account's key.
    #[must_use]
    pub fn storage_connection_string(&self) -> String {
        format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={};",
            self.blob_url()
        )
    }

    /// The handle for looking inside and for faults.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.admin.clone()
    }

    /// Ends: no new connections, long polls end empty, requests in flight are answered, the store is
    /// closed.
    pub async fn shutdown(mut self) {
        self.closing.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        // A test may have kept its handle; the next emulator gets the database all the same.
        let journal = Arc::clone(&self.admin.inner.journal);
        let _ = tokio::task::spawn_blocking(move || journal.close()).await;
    }
}

/// A made certificate names no other address of this machine.
fn local_name(address: SocketAddr) -> String {
    if address.ip().is_loopback() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

/// The open ports.
struct Ports {
    service_bus: TcpListener,
    blob: TcpListener,
    admin: TcpListener,
    /// Service Bus and the blob service over TLS.
    tls: Option<(TcpListener, TcpListener)>,
    addresses: Addresses,
}

/// Where the ports are.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    service_bus: SocketAddr,
    blob: SocketAddr,
    admin: SocketAddr,
    tls: Option<(SocketAddr, SocketAddr)>,
}

impl Ports {
    async fn open(options: &Options) -> Result<Self, StartError> {
        let nth = |n: u16| {
            let mut address = options.listen;
            if address.port() != 0 {
                address.set_port(address.port().saturating_add(n));
            }
            address
        };
        let (service_bus, service_bus_address) = open(options.service_bus_listen.unwrap_or(nth(0))).await?;
        let (blob, blob_address) = open(options.blob_listen.unwrap_or(nth(1))).await?;
        let (admin, admin_address) = open(options.admin_listen.unwrap_or(nth(2))).await?;
        let (tls, tls_addresses) = match &options.tls {
            None => (None, None),
            Some(tls) => {
                let (first, first_address) = open(tls.service_bus_listen.unwrap_or(nth(3))).await?;
                let (second, second_address) = open(tls.blob_listen.unwrap_or(nth(4))).await?;
                (Some((first, second)), Some((first_address, second_address)))
            }
        };
        let addresses = Addresses {
            service_bus: service_bus_address,
            blob: blob_address,
            admin: admin_address,
            tls: tls_addresses,
        };
        Ok(Self { service_bus, blob, admin, tls, addresses })
    }

    fn addresses(&self) -> Addresses {
        self.addresses
    }
}

async fn open(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn check_names(options: &Options) -> Result<(), StartError> {
    if let Some(queue) = options.queues.iter().find(|queue| !is_valid_name(&queue.name)) {
        return Err(StartError::QueueName(queue.name.clone()));
    }
    match options.containers.iter().find(|name| !is_container_name(name)) {
        Some(container) => Err(StartError::ContainerName(container.clone())),
        None => Ok(()),
    }
}
