//! Servers as processes: started, asked for their address, looked at through `/proc`, killed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::Selves;

/// Where an emulator keeps its messages.
#[derive(Debug, Clone)]
pub(super) enum Storage {
    Memory,
    /// In a new database in this directory.
    Sqlite(PathBuf),
}

impl Storage {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite(_) => "SQLite",
        }
    }

    pub(super) fn is_durable(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

/// Starts servers.
#[derive(Debug)]
pub(super) struct Launcher {
    emulator: Program,
    bare: Program,
}

/// A program, and what comes before its other arguments.
#[derive(Debug)]
struct Program(PathBuf, &'static [&'static str]);

impl Program {
    fn command(&self) -> Command {
        let Self(path, arguments) = self;
        let mut command = Command::new(path);
        command.args(*arguments);
        command
    }
}

/// A server that answers. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    /// From the start of the process to its `ready`.
    pub(super) ready_after: Duration,
}

impl Launcher {
    pub(super) fn new(emulator: Option<PathBuf>, selves: Selves) -> anyhow::Result<Self> {
        let this = std::env::current_exe().context("this program does not know where it is")?;
        let emulator = match (emulator, selves.emulator) {
            (Some(path), _) => Program(path, &[]),
            (None, Some(arguments)) => Program(this.clone(), arguments),
            (None, None) => Program(beside(&this)?, &[]),
        };
        Ok(Self { emulator, bare: Program(this, selves.bench) })
    }

    /// Starts an emulator with these queues, and nothing in them.
    pub(super) fn emulator(&self, storage: &Storage, queues: &[&str]) -> anyhow::Result<Server> {
        let mut command = self.emulator.command();
        for queue in queues {
            command.args(["--queue", queue]);
        }
        if let Storage::Sqlite(directory) = storage {
            let database = tempfile::Builder::new().prefix("emulator-").tempdir_in(directory)?.keep().join("store.db");
            command.arg("--store").arg(database);
        }
        Server::start(command).context("the emulator did not start")
    }

    /// Starts the bare route.
    pub(super) fn bare(&self) -> anyhow::Result<Server> {
        let mut command = self.bare.command();
        command.arg("--serve-bare");
        Server::start(command).context("the bare route did not start")
    }
}

/// The emulator's program in this one's directory, or in the one above: that is where Cargo puts
/// programs, and examples one below.
fn beside(this: &Path) -> anyhow::Result<PathBuf> {
    let name = format!("oncebus-emulator{}", std::env::consts::EXE_SUFFIX);
    let mut paths = this.ancestors().skip(1).take(2).map(|directory| directory.join(&name));
    paths.find(|path| path.is_file()).context(
        "there is no oncebus-emulator beside this program; build it in the same profile, or say where it is with \
         --emulator",
    )
}

impl Server {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let out = child.stdout.take();
        // From here on the child is killed whatever happens.
        let mut server = Self { child, address: SocketAddr::from(([0; 4], 0)), ready_after: Duration::ZERO };
        for line in BufReader::new(out.context("no standard output")?).lines() {
            let line = line?;
            if let Some(address) = line.strip_prefix("service-bus=http://") {
                server.address = address.parse().with_context(|| format!("not an address: {address}"))?;
            } else if line == "ready" {
                server.ready_after = started.elapsed();
                return Ok(server);
            }
        }
        bail!("it ended without being ready")
    }

    /// Memory that it holds at present, in bytes.
    pub(super) fn resident_bytes(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }

    /// Processor time that it has used so far. Its resolution is 10 ms.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        /// What the kernel shows to programs is always in hundredths of a second.
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The second field, the name in brackets, may hold blanks; utime and stime are the 14th and 15th.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let user: u32 = fields.next()?.parse().ok()?;
        let system: u32 = fields.next()?.parse().ok()?;
        Some(TICK * user.saturating_add(system))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
