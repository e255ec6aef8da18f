//! `oncebus dead-letters`: the poison queues, and the broker's own dead-letter queues.
//!
//! # Looking costs something
//!
//! Over REST there is no looking at a message without receiving it. So `list`, `show` and every dry run take each letter under
//! peek-lock, hold all of them until they have seen enough (a letter that is given back comes straight up again), renew their locks
//! meanwhile, and give them back at the end. **Each such pass raises a letter's `DeliveryCount` by one**, and so does a redrive or a
//! purge for those letters that its filters leave out.
//!
//! A poison queue is a queue: what was given back `MaxDeliveryCount` times the broker moves to *its* dead-letter queue
//! (`orders.poison/$DeadLetterQueue`). Nothing is lost, and `--from` reaches it there, but it is a nuisance; so a pass that only
//! looks ends as soon as it has to give back a letter that has one delivery left, and says so: that one is for the redrive. The
//! broker's dead-letter queues count too, but move nothing on.
//!
//! # Redriving
//!
//! Follows the table in `oncebus_core::record::redrive`: the record of the message decides, and the letter is completed last. So it
//! may be killed at any point and begun again.
//!
//! A run takes what was there when it began: a message that is parked again meanwhile is left for the next one. Else a message
//! that fails for good would go round for ever.

mod edit;
mod filter;
mod letter;
mod look;
mod redrive;
mod source;
#[cfg(test)]
mod tests;
mod walk;

use anyhow::Context as _;
use clap::Subcommand;
use oncebus_azure::connection::ServiceBusConnection;
use oncebus_core::config::Config;
use oncebus_runtime::platform::native::Native;
use source::{Source, SourceArgs};
use walk::{Walk, Walked};

use crate::operator::{ConfigArgs, Out, ServiceBusArgs, unless_pipe_closed};

/// Arguments of `oncebus dead-letters`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List letters. Each pass costs each of them a delivery.
    List(look::ListArgs),
    /// Show a letter with its properties and its body.
    Show(look::ShowArgs),
    /// Send messages back to the queue they came from, once: what is done already is only taken away. A dry run costs each a delivery.
    Redrive(redrive::RedriveArgs),
    /// Take letters away for good.
    Purge(look::PurgeArgs),
}

/// Where the letters are, and what opens it.
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    servicebus: ServiceBusArgs,
}

/// Does as it is told.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let out = Out::default();
    unless_pipe_closed(match args.command {
        Command::List(args) => look::list(&args, &out).await,
        Command::Show(args) => look::show(&args, &out).await,
        Command::Redrive(args) => redrive::redrive(&args, &out).await,
        Command::Purge(args) => look::purge(&args, &out).await,
    })
}

/// A place that was opened.
struct Opened {
    platform: Native,
    listen: ServiceBusConnection,
    config: Config,
    source: Source,
}

impl Opened {
    fn new(place: &Place) -> anyhow::Result<Self> {
        let config = place.config.read()?;
        let source = place.source.find(&config)?;
        let listen = place.servicebus.listen()?;
        let platform = Native::new().context("cannot set up HTTP")?;
        Ok(Self { platform, listen, config, source })
    }

    fn walk(&self, workers: u16, only_looks: bool) -> Walk<'_> {
        let walk = Walk::new(&self.platform, &self.listen, &self.source, usize::from(workers));
        if only_looks { walk.that_only_looks() } else { walk }
    }

    /// What a pass left behind that one should know of.
    fn warn(&self, walked: &Walked) {
        let entity = &self.source.entity;
        if walked.used_up {
            eprintln!(
                "oncebus: stopped: letters of {entity} have no delivery to spare. Redrive or purge them, which takes them away; \
                 looking again moves them to {entity}/$DeadLetterQueue (--from)"
            );
        }
        if walked.moved > 0 {
            eprintln!(
                "oncebus: {} letters had no delivery left and are in {entity}/$DeadLetterQueue now (--from)",
                walked.moved
            );
        }
        if walked.newer > 0 {
            eprintln!("oncebus: {} letters came after this began: left for the next time", walked.newer);
        }
        if walked.unanswered > 0 {
            eprintln!(
                "oncebus: {} polls had no answer: what they may have locked comes back when the lock lapses. Run it again then",
                walked.unanswered
            );
        }
        if walked.interrupted {
            eprintln!("oncebus: interrupted: what was held is given back");
        }
    }
}
