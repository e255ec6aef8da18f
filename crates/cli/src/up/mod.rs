//! `oncebus up`: emulator, app and pump, in the foreground.
//!
//! The emulator stands in for whichever service no connection string was given for. The app runs under Spin, in this
//! process, or elsewhere ([`app`]). Ctrl-C and SIGTERM end all of it in the order in which nothing is lost: the pump
//! begins no more runs and waits for those under way, then the app, then the emulator. A second Ctrl-C waits for
//! nothing.
//!
//! With `--demo` it works on messages of its own, counts, and ends ([`crate::demo`]).

mod app;
mod env_file;
mod guest_log;
mod reach;
mod services;
mod spin;
mod variables;
mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use app::{App, Kind, Start};
use oncebus_core::config::{Config, settings};
use oncebus_core::ingest::access::Access;
use oncebus_host::Sqlite;
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;
use services::{Connections, Emulated};

pub(crate) use services::Services;
pub(crate) use variables::{Document, Secrets, Variables};

use crate::demo::Demo;
use crate::document;
use crate::pump::{self, Pump, Totals, Watch};
use crate::secrets;
use crate::signals::Signals;

/// A shorter one is refused by the queue handler.
const MIN_RUN_TOKEN: usize = 16;
/// How long a run lasts. Stopping waits as long; a poll that waits longer saves next to nothing.
const RUN: Duration = Duration::from_secs(10);
/// The same for the demo, which knows what a run did when it is over. Not shorter: a repeat that comes while its original
/// is in work is looked at again after 0.25 s and 1 s more, and if its run is over before, it comes back after a minute.
const DEMO_RUN: Duration = Duration::from_secs(10);

/// Arguments of `oncebus up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration.
    #[arg(long, value_name = "PATH", env = "ONCEBUS_CONFIG", default_value = "oncebus.toml")]
    config: PathBuf,
    /// The app's manifest.
    #[arg(long, value_name = "PATH", env = "ONCEBUS_MANIFEST", default_value = "spin.toml")]
    manifest: PathBuf,
    #[command(flatten)]
    connections: Connections,
    /// Where the app runs. Default: spin, if Spin 4.0 or newer is on the PATH, else host.
    #[arg(long, value_enum)]
    app: Option<Kind>,
    /// With --app none: where the app is reached. Default: http://127.0.0.1:3000.
    #[arg(long, value_name = "URL", value_parser = app::checked_url)]
    app_url: Option<String>,
    /// Where the app listens. Default: 127.0.0.1:3000; with --demo, any free port.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Keep the emulator's messages and blobs in this SQLite database. Default: in memory.
    #[arg(long, value_name = "PATH")]
    emulator_store: Option<PathBuf>,
    /// Runs to keep going for each queue.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    runs: u16,
    /// Answer GET /metrics here, in the text format of Prometheus.
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// Send 1,000 messages, 100 of them twice, wait until they are processed, count, and end.
    #[arg(long)]
    pub(crate) demo: bool,
    /// With --demo: print one JSON object as the last line of standard output, and everything else on standard error.
    #[arg(long, requires = "demo")]
    json: bool,
    /// With --demo: the order in which messages are sent. Default: drawn, and printed.
    #[arg(long, value_name = "NUMBER", requires = "demo")]
    seed: Option<u64>,
    /// The app's SQLite database. Default: .spin/sqlite_db.db beside the manifest.
    #[arg(long, value_name = "PATH")]
    sqlite: Option<PathBuf>,
}

/// Runs until a signal, until the demo is over, or until something ends that should not.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut up = tokio::select! {
        started = Up::start(&args) => started?,
        () = signals.next() => bail!("interrupted"),
    };
    let result = if args.demo {
        let demo = up.demo(&args);
        tokio::select! {
            worked = demo.work(|text| say(&args, text)) => worked.map(Some),
            ended = up.app.ended() => Err(ended),
            () = signals.next() => Err(anyhow::anyhow!("interrupted")),
        }
    } else {
        up.introduce(&args);
        tokio::select! {
            ended = up.app.ended() => Err(ended),
            () = signals.next() => Ok(None),
        }
    };
    tracing::info!("stopping: runs under way may take up to {} s; Ctrl-C ends them now", up.options.length.as_secs());
    let totals = tokio::select! {
        totals = up.stop() => totals,
        () = signals.next() => return result.and_then(|_| bail!("stopped while runs were under way")),
    };
    match result? {
        Some(worked) => worked.report(&totals, args.json),
        None => Ok(()),
    }
}

/// Everything that runs.
struct Up {
    // In the order in which dropping ends them.
    pump: Pump,
    app: App,
    emulated: Option<Emulated>,
    options: pump::Options,
    config: Config,
    kind: Kind,
    secrets: Secrets,
    platform: Native,
}

impl Up {
    async fn start(args: &Args) -> anyhow::Result<Self> {
        if args.app == Some(Kind::None) {
            env_file::remove(&app::env_path(&args.manifest))?;
        }
        let platform = Native::new()?;
        let kind = match args.app {
            Some(kind) => kind,
            None => Kind::default().await,
        };
        check(args, kind)?;
        let document = document::read(&args.config)?;
        let document = Document::parse(&document, args.demo).with_context(|| args.config.display().to_string())?;
        let secrets = choose_secrets(args, &platform, &document.config)?;
        let (services, emulated) = args.connections.resolve(&document.config, args.emulator_store.clone()).await?;
        services.provide_container(&platform, &document.config.container).await?;

        let (listen, url) = place(args, kind)?;
        let public_url = document.public_url(&url, args.demo);
        let variables = Variables::new(&document, public_url, &services, &secrets, platform.wall());
        let sqlite = args.sqlite.clone().map_or(Sqlite::Default, Sqlite::File);
        let (manifest, run_token) = (&args.manifest, &secrets.run_token);
        let start = Start { kind, manifest, listen, url: &url, sqlite, variables: &variables, run_token };
        let app = App::start(start, &platform, |text| say(args, text)).await?;

        let queues: Vec<String> = document.config.queues.keys().cloned().collect();
        let watched = !document.config.routing.watched().is_empty();
        let options = pump::Options {
            app_url: url,
            token: secrets.run_token.clone(),
            lanes: pump::lanes_of(&document.config, &queues),
            queues,
            runs: usize::from(args.runs),
            length: if args.demo { DEMO_RUN } else { RUN },
            batch: None,
            metrics: args.metrics_listen,
            // A credential without the right Manage is said once, and then the backlog is how long messages waited.
            watch: watched
                .then(|| Watch::new(&document.config, services.storage.clone(), Some(services.listen.clone()))),
        };
        let pump = Pump::start(&options)?;
        Ok(Self { pump, app, emulated, options, config: document.config, kind, secrets, platform })
    }

    /// What was started, and something to try.
    fn introduce(&self, args: &Args) {
        let app = match self.kind {
            Kind::Spin => "app, under Spin",
            Kind::Host => "app",
            Kind::None => "app, elsewhere",
        };
        let emulated = self.emulated.iter().flat_map(Emulated::addresses);
        let metrics = self.pump.metrics_url().map(|url| ("metrics", url));
        let mut lines: Vec<String> = std::iter::once((app, self.options.app_url.clone()))
            .chain(emulated)
            .chain(metrics)
            .chain(webhooks::places(&self.config, &self.secrets.webhooks, &self.options.app_url))
            .map(|(name, address)| format!("  {name:<22} {address}"))
            .collect();
        if self.config.access == Access::Open {
            lines.push("\nACCESS IS OPEN: whoever reaches the app may send, and ask about every message. [access] in oncebus.toml changes that.".to_owned());
        }
        if let Some(queue) = self.config.queues.keys().next() {
            let url = &self.options.app_url;
            lines.push("\nTry:\n".to_owned());
            lines.push(format!(
                "  curl -i {url}/queues/{queue}/messages -H 'Idempotency-Key: first' -H 'Content-Type: application/json' -d '{{\"hello\":\"world\"}}'"
            ));
            lines.push(format!("  curl {url}/queues/{queue}/messages/first"));
        }
        say(args, &format!("\n{}\n\nCtrl-C stops everything.\n", lines.join("\n")));
    }

    fn demo(&self, args: &Args) -> Demo {
        Demo {
            platform: self.platform.clone(),
            app_url: self.options.app_url.clone(),
            config: self.config.clone(),
            twilio_auth_token: self.secrets.webhooks.get(settings::TWILIO_AUTH_TOKEN.key).cloned(),
            sqlite: args.sqlite.clone().unwrap_or_else(|| args.manifest.with_file_name(".spin").join("sqlite_db.db")),
            totals: self.pump.totals(),
            seed: args.seed,
        }
    }

    async fn stop(self) -> Totals {
        let totals = self.pump.stop().await;
        self.app.stop().await;
        if let Some(emulated) = self.emulated {
            emulated.stop().await;
        }
        totals
    }
}

/// Arguments that exclude each other in ways that clap cannot see.
fn check(args: &Args, kind: Kind) -> anyhow::Result<()> {
    let elsewhere = kind == Kind::None;
    ensure!(elsewhere || args.app_url.is_none(), "--app-url is for --app none; --listen says where the app listens");
    ensure!(!elsewhere || args.listen.is_none(), "with --app none the app chooses where it listens: say --app-url");
    ensure!(
        kind == Kind::Host || args.sqlite.is_none() || args.demo,
        "--sqlite is for --app host, and for --demo to count in: Spin chooses by itself"
    );
    Ok(())
}

/// Where the app listens and how it is reached.
fn place(args: &Args, kind: Kind) -> anyhow::Result<(SocketAddr, String)> {
    let default_port = if args.demo { 0 } else { 3_000 };
    let listen = args.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], default_port)));
    if kind == Kind::None {
        let url = args.app_url.clone().unwrap_or_else(|| "http://127.0.0.1:3000".to_owned());
        return Ok((listen, url));
    }
    let listen = app::with_port(listen)?;
    Ok((listen, app::local_url(listen)))
}

/// From the environment where it has them. A Twilio token is made up for the demo alone: a made-up one would refuse the real
/// Twilio with a puzzling reason.
fn choose_secrets(args: &Args, platform: &Native, config: &Config) -> anyhow::Result<Secrets> {
    let run_token = secrets::from_environment(secrets::RUN_TOKEN);
    if let Some(token) = &run_token {
        ensure!(
            token.expose().len() >= MIN_RUN_TOKEN && token.expose().bytes().all(|byte| byte.is_ascii_graphic()),
            "{} must have at least {MIN_RUN_TOKEN} characters, visible ASCII ones",
            secrets::RUN_TOKEN
        );
    }
    let mut webhooks = webhooks::secrets(config, secrets::from_environment);
    if args.demo {
        let twilio = settings::TWILIO_AUTH_TOKEN.key.to_owned();
        webhooks.entry(twilio).or_insert_with(|| secrets::random(platform));
    }
    Ok(Secrets {
        run_token: run_token.unwrap_or_else(|| secrets::random(platform)),
        webhooks,
        access: secrets::from_environment(secrets::ACCESS_SECRET),
    })
}

/// For people: on standard output, unless that is for a machine.
fn say(args: &Args, text: &str) {
    if args.json {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}
