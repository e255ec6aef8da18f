//! `oncebus bench emulator` without the rest of the command line, which takes much longer to build:
//!
//! ```sh
//! cargo build --release --package oncebus-emulator --bin oncebus-emulator
//! cargo run --release --package oncebus-bench --example emulator
//! ```

use clap::Parser;
use oncebus_bench::emulator::{Args, Selves, run};

/// The emulator's: the bare route has the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct CommandLine {
    #[command(flatten)]
    args: Args,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    run(CommandLine::parse().args, Selves::default()).await
}
