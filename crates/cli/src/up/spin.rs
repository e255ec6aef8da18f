//! `spin up` as a child process.

use std::fmt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::guest_log;
use super::variables::Variables;

/// The first Spin that reads our manifest: earlier ones refuse `inherit_configuration` of a single dependency.
const OLDEST: Version = Version { major: 4, minor: 0 };
/// How long Spin may take to end after SIGTERM. It drops requests in flight at once, so this is long.
const ENDING: Duration = Duration::from_secs(5);

/// A version of Spin, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Whether a Spin that is new enough is on the PATH.
pub(super) async fn is_usable() -> bool {
    match installed().await {
        Some(found) if found >= OLDEST => true,
        Some(found) => {
            tracing::warn!("Spin {found} is too old for this spin.toml, which needs {OLDEST}: using the host instead");
            false
        }
        None => false,
    }
}

/// Refuses a Spin that is too old, in clearer words than it would itself.
pub(super) async fn check() -> anyhow::Result<()> {
    match installed().await {
        Some(found) if found < OLDEST => {
            bail!("Spin {found} is too old for this spin.toml, which needs {OLDEST}; --app host needs no Spin")
        }
        // A Spin that says something else of its version may be one that somebody built: it has its try.
        Some(_) | None => Ok(()),
    }
}

/// The version of the Spin on the PATH, if there is one.
async fn installed() -> Option<Version> {
    let output = Command::new("spin").arg("--version").stdin(Stdio::null()).output().await.ok()?;
    version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `spin 4.1.0 (2bf4c4b 2026-08-21)`. Other programs are called `spin` too: they say other things.
fn version(output: &str) -> Option<Version> {
    let number = output.trim().strip_prefix("spin ")?.split_whitespace().next()?;
    let mut parts = number.trim_start_matches('v').split(['.', '-']);
    let mut next = || parts.next()?.parse().ok();
    Some(Version { major: next()?, minor: next()? })
}

/// A running `spin up`. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Spin {
    child: Child,
}

impl Spin {
    /// Starts the app. Values of variables travel in the environment, which other users cannot see, unlike a command line.
    pub(super) fn start(manifest: &Path, listen: &str, variables: &Variables) -> anyhow::Result<Self> {
        let mut command = Command::new("spin");
        command.arg("up").arg("--from").arg(manifest).args(["--listen", listen]);
        for (name, value) in variables.expose() {
            command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A group of its own: a Ctrl-C in the terminal is for us alone, who stop the pump first.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().context("cannot start spin")?;
        follow(child.stdout.take());
        follow(child.stderr.take());
        Ok(Self { child })
    }

    /// Waits until it ends by itself, which it should not.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it.
    pub(super) async fn stop(mut self) {
        self.signal(Signal::Terminate);
        if tokio::time::timeout(ENDING, self.child.wait()).await.is_err() {
            tracing::warn!("spin did not end within {} s and is killed", ENDING.as_secs());
        }
    }

    /// To the whole group: `spin up` runs the app in a process of its own, which a signal to the parent alone may leave behind.
    #[cfg(unix)]
    fn signal(&self, signal: Signal) {
        use rustix::process::{Pid, Signal as Number, kill_process_group};
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let number = match signal {
            Signal::Terminate => Number::TERM,
            Signal::Kill => Number::KILL,
        };
        if let Some(id) = id {
            // An error means that it is gone already.
            let _ = kill_process_group(id, number);
        }
    }

    #[cfg(not(unix))]
    fn signal(&self, _: Signal) {}
}

impl Drop for Spin {
    fn drop(&mut self) {
        self.signal(Signal::Kill);
    }
}

#[derive(Debug, Clone, Copy)]
enum Signal {
    Terminate,
    Kill,
}

/// What it prints becomes log lines.
fn follow(stream: Option<impl AsyncRead + Unpin + Send + 'static>) {
    let Some(stream) = stream else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            guest_log::line("spin", &line);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let read = |text| version(text).map(|found| (found.major, found.minor));
        assert_eq!(read("spin 4.1.0 (2bf4c4b 2026-08-21)\n"), Some((4, 1)));
        assert_eq!(read("spin 4.1.0-pre0 (2bf4c4b 2026-08-21)"), Some((4, 1)));
        assert_eq!(read("spin 3.0.0"), Some((3, 0)));
        assert!(version("spin 10.0.1").unwrap() >= OLDEST);
        assert!(version("spin 4.0.0").unwrap() >= OLDEST);
        assert!(version("spin 3.6.2").unwrap() < OLDEST);
        assert_eq!(OLDEST.to_string(), "4.0");
        for other in ["", "Spin Version 6.5.2 -- 6 December 2019", "spin", "spin next", "spin 3"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
