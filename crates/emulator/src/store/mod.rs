//! Durability: the rows that operations leave behind, written before the operations are answered.
//!
//! The machines live in memory; a store only makes them survive. Each operation hands its rows to the
//! [`Journal`] while it still holds its machine, so that rows reach the disk in the order in which
//! things happened, and answers when its [`Ticket`] says that they are there. One thread writes: what
//! has gathered while it was committing goes into the next transaction together.
//!
//! An answer that leaves no rows behind rests on rows all the same: a duplicate is dropped because of a
//! message, a record is found because somebody wrote it. So it waits as well, until everything that it may
//! have seen is there.
//!
//! What is promised: an answered operation survives the death of the process (`kill -9`). A crash of
//! the whole machine may take the last moments with it (`synchronous = NORMAL`). A database belongs to one
//! emulator at a time; a second one is refused when it opens it.

mod layout;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::{blob, broker};

/// Where messages and blobs are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Store {
    /// Nowhere but in memory.
    #[default]
    Memory,
    /// In a SQLite database at this path, made when absent.
    Sqlite(PathBuf),
}

/// Why the store failed. Nothing is answered any more after that: what is in memory is no longer what
/// is on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
    /// The database is another's: one at a time may have it.
    #[error("the database is in use: another process, or another emulator in this one, has it open")]
    InUse,
    /// The file could not be made.
    #[error("the database's file cannot be made")]
    File(#[source] std::io::Error),
    /// A row that this version cannot read.
    #[error("unreadable row in the database")]
    Row(#[from] serde_json::Error),
    /// A database of another layout.
    #[error("the database has the layout of another version: {0}")]
    Version(i64),
    /// The writer could not be started.
    #[error("the store's thread could not be started")]
    Thread(#[source] std::io::Error),
    /// The writer is gone; its own error was logged when it happened.
    #[error("the store is closed")]
    Closed,
}

/// One row, or a word about all of them.
#[derive(Debug)]
pub(crate) enum Row {
    Broker(broker::Change),
    Blob(blob::Change),
    /// How far the clocks are ahead of real time, in milliseconds.
    ClockOffsets {
        broker: i64,
        storage: i64,
    },
    /// Forget the namespace.
    BrokerReset,
    /// Forget the account.
    BlobReset,
}

/// What a store had kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) broker: Vec<broker::Change>,
    pub(crate) blob: Vec<blob::Change>,
    pub(crate) broker_offset: i64,
    pub(crate) storage_offset: i64,
}

struct Write {
    rows: Vec<Row>,
    done: oneshot::Sender<()>,
    /// Whether the writer ends after this.
    is_last: bool,
}

/// The way to the writer; in memory there is none and every ticket is good at once.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    writer: Option<mpsc::Sender<Write>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How many writes were handed over, and how many of them are on disk.
    handed_over: AtomicU64,
    written: Arc<AtomicU64>,
}

/// Says when rows are on disk.
#[must_use = "an answer must wait until its rows are written"]
#[derive(Debug)]
pub(crate) enum Ticket {
    Written,
    Pending(oneshot::Receiver<()>),
}

impl Journal {
    /// Opens a store and reads what it kept.
    pub(crate) fn open(store: &Store) -> Result<(Self, Kept), StoreError> {
        match store {
            Store::Memory => Ok((Self::default(), Kept::default())),
            Store::Sqlite(path) => Self::open_sqlite(path),
        }
    }

    fn open_sqlite(path: &Path) -> Result<(Self, Kept), StoreError> {
        let mut database = sqlite::Database::open(path)?;
        let kept = database.load()?;
        let (writer, writes) = mpsc::channel();
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        let thread = std::thread::Builder::new()
            .name("emulator-store".to_owned())
            .spawn(move || write_all(&mut database, &writes, &count))
            .map_err(StoreError::Thread)?;
        let thread = Mutex::new(Some(thread));
        Ok((Self { writer: Some(writer), thread, handed_over: AtomicU64::new(0), written }, kept))
    }

    /// Whether rows are wanted at all.
    pub(crate) fn is_durable(&self) -> bool {
        self.writer.is_some()
    }

    /// Hands rows over. Call it while holding the machine that they came from. Without rows the ticket is
    /// for those that were handed over before.
    pub(crate) fn append(&self, rows: Vec<Row>) -> Ticket {
        match &self.writer {
            Some(writer) if !rows.is_empty() || self.is_behind() => {
                let (done, written) = oneshot::channel();
                self.handed_over.fetch_add(1, Ordering::SeqCst);
                // A writer that is gone drops the sender, which the ticket notices.
                let _ = writer.send(Write { rows, done, is_last: false });
                Ticket::Pending(written)
            }
            _ => Ticket::Written,
        }
    }

    /// Whether something that was handed over is not on disk yet.
    fn is_behind(&self) -> bool {
        self.written.load(Ordering::SeqCst) != self.handed_over.load(Ordering::SeqCst)
    }

    /// Waits until everything is written, and closes the database. What is appended after that is never written.
    pub(crate) fn close(&self) {
        let Some(writer) = &self.writer else { return };
        let _ = writer.send(Write { rows: Vec::new(), done: oneshot::channel().0, is_last: true });
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Ticket {
    /// Waits until the rows are on disk.
    pub(crate) async fn written(self) -> Result<(), StoreError> {
        match self {
            Self::Written => Ok(()),
            Self::Pending(written) => written.await.map_err(|_| StoreError::Closed),
        }
    }
}

/// The writer: takes what is there, commits it in one transaction, says so.
fn write_all(database: &mut sqlite::Database, writes: &mpsc::Receiver<Write>, written: &AtomicU64) {
    /// A bound for the time that the first of a transaction waits for the last.
    const LARGEST_TRANSACTION: usize = 1024;
    while let Ok(first) = writes.recv() {
        let mut group = vec![first];
        group.extend(writes.try_iter().take(LARGEST_TRANSACTION - 1));
        // A group of tickets alone needs no transaction: what they are for is written.
        if group.iter().any(|write| !write.rows.is_empty())
            && let Err(error) = database.commit(group.iter().flat_map(|write| &write.rows))
        {
            tracing::error!(%error, "the store failed; nothing is answered any more");
            return;
        }
        written.fetch_add(u64::try_from(group.len()).unwrap_or(0), Ordering::SeqCst);
        let is_last = group.iter().any(|write| write.is_last);
        for write in group {
            let _ = write.done.send(());
        }
        if is_last {
            return;
        }
    }
}
