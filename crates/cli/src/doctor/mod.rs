//! `oncebus doctor`: does everything that the app needs exist, and may it do what it has to?
//!
//! It connects to both services with the credentials that the components will have, tries each right without harm
//! ([`storage`], [`queues`]), makes the container and the queues that are missing where a right allows it, and says for the
//! rest what to do. One line per check: `ok`, `warn` or `FAIL`, a name, a sentence. Status 1 when something fails.
//!
//! What it leaves behind: one empty blob, `doctor/probe`, that the next doctor uses again (a credential that may not delete
//! cannot take it away). It takes no message, sends none, and prints no secret.

pub(crate) mod management;
mod queues;
mod report;
mod storage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::ArgAction;
use http::{Request, Response};
use oncebus_azure::connection::{ConnectionStringError, ServiceBusConnection, StorageConnection};
use oncebus_core::config::Config;
use oncebus_core::ingest::access::Access;
use oncebus_core::secret::Secret;
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;

use crate::document;
use queues::Namespace;
use report::Report;
use storage::Container;

/// How long one question may take, retries included.
const PATIENCE: Duration = Duration::from_secs(15);

/// Arguments of `oncebus doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration.
    #[arg(long, value_name = "PATH", env = "ONCEBUS_CONFIG", default_value = "oncebus.toml")]
    config: PathBuf,
    /// Service Bus connection string. With the right Manage it also reads settings and makes queues.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS", hide_env_values = true)]
    servicebus: Option<Secret>,
    /// Another one for sending.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS_SEND", hide_env_values = true)]
    servicebus_send: Option<Secret>,
    /// Another one for receiving.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_SERVICEBUS_LISTEN", hide_env_values = true)]
    servicebus_listen: Option<Secret>,
    /// Storage connection string.
    #[arg(long, value_name = "CONNECTION", env = "ONCEBUS_STORAGE", hide_env_values = true)]
    storage: Option<Secret>,
    /// Make what is missing, where the rights allow it. With --create=false, only look.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    create: bool,
}

/// Checks everything, and fails when a check did.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let config = read_config(&args.config)?;
    let mut report = Report::new(|check| println!("{check}"));
    examine(&args, &config, &mut report).await?;
    match report.failures() {
        0 => Ok(()),
        1 => bail!("1 of {} checks failed", report.checks().len()),
        failed => bail!("{failed} of {} checks failed", report.checks().len()),
    }
}

fn read_config(path: &Path) -> anyhow::Result<Config> {
    Config::parse(&document::read(path)?).with_context(|| path.display().to_string())
}

async fn examine(args: &Args, config: &Config, report: &mut Report) -> anyhow::Result<()> {
    say_who_may_send(&config.access, report);
    let platform = Native::new().context("cannot set up HTTP")?;
    match parse(args.storage.as_ref(), StorageConnection::parse) {
        Ok(Some(connection)) => {
            let container = Container {
                platform: &platform,
                connection: &connection,
                name: &config.container,
                create: args.create,
            };
            container.check(report).await;
        }
        Ok(None) => report.fail("storage", "not checked: give --storage, or ONCEBUS_STORAGE in the environment"),
        Err(error) => report.fail("storage", format!("the connection string cannot be used: {error}")),
    }

    let both = args.servicebus.as_ref();
    let connections = [
        ("service bus, receiving", args.servicebus_listen.as_ref().or(both)),
        ("service bus, sending", args.servicebus_send.as_ref().or(both)),
        ("service bus, managing", both.or(args.servicebus_listen.as_ref())),
    ];
    let [listen, send, manage] = connections.map(|(name, text)| (name, parse(text, ServiceBusConnection::parse)));
    if let ((_, Ok(Some(listen))), (_, Ok(Some(send))), (_, Ok(Some(manage)))) = (&listen, &send, &manage) {
        let namespace = Namespace { platform: &platform, listen, send, manage, create: args.create };
        namespace.check(config, report).await;
        return Ok(());
    }
    for (name, connection) in [listen, send] {
        match connection {
            Ok(Some(_)) => {}
            Ok(None) => report.fail(name, "not checked: give --servicebus, or ONCEBUS_SERVICEBUS in the environment"),
            Err(error) => report.fail(name, format!("the connection string cannot be used: {error}")),
        }
    }
    Ok(())
}

fn say_who_may_send(access: &Access, report: &mut Report) {
    let names = |names: Vec<&str>| names.join(", ");
    match access {
        Access::Open => report.warn(
            "access",
            "open: whoever reaches ingest may send, and ask about every message. Say mode = \"keys\" in [access]; \
             oncebus access new-key makes one",
        ),
        Access::Keys(keys) => {
            let keys = names(keys.iter().map(|key| key.grant.name.as_str()).collect());
            report.ok("access", format!("by the keys of {keys}"));
        }
        Access::Signatures(policy) => {
            let signers = names(policy.signers.iter().map(|signer| signer.grant.name.as_str()).collect());
            report.ok("access", format!("by the signatures of {signers}"));
        }
    }
}

fn parse<T>(
    text: Option<&Secret>,
    parse: impl FnOnce(&str) -> Result<T, ConnectionStringError>,
) -> Result<Option<T>, ConnectionStringError> {
    text.filter(|text| !text.is_empty()).map(|text| parse(text.expose())).transpose()
}

/// Asks one question. Every question of a doctor may be asked twice.
async fn ask(platform: &Native, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
    let deadline = platform.now().plus(PATIENCE);
    let bounds = Bounds { repeat: Repeat::Always, each: PATIENCE, deadline, wait_when_throttled: true };
    Ok(call(platform, request, bounds).await.result?)
}

#[cfg(test)]
mod tests;
