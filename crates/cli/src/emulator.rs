//! `oncebus emulator`: the emulator alone, for whoever has something else to run against it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use oncebus_emulator::{Emulator, Options, QueueOptions, Store};

use crate::signals::Signals;

/// Arguments of `oncebus emulator`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep messages and blobs in this SQLite database. Default: in memory.
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// Where Service Bus listens. Default: any port.
    #[arg(long, value_name = "ADDRESS")]
    service_bus_listen: Option<SocketAddr>,
    /// Where Blob Storage listens. Default: any port.
    #[arg(long, value_name = "ADDRESS")]
    blob_listen: Option<SocketAddr>,
    /// Where the admin port listens; it asks for no credentials. Default: any port.
    #[arg(long, value_name = "ADDRESS")]
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
}

/// Runs until a signal.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let queue = |name| QueueOptions {
        name,
        lock_duration: Duration::from_secs(args.lock_seconds),
        max_delivery_count: args.max_delivery_count,
        ..QueueOptions::default()
    };
    let options = Options {
        queues: args.queues.into_iter().map(queue).collect(),
        containers: args.containers,
        store: args.store.map_or(Store::Memory, Store::Sqlite),
        service_bus_listen: args.service_bus_listen,
        blob_listen: args.blob_listen,
        admin_listen: args.admin_listen,
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.context("the emulator did not start")?;
    announce(&emulator).context("nobody reads the addresses")?;
    signals.next().await;
    emulator.shutdown().await;
    Ok(())
}

/// Names and values, and then `ready`.
fn announce(emulator: &Emulator) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "service-bus={}", emulator.service_bus_url())?;
    writeln!(out, "blob={}", emulator.blob_url())?;
    writeln!(out, "admin={}", emulator.admin_url())?;
    writeln!(out, "service-bus-connection={}", emulator.service_bus_connection_string())?;
    writeln!(out, "storage-connection={}", emulator.storage_connection_string())?;
    writeln!(out, "ready")?;
    out.flush()
}
