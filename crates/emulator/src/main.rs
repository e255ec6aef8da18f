//! `oncebus-emulator`: the emulator as a program of its own.

use clap::Parser;
use oncebus_emulator::program::{Arguments, run};
use tracing_subscriber::EnvFilter;

/// Much of what a call costs is memory that is taken and given back, by whichever thread has it then.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Azure Service Bus over REST, and Blob Storage, in one process.
///
/// Prints the addresses, one per line, and then `ready`.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // Standard output is for the addresses.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(run(CommandLine::parse().arguments).await?)
}
