//! The app that `up` runs, or waits for: in this process, under Spin, or started by somebody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Uri;
use http::uri::Authority;
use oncebus_core::secret::Secret;
use oncebus_host::{App as HostApp, LogSink, Options, Server, Sqlite};
use oncebus_runtime::platform::native::Native;

use super::env_file::EnvFile;
use super::reach::{identify, wait};
use super::spin::{self, Spin};
use super::variables::Variables;
use super::{env_file, guest_log};

/// How long an app that we started may take until it answers. Spin compiles the components first.
const STARTING: Duration = Duration::from_secs(120);
/// How long we wait for an app that somebody else starts.
const BY_HAND: Duration = Duration::from_secs(300);
/// How long guests may work on when everything stops: they are runs that the pump does not wait for any more.
const ENDING: Duration = Duration::from_secs(5);

/// Where the app runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Under `spin up`, in a process of its own.
    Spin,
    /// In this process, on wasmtime.
    Host,
    /// Elsewhere: its variables are written to `.oncebus/app.env`, and it is waited for.
    None,
}

impl Kind {
    /// Spin where it is installed, else the host.
    pub(super) async fn default() -> Self {
        if spin::is_usable().await { Self::Spin } else { Self::Host }
    }
}

/// `.oncebus/app.env` beside the manifest.
pub(super) fn env_path(manifest: &Path) -> PathBuf {
    manifest.with_file_name(".oncebus").join("app.env")
}

/// What an app is started with.
pub(super) struct Start<'a> {
    pub(super) kind: Kind,
    pub(super) manifest: &'a Path,
    pub(super) listen: SocketAddr,
    pub(super) url: &'a str,
    pub(super) sqlite: Sqlite,
    pub(super) variables: &'a Variables,
    /// One of the variables, by which the app is known again.
    pub(super) run_token: &'a Secret,
}

/// An app that answers.
pub(super) enum App {
    Spin(Spin),
    Host(Server),
    Elsewhere(EnvFile),
}

impl App {
    /// Starts it, and waits until it answers.
    pub(super) async fn start(start: Start<'_>, platform: &Native, say: impl Fn(&str)) -> anyhow::Result<Self> {
        match start.kind {
            Kind::Host => {
                let variables = start.variables.expose().map(|(name, value)| (name.to_owned(), value.to_owned()));
                let options = Options {
                    variables: variables.collect(),
                    sqlite: start.sqlite,
                    log: LogSink::new(|line| guest_log::line(&line.component, &line.text)),
                    ..Options::default()
                };
                let app = HostApp::load(start.manifest, options).await?;
                let server = app.serve(start.listen).await?;
                wait(platform, start.url, STARTING).await?;
                Ok(Self::Host(server))
            }
            Kind::Spin => {
                spin::check().await?;
                let mut spin = Spin::start(start.manifest, &start.listen.to_string(), start.variables)?;
                tokio::select! {
                    answered = wait(platform, start.url, STARTING) => answered?,
                    ended = spin.ended() => bail!("spin ended while it was starting: {}", ended?),
                }
                identify(platform, start.url, start.run_token).await?;
                Ok(Self::Spin(spin))
            }
            Kind::None => {
                let path = env_path(start.manifest);
                let file = env_file::write(&path, start.variables.expose())?;
                say(&format!(
                    "The app's variables are in {0}. Start it with them, for instance:\n\n    set -a; . {0}; set +a; spin up --from {1} --listen {2}\n\nWaiting for {3} …",
                    path.display(),
                    start.manifest.display(),
                    authority(start.url),
                    start.url
                ));
                wait(platform, start.url, BY_HAND).await?;
                identify(platform, start.url, start.run_token).await?;
                Ok(Self::Elsewhere(file))
            }
        }
    }

    /// Returns when it ended by itself, and says how. Never for one that runs elsewhere: the pump says when that is gone.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match self {
            Self::Spin(spin) => match spin.ended().await {
                Ok(status) => anyhow::anyhow!("spin ended: {status}"),
                Err(error) => anyhow::Error::new(error).context("spin is lost"),
            },
            Self::Host(_) | Self::Elsewhere(_) => std::future::pending().await,
        }
    }

    /// Ends it, unless it runs elsewhere.
    pub(super) async fn stop(self) {
        match self {
            Self::Spin(spin) => spin.stop().await,
            Self::Host(server) => {
                if tokio::time::timeout(ENDING, server.shutdown()).await.is_err() {
                    tracing::warn!("requests were still under way");
                }
            }
            Self::Elsewhere(file) => drop(file),
        }
    }
}

fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// The address with a port: the one that is given, or one that is free now. The app must know its own URL before
/// it listens, so the system cannot be left to choose.
pub(super) fn with_port(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    if listen.port() != 0 {
        return Ok(listen);
    }
    let free = TcpListener::bind(listen).and_then(|listener| listener.local_addr());
    free.with_context(|| format!("cannot listen on {}", listen.ip()))
}

/// Reads an address that the app is reached at: scheme and authority, nothing else.
pub(super) fn checked_url(text: &str) -> Result<String, &'static str> {
    let expected = "expected http://HOST:PORT or https://HOST:PORT";
    let uri: Uri = text.parse().map_err(|_| expected)?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or(expected)?;
    let authority = uri.authority().map(Authority::as_str).filter(|text| !text.contains('@')).ok_or(expected)?;
    if uri.path().trim_start_matches('/').is_empty() && uri.query().is_none() && !text.contains('#') {
        Ok(format!("{scheme}://{authority}"))
    } else {
        Err(expected)
    }
}

/// How the app is reached from this machine.
pub(super) fn local_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_one_that_can_be_called() {
        assert_eq!(local_url("127.0.0.1:3000".parse().unwrap()), "http://127.0.0.1:3000");
        assert_eq!(local_url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(local_url("[::]:80".parse().unwrap()), "http://[::1]:80");
    }

    #[test]
    fn an_address_is_scheme_and_authority() {
        assert_eq!(checked_url("http://127.0.0.1:3000/").as_deref(), Ok("http://127.0.0.1:3000"));
        assert_eq!(checked_url("https://app.example").as_deref(), Ok("https://app.example"));
        for wrong in [
            "",
            "127.0.0.1:3000",
            "/",
            "http://",
            "ftp://h",
            "http://h/x",
            "http://h/?x",
            "http://h/#x",
            "http://u:p@h",
        ] {
            assert!(checked_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn port_0_becomes_a_free_one() {
        assert_ne!(with_port("127.0.0.1:0".parse().unwrap()).unwrap().port(), 0);
        let given = "127.0.0.1:3000".parse().unwrap();
        assert_eq!(with_port(given).unwrap(), given);
    }

    #[test]
    fn the_env_file_is_beside_the_manifest() {
        assert_eq!(env_path(Path::new("/a/spin.toml")), Path::new("/a/.oncebus/app.env"));
        assert_eq!(env_path(Path::new("spin.toml")), Path::new(".oncebus/app.env"));
    }
}
