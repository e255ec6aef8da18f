//! `oncebus pump`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use oncebus_core::config::Config;
use oncebus_core::secret::Secret;
use serde_json::json;

use super::{Options, Pump};
use crate::document;
use crate::secrets;
use crate::signals::Signals;

/// In the log, this speaks as the pump that it runs.
const SPEAKER: &str = "oncebus::pump";

/// Arguments of `oncebus pump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the app is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    app_url: String,
    /// A file with the run token, as a platform mounts secrets.
    ///
    /// Without it, the token is taken from ONCEBUS_RUN_TOKEN in the environment; a command line would show it to everybody.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// A queue; repeatable. Without it, all queues of the configuration.
    #[arg(long = "queue", value_name = "NAME", value_parser = queue_name)]
    queues: Vec<String>,
    /// The configuration that names the queues.
    #[arg(long, value_name = "PATH", env = "ONCEBUS_CONFIG", default_value = "oncebus.toml")]
    config: PathBuf,
    /// Runs to keep going for each queue.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    runs: u16,
    /// How long a run lasts, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// The most messages for one call of the processor; without it, the queue's own setting.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=256))]
    batch: Option<u64>,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let token = match &args.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Secret::new(text.trim())
        }
        None => secrets::from_environment(secrets::RUN_TOKEN)
            .context("no run token: give --token-file, or ONCEBUS_RUN_TOKEN in the environment")?,
    };
    let queues = if args.queues.is_empty() { configured(&args.config)? } else { args.queues };
    let options = Options {
        app_url: args.app_url,
        token,
        queues,
        runs: usize::from(args.runs),
        length: Duration::from_secs(args.seconds),
        batch: args.batch,
    };
    let pump = Pump::start(&options)?;
    tracing::info!(target: SPEAKER, "{} runs for each of {} at {}", options.runs, options.queues.join(", "), options.app_url);
    signals.next().await;
    tracing::info!(target: SPEAKER, "stopping: runs under way may take up to {} s; once more stops at once", args.seconds);
    tokio::select! {
        totals = pump.stop() => {
            tracing::info!(
                target: SPEAKER,
                "{} runs received {} messages: {} done, {} duplicates",
                totals.runs, totals.received, totals.done, totals.duplicate
            );
            Ok(())
        }
        () = signals.next() => bail!("stopped while runs were under way"),
    }
}

fn configured(path: &Path) -> anyhow::Result<Vec<String>> {
    let document = document::read(path).context("--queue names queues without a configuration")?;
    let config = Config::parse(&document).with_context(|| path.display().to_string())?;
    Ok(config.queues.into_keys().collect())
}

/// A name that a configuration could have: it becomes part of a path.
fn queue_name(name: &str) -> Result<String, String> {
    let document = json!({ "queues": { name: {} } });
    match Config::parse(&document.to_string()) {
        Ok(_) => Ok(name.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_a_name_that_a_configuration_could_have() {
        assert_eq!(queue_name("orders.high-1").as_deref(), Ok("orders.high-1"));
        for wrong in ["", "a/b", "a b", "a?seconds=1", ".a", "\""] {
            assert!(queue_name(wrong).is_err(), "{wrong}");
        }
    }
}
