//! `oncebus bench emulator`: how fast and how large the emulator is.
//!
//! # What is compared with what
//!
//! The yardstick is a *bare route*: an axum router with one handler that reads the body and answers 201
//! with the headers of a send's answer, on the same tokio runtime and behind the same connection
//! settings as the emulator ([`oncebus_emulator::connection_settings`]). What is left of its rate when
//! the emulator answers instead is the ratio.
//!
//! * Both servers are processes of their own with the runtime's default of one worker per core, and the same
//!   allocator (mimalloc, which each program that can be either server has), and so pay the same for the kernel
//!   and for the client beside them. In one process with the client they
//!   would share its scheduler and allocator, and the emulator's memory could not be told from ours.
//! * One client for both (`load`): raw HTTP/1.1 over 32 kept connections on two threads, requests and
//!   SAS token made once. It shares the cores with the server, so it is kept light: whatever it costs
//!   is added to both sides and makes the ratio look better than it is. Therefore the servers' own
//!   processor time per call is measured too and shown beside the rates.
//! * Rounds alternate, bare and emulator, and change their order each time; a ratio is made within a
//!   round. The median counts, and the middle half of the rounds is printed with it.
//! * A receive's answer is larger than the bare route's, and a settlement has no body; the yardstick
//!   stays the same for all.
//!
//! # What is measured
//!
//! Rates of sends and of peek-lock and complete, in memory and in SQLite; every operation on a queue of
//! a million messages against one of a thousand; the time from the start of the process to its `ready`
//! line; memory when idle and for each queued message. Memory and processor time are read from `/proc`,
//! so they are missing where there is none.
//!
//! A missed target ends the program with status 0: the machine may be busy. A call that fails ends it
//! with an error.

mod bare;
mod footprint;
mod load;
mod process;
mod report;
mod requests;
mod size;
mod statistics;
mod throughput;
mod wire;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use process::{Launcher, Storage};
use report::Report;

/// Arguments of `oncebus bench emulator`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The emulator's program. Default: this one, if it has the emulator in it; else the
    /// `oncebus-emulator` beside it.
    #[arg(long, value_name = "PATH")]
    emulator: Option<PathBuf>,
    /// Print one JSON object, after the table, as the last line.
    #[arg(long)]
    json: bool,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 15, value_name = "N")]
    rounds: usize,
    /// Calls in a round.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    calls: usize,
    /// Kept connections.
    #[arg(long, default_value_t = 32, value_name = "N")]
    connections: usize,
    /// Messages in the large queue.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    messages: usize,
    /// Measure only this; repeatable. Default: everything.
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Where the databases are made. Default: the system's directory for temporary files.
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Serve the bare route instead: how this program starts it in a process of its own.
    #[arg(long, hide = true)]
    serve_bare: bool,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Rates in comparison with the bare route.
    Throughput,
    /// A large queue in comparison with a small one.
    Size,
    /// Time to start, and memory.
    Footprint,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// How the program that measures is made to be a server: both servers are this program again, in
/// processes of their own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selves {
    /// What stands before [`Args`] on its command line.
    pub bench: &'static [&'static str],
    /// What makes it an emulator that knows `--queue NAME` and `--store PATH`, if anything does.
    pub emulator: Option<&'static [&'static str]>,
}

/// Measures, and prints a table of figures with their targets.
///
/// # Errors
/// When the emulator's program is not there, a server does not start, or a call fails.
pub async fn run(args: Args, selves: Selves) -> anyhow::Result<()> {
    if args.serve_bare {
        return bare::serve().await;
    }
    if args.rounds == 0 || args.calls == 0 || args.connections == 0 {
        bail!("rounds, calls and connections must be at least 1");
    }
    // The load has threads of its own; this one would only block a worker of the runtime.
    tokio::task::spawn_blocking(move || measure(&args, selves)).await.context("the measurement broke off")?
}

fn measure(args: &Args, selves: Selves) -> anyhow::Result<()> {
    let launcher = Launcher::new(args.emulator.clone(), selves)?;
    let directory = match &args.directory {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    }
    .context("no directory for the databases")?;
    let stores = [Storage::Memory, Storage::Sqlite(directory.path().to_owned())];
    let mut report = Report::new();
    if args.wants(Part::Footprint) {
        footprint::measure(&launcher, &stores, args, &mut report)?;
    }
    if args.wants(Part::Throughput) {
        throughput::measure(&launcher, &stores, args, &mut report)?;
    }
    if args.wants(Part::Size) {
        size::measure(&launcher, &stores, args, &mut report)?;
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{report}")?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    }
    out.flush()?;
    Ok(())
}

/// What goes on, for whoever watches.
fn progress(text: &str) {
    eprintln!("bench: {text}");
}
