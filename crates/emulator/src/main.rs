//! `oncebus-emulator`: the emulator as a program of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Parser;
use oncebus_emulator::{Behaviour, Certificate, Emulator, Entities, Limits, Options, Store, Tls};
use tracing_subscriber::EnvFilter;

/// Much of what a call costs is memory that is taken and given back, by whichever thread has it then.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Azure Service Bus over REST, and Blob Storage, in one process.
///
/// Prints the addresses, one per line, and then `ready`.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
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
    /// Those of the file first, so that a flag may say something else about one of them.
    fn entities(&self) -> anyhow::Result<Entities> {
        let mut entities = match &self.config {
            None => Entities::default(),
            Some(path) => {
                let json = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                Entities::from_config(&json).with_context(|| path.display().to_string())?
            }
        };
        let mut flags = Entities::default();
        let (lock, deliveries) = (self.lock_seconds, self.max_delivery_count);
        for text in &self.queues {
            flags = flags.queue_flag(text, lock, deliveries).with_context(|| format!("--queue {text}"))?;
        }
        for text in &self.topics {
            flags = flags.topic_flag(text).with_context(|| format!("--topic {text}"))?;
        }
        for text in &self.subscriptions {
            flags =
                flags.subscription_flag(text, lock, deliveries).with_context(|| format!("--subscription {text}"))?;
        }
        for text in &self.rules {
            flags = flags.rule_flag(text).with_context(|| format!("--rule {text}"))?;
        }
        entities.extend(flags);
        Ok(entities)
    }

    fn behaviour(&self) -> anyhow::Result<Behaviour> {
        let Some(path) = &self.behaviour else { return Ok(Behaviour::default()) };
        let json = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut json = serde_json::Deserializer::from_slice(&json);
        serde_path_to_error::deserialize(&mut json).with_context(|| path.display().to_string())
    }

    fn options(self) -> anyhow::Result<Options> {
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
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // Standard output is for the addresses.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let mut ended = Signals::new()?;
    if arguments.accept_bearer {
        tracing::warn!("--accept-bearer: whoever sends any bearer token may do everything");
    }
    let authority = arguments.tls.tls_ca.clone();
    let emulator = Emulator::start(arguments.options()?).await.context("the emulator did not start")?;
    if let Some(pem) = emulator.authority() {
        write_authority(&authority, pem)?;
    }
    announce(&emulator, &authority).context("nobody reads the addresses")?;
    ended.next().await;
    emulator.shutdown().await;
    Ok(())
}

/// Writes the authority to trust, over that of an earlier start and over nothing else.
fn write_authority(path: &Path, pem: &str) -> anyhow::Result<()> {
    const MARK: &str = "# The authority of one start of oncebus-emulator; its key is gone.\n";
    match std::fs::read(path) {
        Ok(old) => ensure!(old.starts_with(MARK.as_bytes()), "{} is there and is not ours", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    std::fs::write(path, format!("{MARK}{pem}")).with_context(|| format!("cannot write {}", path.display()))
}

fn announce(emulator: &Emulator, authority: &Path) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "service-bus={}", emulator.service_bus_url())?;
    writeln!(out, "blob={}", emulator.blob_url())?;
    writeln!(out, "admin={}", emulator.admin_url())?;
    if let (Some(service_bus), Some(blob)) = (emulator.service_bus_tls_url(), emulator.blob_tls_url()) {
        writeln!(out, "service-bus-tls={service_bus}")?;
        writeln!(out, "blob-tls={blob}")?;
    }
    if emulator.authority().is_some() {
        writeln!(out, "authority={}", authority.display())?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

/// Ctrl-C and, where there is one, SIGTERM.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
