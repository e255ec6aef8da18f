//! `oncebus-emulator`: the emulator as a program of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use oncebus_emulator::{Emulator, Options, QueueOptions, Store};
use tracing_subscriber::EnvFilter;

/// Azure Service Bus over REST, and Blob Storage, in one process.
///
/// Prints the addresses, one per line, and then `ready`.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of the ports. Port 0: any three; else Service Bus's, and the two after it.
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
    /// A queue to make; repeatable.
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<String>,
    /// Lock duration of these queues, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=300))]
    lock_seconds: u64,
    /// Deliveries after which a message of these queues is dead-lettered.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    max_delivery_count: u32,
    /// A container to make; repeatable.
    #[arg(long = "container", value_name = "NAME")]
    containers: Vec<String>,
    /// `memory`, or the path of a SQLite database.
    #[arg(long, default_value = "memory", value_name = "memory|PATH")]
    store: PathBuf,
}

impl Arguments {
    fn options(self) -> Options {
        let queue = |name| QueueOptions {
            name,
            lock_duration: Duration::from_secs(self.lock_seconds),
            max_delivery_count: self.max_delivery_count,
            ..QueueOptions::default()
        };
        Options {
            queues: self.queues.into_iter().map(queue).collect(),
            containers: self.containers,
            store: if self.store.as_os_str() == "memory" { Store::Memory } else { Store::Sqlite(self.store) },
            listen: self.listen,
            service_bus_listen: self.service_bus_listen,
            blob_listen: self.blob_listen,
            admin_listen: self.admin_listen,
            ..Options::default()
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // Standard output is for the addresses.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let mut ended = Signals::new()?;
    let emulator = Emulator::start(arguments.options()).await.context("the emulator did not start")?;
    announce(&emulator).context("nobody reads the addresses")?;
    ended.next().await;
    emulator.shutdown().await;
    Ok(())
}

fn announce(emulator: &Emulator) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "service-bus={}", emulator.service_bus_url())?;
    writeln!(out, "blob={}", emulator.blob_url())?;
    writeln!(out, "admin={}", emulator.admin_url())?;
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
