//! `oncebus records`: looks at the records of an app's messages, and deletes those that are over and old.
//!
//! `list` streams them as they come, page by page in the order of their names (which are hashes, so in no order that
//! means anything), `show` shows one, `sweep` deletes, `unblock` lets the messages of a lock key go on. All of them go by the storage
//! server's clock.
//!
//! Needs an account key, or a SAS of the container with `l` (and `d` to sweep); the components have neither. Listing a
//! container costs one request for each 5,000 blobs, whatever the filter: names begin with a hash, so that no part of them can be
//! asked for.

mod list;
mod sweep;
#[cfg(test)]
mod tests;
mod unblock;
mod view;

use oncebus_azure::blob::listing::Page;
use oncebus_azure::connection::StorageConnection;
use oncebus_core::config::Config;
use oncebus_runtime::inventory::Inventory;
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;

use anyhow::Context as _;
use clap::Subcommand;

use crate::operator::{ConfigArgs, Out, PATIENCE, StorageArgs, failed, queue, unless_pipe_closed};

/// Arguments of `oncebus records`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List records, with filters.
    List(list::ListArgs),
    /// Show one record: all that it holds.
    Show(list::ShowArgs),
    /// Delete records that are over and old: done, or parked with their poison copy made.
    Sweep(sweep::SweepArgs),
    /// Let the messages of a lock key go on, though the one that goes first has not ended.
    Unblock(unblock::UnblockArgs),
}

/// The container.
#[derive(Debug, clap::Args)]
struct Store {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    storage: StorageArgs,
}

/// Which records, by their group of queues.
#[derive(Debug, Default, clap::Args)]
struct Groups {
    /// Those of a queue, and of the queues that share its records.
    #[arg(long, value_name = "NAME", conflicts_with = "group")]
    queue: Option<String>,
    /// Those of a group of queues.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

impl Groups {
    /// The group asked for, if any was.
    fn group(&self, config: &Config) -> anyhow::Result<Option<String>> {
        match &self.queue {
            Some(name) => Ok(Some(queue(config, name)?.group.clone())),
            None => Ok(self.group.clone()),
        }
    }
}

/// Does as it is told.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let out = Out::default();
    unless_pipe_closed(match args.command {
        Command::List(args) => list::list(&args, &out).await,
        Command::Show(args) => list::show(&args, &out).await,
        Command::Sweep(args) => sweep::sweep(&args, &out).await,
        Command::Unblock(args) => unblock::unblock(&args, &out).await,
    })
}

/// A container that was opened.
struct Opened {
    platform: Native,
    connection: StorageConnection,
    config: Config,
}

impl Opened {
    fn new(store: &Store) -> anyhow::Result<Self> {
        let config = store.config.read()?;
        let connection = store.storage.connection()?;
        let platform = Native::new().context("cannot set up HTTP")?;
        Ok(Self { platform, connection, config })
    }

    fn inventory(&self) -> Inventory<'_, Native> {
        Inventory::new(&self.platform, &self.connection, &self.config.container)
    }

    async fn page(&self, prefix: &str, marker: Option<&str>) -> anyhow::Result<Page> {
        let deadline = self.platform.now().plus(PATIENCE);
        let (page, _) = self.inventory().page(prefix, marker, deadline).await;
        let doing = format!("cannot list the container {}", self.config.container);
        page.map_err(|failure| failed(&failure, &doing, "List: an account key, or a SAS of the container with l"))
    }
}
