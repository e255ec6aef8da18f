//! What the commands of an operator share: configuration and credentials, lengths of time, progress, output.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Span, SpanRelativeTo};
use oncebus_azure::connection::{ConnectionStringError, ServiceBusConnection, StorageConnection};
use oncebus_core::config::{Config, QueueConfig};
use oncebus_core::secret::Secret;
use oncebus_runtime::failure::Failure;

use crate::document;

/// How long one question may take, retries included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigArgs {
    /// The configuration.
    #[arg(long, value_name = "PATH", env = "ONCEBUS_CONFIG", default_value = "oncebus.toml")]
    pub(crate) config: PathBuf,
}

impl ConfigArgs {
    pub(crate) fn read(&self) -> anyhow::Result<Config> {
        Config::parse(&document::read(&self.config)?).with_context(|| self.config.display().to_string())
    }
}

/// A queue of the configuration.
pub(crate) fn queue<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a QueueConfig> {
    config.queue(name).ok_or_else(|| {
        let known: Vec<&str> = config.queues.keys().map(String::as_str).collect();
        anyhow!("the configuration has no queue {name:?}; it has {}", known.join(", "))
    })
}

/// The storage's credential.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StorageArgs {
    /// Storage connection string.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_STORAGE", hide_env_values = true)]
    pub(crate) storage: Option<Secret>,
}

impl StorageArgs {
    pub(crate) fn connection(&self) -> anyhow::Result<StorageConnection> {
        parse(self.storage.as_ref(), StorageConnection::parse, "--storage", "ONCEBUS_STORAGE")
    }
}

/// The broker's credentials.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServiceBusArgs {
    /// Service Bus connection string.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS", hide_env_values = true)]
    pub(crate) servicebus: Option<Secret>,
    /// Another one for sending.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS_SEND", hide_env_values = true)]
    pub(crate) servicebus_send: Option<Secret>,
    /// Another one for receiving.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS_LISTEN", hide_env_values = true)]
    pub(crate) servicebus_listen: Option<Secret>,
}

impl ServiceBusArgs {
    pub(crate) fn listen(&self) -> anyhow::Result<ServiceBusConnection> {
        self.one(self.servicebus_listen.as_ref())
    }

    pub(crate) fn send(&self) -> anyhow::Result<ServiceBusConnection> {
        self.one(self.servicebus_send.as_ref())
    }

    fn one(&self, other: Option<&Secret>) -> anyhow::Result<ServiceBusConnection> {
        let text = other.or(self.servicebus.as_ref());
        parse(text, ServiceBusConnection::parse, "--servicebus", "ONCEBUS_SERVICEBUS")
    }
}

fn parse<T>(
    text: Option<&Secret>,
    parse: impl FnOnce(&str) -> Result<T, ConnectionStringError>,
    argument: &str,
    variable: &str,
) -> anyhow::Result<T> {
    let text = text.filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| anyhow!("no connection string: give {argument}, or {variable} in the environment"))?;
    parse(text.expose()).with_context(|| format!("the connection string of {argument} cannot be used"))
}

/// A failure as an error; where a credential was refused, with the right that was missing or wrong.
pub(crate) fn failed(failure: &Failure, doing: &str, right: &str) -> anyhow::Error {
    match failure {
        Failure::Denied(_) => anyhow!("{doing}: {failure}. This needs the right {right}"),
        _ => anyhow!("{doing}: {failure}"),
    }
}

/// How a command goes about its work that changes many things.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BulkArgs {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many are under way at once.
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
    /// Print JSON: objects on lines, the last of them for the sum.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A length of time as people write it: `14d`, `36h`, `1d12h`, `90s`. A day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a length of time such as 14d, 36h, 90min or 30s, found {text:?}");
    let span: Span = text.trim().parse().map_err(|_| expected())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?;
    Duration::try_from(signed).map_err(|_| expected())
}

/// A count with its rate, on a terminal; nothing elsewhere.
pub(crate) fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{spinner} {pos} {per_sec} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Where results go: line by line, so that what reads them sees each at once.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// What was printed, in tests.
    #[cfg(test)]
    pub(crate) lines: std::cell::RefCell<Vec<String>>,
}

impl Out {
    /// Prints a line.
    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        #[cfg(test)]
        self.lines.borrow_mut().push(line.to_owned());
        if cfg!(test) {
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{line}")
    }
}

/// A reader that has seen enough (`| head`) is no failure.
pub(crate) fn unless_pipe_closed(result: anyhow::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Text from outside on one line of a terminal.
pub(crate) fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_written_as_people_do() {
        for (text, seconds) in
            [("14d", 1_209_600), ("36h", 129_600), ("1d 12h", 129_600), ("90s", 90), ("2w", 1_209_600), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "14", "d", "-3d", "1mo", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refused_credential_names_the_right() {
        let denied = failed(&Failure::Denied("status 403".into()), "cannot list", "List (l)");
        assert_eq!(
            denied.to_string(),
            "cannot list: the credential was refused: status 403. This needs the right List (l)"
        );
        assert_eq!(failed(&Failure::LockLost, "cannot list", "l").to_string(), "cannot list: the lock is lost");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(unless_pipe_closed(Err(closed.into())).is_ok());
        assert!(unless_pipe_closed(Err(anyhow!("else"))).is_err());
    }
}
