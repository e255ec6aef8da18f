//! `oncebus pump`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_core::config::Config;
use oncebus_core::secret::Secret;
use serde_json::json;

use super::{Options, Pump, Watch, lanes_of};
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
    /// Answer GET /metrics here, in the text format of Prometheus.
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// Storage connection string, to write the backlog for routes that go by the shortest; read and write will do.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_STORAGE", hide_env_values = true)]
    storage: Option<Secret>,
    /// Service Bus connection string with the right Manage, to count messages for the backlog.
    ///
    /// Without it the backlog is how long messages waited.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS", hide_env_values = true)]
    servicebus: Option<Secret>,
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
    let config = configured(&args)?;
    let watch = config.as_ref().map(|config| watch(&args, config)).transpose()?.flatten();
    let queues = match &config {
        Some(config) if args.queues.is_empty() => config.queues.keys().cloned().collect(),
        _ => args.queues,
    };
    let options = Options {
        app_url: args.app_url,
        token,
        lanes: config.as_ref().map(|config| lanes_of(config, &queues)).unwrap_or_default(),
        queues,
        runs: usize::from(args.runs),
        length: Duration::from_secs(args.seconds),
        batch: args.batch,
        metrics: args.metrics_listen,
        watch,
    };
    let pump = Pump::start(&options)?;
    if let Some(url) = pump.metrics_url() {
        tracing::info!(target: SPEAKER, "metrics at {url}");
    }
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

/// The configuration. With queues given by name it may be missing; then there are neither lanes nor a backlog.
fn configured(args: &Args) -> anyhow::Result<Option<Config>> {
    let path = &args.config;
    if !args.queues.is_empty() && !path.exists() {
        return Ok(None);
    }
    let document = document::read(path).context("--queue names queues without a configuration")?;
    Config::parse(&document).map(Some).with_context(|| path.display().to_string())
}

/// The backlog to write, if some route goes by it and there is a place for it.
fn watch(args: &Args, config: &Config) -> anyhow::Result<Option<Watch>> {
    let queues: Vec<String> = config.routing.watched().into_iter().map(str::to_owned).collect();
    if queues.is_empty() {
        return Ok(None);
    }
    let given = |text: &Option<Secret>| text.clone().filter(|text| !text.is_empty());
    let Some(storage) = given(&args.storage) else {
        tracing::warn!(target: SPEAKER, "routes go by the shortest backlog, and without --storage nobody writes it: they go by weight");
        return Ok(None);
    };
    let storage = StorageConnection::parse(storage.expose()).context("the connection string of --storage")?;
    let manage = given(&args.servicebus).map(|text| ServiceBusConnection::parse(text.expose()));
    let manage = manage.transpose().context("the connection string of --servicebus")?;
    Ok(Some(Watch::new(config, storage, manage)))
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
