//! The emulator as a program, for whoever gives it a command line: `oncebus-emulator`, and `oncebus emulator`.
//!
//! [`run`] starts what [`Arguments`] say, prints on standard output where everything is — names and values, one to a
//! line, and then `ready` — and ends with Ctrl-C or SIGTERM. Logs are the caller's affair, and so is the allocator.

mod arguments;

use std::io::Write as _;
use std::path::{Path, PathBuf};

pub use arguments::{ArgumentError, Arguments};

use crate::emulator::{Emulator, StartError};

/// Why the program ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It was told what cannot be.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// It did not start.
    #[error("the emulator did not start")]
    Start(#[from] StartError),
    /// There is a file where the authority was to be written, and it was not written here.
    #[error("{} is there and is not ours", .0.display())]
    NotOurs(PathBuf),
    /// The authority to trust cannot be written.
    #[error("cannot write {}", path.display())]
    Authority {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Standard output is closed.
    #[error("nobody reads the addresses")]
    Announce(#[source] std::io::Error),
    /// The end cannot be waited for.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

/// Runs an emulator until a signal ends it.
///
/// # Errors
/// When it does not come to `ready`.
pub async fn run(arguments: Arguments) -> Result<(), ProgramError> {
    let mut ended = Signals::new().map_err(ProgramError::Signals)?;
    let authority = arguments.authority_file().to_owned();
    let options = arguments.options()?;
    if options.accept_bearer {
        tracing::warn!("--accept-bearer: whoever sends any bearer token may do everything");
    }
    let emulator = Emulator::start(options).await?;
    if let Some(pem) = emulator.authority() {
        write_authority(&authority, pem)?;
    }
    announce(&emulator, &authority).map_err(ProgramError::Announce)?;
    ended.next().await;
    emulator.shutdown().await;
    Ok(())
}

/// Writes the authority to trust, over that of an earlier start and over nothing else.
fn write_authority(path: &Path, pem: &str) -> Result<(), ProgramError> {
    const MARK: &str = "# The authority of one start of oncebus-emulator; its key is gone.\n";
    let failed = |source| ProgramError::Authority { path: path.to_owned(), source };
    match std::fs::read(path) {
        Ok(old) if !old.starts_with(MARK.as_bytes()) => return Err(ProgramError::NotOurs(path.to_owned())),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(_) | Err(_) => {}
    }
    std::fs::write(path, format!("{MARK}{pem}")).map_err(failed)
}

fn announce(emulator: &Emulator, authority: &Path) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "service-bus={}", emulator.service_bus_url())?;
    writeln!(out, "blob={}", emulator.blob_url())?;
    writeln!(out, "admin={}", emulator.admin_url())?;
    writeln!(out, "service-bus-connection={}", emulator.service_bus_connection_string())?;
    writeln!(out, "storage-connection={}", emulator.storage_connection_string())?;
    if let (Some(service_bus), Some(blob)) = (emulator.service_bus_tls_url(), emulator.blob_tls_url()) {
        writeln!(out, "service-bus-tls={service_bus}")?;
        writeln!(out, "blob-tls={blob}")?;
    }
    if emulator.authority().is_some() {
        writeln!(out, "authority={}", authority.display())?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

/// Ctrl-C and, where there is one, SIGTERM.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
