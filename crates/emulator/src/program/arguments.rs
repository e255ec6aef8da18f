//! What the program is told on its command line.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crate::behaviour::Behaviour;
use crate::emulator::Options;
use crate::entities::{ConfigError, Entities, FlagError};
use crate::http::server::Limits;
use crate::store::Store;
use crate::tls::{Certificate, Tls};

/// Why there is nothing to start.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `Config.json` is none.
    #[error("{}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ConfigError,
    },
    /// A file of settings is none.
    #[error("{}", path.display())]
    Behaviour {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_path_to_error::Error<serde_json::Error>,
    },
    /// A flag says what cannot be.
    #[error("--{flag} {text}")]
    Flag {
        /// Its name.
        flag: &'static str,
        /// Its value.
        text: String,
        /// Why.
        source: FlagError,
    },
}

/// What the program is told. It starts with [`Self::options`].
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Address of the ports. Port 0: any; else Service Bus's, and those after it.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the Service Bus port alone.
    #[arg(long)]
    service_bus_listen: Option<SocketAddr>,
    /// Address of the blob port alone.
    #[arg(long)]
    blob_listen: Option<SocketAddr>,
    /// Address of the admin port alone. It asks for no credentials.
    #[arg(long)]
    admin_listen: Option<SocketAddr>,
    /// Entities, as the official emulator's Config.json says them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A queue to make: NAME[,lock=30s][,max-delivery=5][,ttl=1h][,dedup=10m][,sessions]
    /// [,dead-letter-expired][,forward-to=NAME][,forward-dead-letters-to=NAME]; repeatable.
    #[arg(long = "queue", value_name = "NAME[,KEY=VALUE]")]
    queues: Vec<String>,
    /// A topic to make: NAME[,ttl=1h][,dedup=10m]; repeatable.
    #[arg(long = "topic", value_name = "NAME[,KEY=VALUE]")]
    topics: Vec<String>,
    /// A subscription to make, with the keys of a queue but dedup; repeatable.
    #[arg(long = "subscription", value_name = "TOPIC/NAME[,KEY=VALUE]")]
    subscriptions: Vec<String>,
    /// A rule of such a subscription; the first takes the place of $Default; repeatable.
    #[arg(long = "rule", value_name = "TOPIC/SUBSCRIPTION/RULE=SQL")]
    rules: Vec<String>,
    /// Lock duration, in seconds, where a flag says none.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=300))]
    lock_seconds: u64,
    /// Deliveries after which a message is dead-lettered, where a flag says nothing else.
    #[arg(long, default_value = "10")]
    max_delivery_count: NonZeroU32,
    /// A container to make; repeatable.
    #[arg(long = "container", value_name = "NAME")]
    containers: Vec<String>,
    /// `memory`, or the path of a SQLite database.
    #[arg(long, default_value = "memory", value_name = "memory|PATH")]
    store: PathBuf,
    /// Let in any bearer token that is not empty, with all rights. Such tokens cannot be checked here.
    #[arg(long)]
    accept_bearer: bool,
    /// What is open about the service, as JSON; see the documentation of the settings.
    #[arg(long, value_name = "FILE")]
    behaviour: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArguments,
    /// Connections to one port at once.
    #[arg(long, default_value_t = Limits::default().connections)]
    max_connections: usize,
}

#[derive(Debug, clap::Args)]
struct TlsArguments {
    /// Two more ports, over TLS, with a certificate that is made now.
    #[arg(long)]
    tls: bool,
    /// A certificate of your own instead (PEM, with those between it and its authority).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// One more name or address that the made certificate is good for; repeatable.
    #[arg(long = "tls-name", value_name = "NAME", requires = "tls", conflicts_with = "tls_cert")]
    tls_names: Vec<String>,
    /// Where the authority to trust is written, when a certificate is made.
    #[arg(long, value_name = "FILE", default_value = "oncebus-emulator-ca.pem")]
    tls_ca: PathBuf,
    /// Address of Service Bus over TLS alone.
    #[arg(long)]
    tls_listen: Option<SocketAddr>,
    /// Address of the blob service over TLS alone.
    #[arg(long)]
    blob_tls_listen: Option<SocketAddr>,
}

impl TlsArguments {
    fn options(&self) -> Option<Tls> {
        let certificate = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Certificate::Files { chain: chain.clone(), key: key.clone() },
            _ if self.tls => Certificate::Made { names: self.tls_names.clone() },
            _ => return None,
        };
        Some(Tls { certificate, service_bus_listen: self.tls_listen, blob_listen: self.blob_tls_listen })
    }
}

impl Arguments {
    /// An emulator as it is to be.
    ///
    /// # Errors
    /// When a file cannot be read, or a file or a flag says what cannot be.
    pub fn options(self) -> Result<Options, ArgumentError> {
        Ok(Options {
            entities: self.entities()?,
            behaviour: self.behaviour()?,
            containers: self.containers,
            store: if self.store.as_os_str() == "memory" { Store::Memory } else { Store::Sqlite(self.store) },
            listen: self.listen,
            service_bus_listen: self.service_bus_listen,
            blob_listen: self.blob_listen,
            admin_listen: self.admin_listen,
            accept_bearer: self.accept_bearer,
            tls: self.tls.options(),
            limits: Limits { connections: self.max_connections, ..Limits::default() },
            ..Options::default()
        })
    }

    /// Where the authority to trust is written, when a certificate is made.
    pub(super) fn authority_file(&self) -> &Path {
        &self.tls.tls_ca
    }

    /// Those of the file first, so that a flag may say something else about one of them.
    fn entities(&self) -> Result<Entities, ArgumentError> {
        let mut entities = match &self.config {
            None => Entities::default(),
            Some(path) => Entities::from_config(&read(path)?)
                .map_err(|source| ArgumentError::Config { path: path.clone(), source })?,
        };
        let (lock, deliveries) = (self.lock_seconds, self.max_delivery_count);
        let flags = Entities::default();
        let flags = each(flags, "queue", &self.queues, |all, text| all.queue_flag(text, lock, deliveries))?;
        let flags = each(flags, "topic", &self.topics, Entities::topic_flag)?;
        let flags = each(flags, "subscription", &self.subscriptions, |all, text| {
            all.subscription_flag(text, lock, deliveries)
        })?;
        entities.extend(each(flags, "rule", &self.rules, Entities::rule_flag)?);
        Ok(entities)
    }

    fn behaviour(&self) -> Result<Behaviour, ArgumentError> {
        let Some(path) = &self.behaviour else { return Ok(Behaviour::default()) };
        let json = read(path)?;
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(&json))
            .map_err(|source| ArgumentError::Behaviour { path: path.clone(), source })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ArgumentError> {
    std::fs::read(path).map_err(|source| ArgumentError::Read { path: path.to_owned(), source })
}

/// Adds what each text of a flag says.
fn each(
    entities: Entities,
    flag: &'static str,
    texts: &[String],
    add: impl Fn(Entities, &str) -> Result<Entities, FlagError>,
) -> Result<Entities, ArgumentError> {
    texts.iter().try_fold(entities, |all, text| {
        add(all, text).map_err(|source| ArgumentError::Flag { flag, text: text.clone(), source })
    })
}
