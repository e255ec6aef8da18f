//! `oncebus bench`: measurements, printed as ratios. Everything is in `oncebus-bench`; this only names it.

use oncebus_bench::emulator;

/// Arguments of `oncebus bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How fast and how large the emulator is, in comparison with a route that does nothing.
    Emulator(emulator::Args),
}

const SELVES: emulator::Selves = emulator::Selves { bench: &["bench", "emulator"], emulator: Some(&["emulator"]) };

/// Measures and prints.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        What::Emulator(args) => emulator::run(args, SELVES).await,
    }
}
