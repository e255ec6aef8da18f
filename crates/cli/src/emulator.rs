//! `oncebus emulator`: the emulator alone, for whoever has something else to run against it.

use oncebus_emulator::program;

/// Arguments of `oncebus emulator`: those of the emulator's own program.
pub(crate) type Args = program::Arguments;

/// Runs until a signal.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    Ok(program::run(args).await?)
}
