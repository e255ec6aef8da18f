//! `oncebus chaos`: shows that the promise holds while everything around it breaks.
//!
//! The real components run on the host, against the emulator in a process of its own on a SQLite file. [`schedule`] decides from
//! a seed what goes wrong; [`hook`] stands in every outbound request and does it: instances die before a request and
//! after the service has committed, replies get lost, instances stand still beyond their claims' time. The emulator loses locks, and
//! is itself killed by `kill -9` and started again. [`workload`] sends, some messages twice, and tries until it is
//! accepted. At the end [`verdict`] reads the store, the log of effects ([`effects`], and [`turns`] for lock keys), the records and the queues, and
//! no counter of ours.
//!
//! There are three [`queues`], since what is promised differs: an ordinary one, where some messages have lock keys; one whose keys hold
//! back what comes after a failure; and one that forgets what is done (`release = "delete"`), whose messages may be worked on as often as they
//! come, and nothing else may happen to them.
//!
//! Times are short (a claim of 6 s under a peek-lock of 18 s) and real: nothing moves a clock. A seed
//! replays what goes wrong at which request; which thread comes first stays the machine's.

mod call;
mod effects;
mod emulator;
mod evidence;
mod hook;
mod journal;
mod queues;
mod report;
mod schedule;
mod stage;
mod turns;
mod verdict;
mod workload;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use oncebus_runtime::platform::Entropy as _;
use oncebus_runtime::platform::native::Native;

use crate::signals::Signals;
use schedule::Amounts;
use stage::{Plan, Stage};

/// Arguments of `oncebus chaos`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Different messages to send, part of them with lock keys.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: u32,
    /// Workers for each queue: each asks for one run after the other.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Different messages besides, for a queue whose records are deleted when they are done. Default: one for each 5 messages.
    #[arg(long, value_name = "NUMBER")]
    forgetful: Option<u32>,
    /// Replay the faults of a run. Default: drawn, and printed.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Instances to kill. Default: one in 20 messages, and each kind of request on both sides at least once.
    #[arg(long, value_name = "NUMBER")]
    kills: Option<u32>,
    /// Instances to pause beyond the ttl. Default: one in 100 messages, and at least 4.
    #[arg(long, value_name = "NUMBER")]
    pauses: Option<u32>,
    /// How often the emulator is killed and started again. Default: once in 500 messages, and at least once.
    #[arg(long, value_name = "NUMBER")]
    restarts: Option<u32>,
    /// Replies lost after the service has committed, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=50))]
    lost_replies: u32,
    /// Sends repeated, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    repeated_sends: u32,
    /// Messages that the processor rejects, in percent: they end on the poison queue.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    rejects: u32,
    /// Give up after so long. Default: 4 minutes and a fifth of a second for each message.
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u64>,
    /// The app's manifest.
    #[arg(long, value_name = "PATH", default_value = "spin.toml")]
    manifest: PathBuf,
    /// The processor. Default: the one for tests, which fails as its messages say, beside the built components.
    #[arg(long, value_name = "PATH")]
    processor: Option<PathBuf>,
    /// Print one JSON object as the last line of standard output, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

/// Runs it; fails unless all is as promised.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    tokio::select! {
        result = chaos(&args) => result,
        () = signals.next() => bail!("interrupted"),
    }
}

async fn chaos(args: &Args) -> anyhow::Result<()> {
    let platform = Native::new()?;
    let seed = args.seed.unwrap_or_else(|| platform.draw() % 1_000_000);
    let plan = args.plan(seed);
    let say = |text: &str| if args.json { eprintln!("{text}") } else { println!("{text}") };
    say(&format!("oncebus chaos --messages {} --workers {} --seed {seed}", args.messages, args.workers));

    let stage = Stage::set(&platform, &plan).await?;
    let folder = stage.folder().to_owned();
    let played = stage.play(&plan).await.with_context(|| format!("what was kept is in {}", folder.display()))?;
    say(&report::table(&played));
    if args.json {
        println!("{}", serde_json::to_string(&played.outcome)?);
    }
    if !played.outcome.violations.is_empty() {
        bail!(
            "not as promised: {}\nwhat was kept is in {}; replay with --seed {seed}",
            played.outcome.violations.join("\n  "),
            folder.display()
        );
    }
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    say("Every accepted message has had its effect once.");
    Ok(())
}

impl Args {
    fn plan(&self, seed: u64) -> Plan {
        let amounts = Amounts {
            messages: self.messages,
            forgetful: self.forgetful.unwrap_or_else(|| self.messages.div_ceil(5)),
            kills: self.kills.unwrap_or_else(|| (self.messages / 20).max(2 * call::Kind::COUNT)),
            pauses: self.pauses.unwrap_or_else(|| (self.messages / 100).max(4)),
            restarts: self.restarts.unwrap_or_else(|| (self.messages / 500).max(1)),
            lost_replies: self.lost_replies * 100,
            repeated_sends: self.repeated_sends * 100,
        };
        let tests = "target/wasm32-wasip2/release/oncebus_flaky.wasm";
        Plan {
            seed,
            amounts,
            rejects: self.rejects * 100,
            workers: self.workers,
            patience: std::time::Duration::from_secs(
                self.patience.unwrap_or_else(|| 240 + u64::from(self.messages) / 5),
            ),
            manifest: self.manifest.clone(),
            processor: self.processor.clone().unwrap_or_else(|| self.manifest.with_file_name(tests)),
        }
    }
}
