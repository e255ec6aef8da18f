//! The SQLite store: one row per message, remembered id, queue, container and blob.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::{Kept, Row, StoreError, layout};
use crate::broker::{Entry, Lock, Message, Place};
use crate::time::UnixMillis;
use crate::{blob, broker};

const BROKER_RESET: &str = "DELETE FROM queues; DELETE FROM topics; DELETE FROM messages; DELETE FROM history;";
const BLOB_RESET: &str = "DELETE FROM containers; DELETE FROM blobs;";

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    /// Opens a database for this process alone, made when absent.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        /// An emulator that is just ending is waited for.
        const PATIENCE: Duration = Duration::from_secs(1);
        make_private(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        take(&mut connection).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse,
            _ => StoreError::Database(error),
        })?;
        connection.set_prepared_statement_cache_capacity(32);
        layout::bring_up_to_date(&mut connection)?;
        Ok(Self { connection })
    }

    /// Writes rows in one transaction.
    pub(super) fn commit<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for row in rows {
            match row {
                Row::Broker(change) => write_broker(&transaction, change)?,
                Row::Blob(change) => write_blob(&transaction, change)?,
                Row::ClockOffsets { broker, storage } => {
                    transaction
                        .prepare_cached("INSERT OR REPLACE INTO clocks (id, broker, storage) VALUES (1, ?1, ?2)")?
                        .execute(params![broker, storage])?;
                }
                Row::BrokerReset => transaction.execute_batch(BROKER_RESET)?,
                Row::BlobReset => transaction.execute_batch(BLOB_RESET)?,
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Reads everything, each owner before what it owns.
    pub(super) fn load(&mut self) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        self.load_broker(&mut kept.broker)?;
        self.load_blob(&mut kept.blob)?;
        let mut clocks = self.connection.prepare("SELECT broker, storage FROM clocks")?;
        let mut rows = clocks.query([])?;
        if let Some(row) = rows.next()? {
            (kept.broker_offset, kept.storage_offset) = (row.get(0)?, row.get(1)?);
        }
        Ok(kept)
    }

    fn load_broker(&self, kept: &mut Vec<broker::Change>) -> Result<(), StoreError> {
        let mut queues = self.connection.prepare("SELECT key, options, next_sequence, active_at FROM queues")?;
        let mut rows = queues.query([])?;
        while let Some(row) = rows.next()? {
            kept.push(broker::Change::Queue {
                key: row.get::<_, String>(0)?.into(),
                options: Some(Box::new(serde_json::from_str(&row.get::<_, String>(1)?)?)),
                next_sequence: number(row.get(2)?),
                active_at: UnixMillis(row.get(3)?),
            });
        }
        let mut topics = self.connection.prepare("SELECT key, options, next_sequence, active_at FROM topics")?;
        let mut rows = topics.query([])?;
        while let Some(row) = rows.next()? {
            kept.push(broker::Change::Topic {
                key: row.get::<_, String>(0)?.into(),
                options: Some(Box::new(serde_json::from_str(&row.get::<_, String>(1)?)?)),
                next_sequence: number(row.get(2)?),
                active_at: UnixMillis(row.get(3)?),
            });
        }
        let mut messages = self.connection.prepare(
            "SELECT queue, place, number, enqueued_at, deliveries, lock_token, locked_until, message, body FROM messages",
        )?;
        let mut rows = messages.query([])?;
        while let Some(row) = rows.next()? {
            let mut message: Message = serde_json::from_str(&row.get::<_, String>(7)?)?;
            message.body = Bytes::from(row.get::<_, Vec<u8>>(8)?);
            let lock = match (row.get::<_, Option<[u8; 16]>>(5)?, row.get::<_, Option<i64>>(6)?) {
                (Some(token), Some(until)) => Some(Lock { token: Uuid::from_bytes(token), until: UnixMillis(until) }),
                _ => None,
            };
            kept.push(broker::Change::Message {
                key: row.get::<_, String>(0)?.into(),
                place: place_from(row.get(1)?),
                number: number(row.get(2)?),
                entry: Entry {
                    message: Arc::new(message),
                    enqueued_at: UnixMillis(row.get(3)?),
                    deliveries: row.get(4)?,
                    lock,
                },
            });
        }
        let mut history = self.connection.prepare("SELECT queue, message_id, until FROM history")?;
        let mut rows = history.query([])?;
        while let Some(row) = rows.next()? {
            kept.push(broker::Change::Remembered {
                key: row.get::<_, String>(0)?.into(),
                message_id: row.get::<_, String>(1)?.into(),
                until: UnixMillis(row.get(2)?),
            });
        }
        Ok(())
    }

    fn load_blob(&self, kept: &mut Vec<blob::Change>) -> Result<(), StoreError> {
        let mut containers = self.connection.prepare("SELECT name, properties FROM containers")?;
        let mut rows = containers.query([])?;
        while let Some(row) = rows.next()? {
            kept.push(blob::Change::Container {
                container: row.get::<_, String>(0)?.into(),
                properties: serde_json::from_str(&row.get::<_, String>(1)?)?,
            });
        }
        let mut blobs = self.connection.prepare("SELECT container, name, properties, body FROM blobs")?;
        let mut rows = blobs.query([])?;
        while let Some(row) = rows.next()? {
            kept.push(blob::Change::Blob {
                container: row.get::<_, String>(0)?.into(),
                name: row.get::<_, String>(1)?.into(),
                properties: Arc::new(serde_json::from_str(&row.get::<_, String>(2)?)?),
                body: Some(Bytes::from(row.get::<_, Vec<u8>>(3)?)),
            });
        }
        Ok(())
    }
}

/// Makes the file, for nobody but its owner: descriptions hold keys, and bodies anything. SQLite gives the files beside
/// it the same mode. One that is there already stays as it is, and is not opened here: closing it would take the
/// locks of whoever else has it open in this process.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let mut file = OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    match file.open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StoreError::File(error)),
        _ => Ok(()),
    }
}

/// Takes the database until the process ends, however it ends. Two that wrote what each has in memory would destroy
/// each other's rows.
fn take(connection: &mut Connection) -> rusqlite::Result<()> {
    // Before the log is first looked at, so that there is no shared memory for another process to join.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // The lock comes with the first transaction, and stays.
    connection.transaction_with_behavior(TransactionBehavior::Exclusive)?.commit()
}

/// The statements that write a queue or a topic: with options, and its counters alone.
struct Upsert {
    whole: &'static str,
    counters: &'static str,
}

const QUEUES: Upsert = Upsert {
    whole: "INSERT OR REPLACE INTO queues (key, options, next_sequence, active_at) VALUES (?1, ?2, ?3, ?4)",
    counters: "UPDATE queues SET next_sequence = ?2, active_at = ?3 WHERE key = ?1",
};
const TOPICS: Upsert = Upsert {
    whole: "INSERT OR REPLACE INTO topics (key, options, next_sequence, active_at) VALUES (?1, ?2, ?3, ?4)",
    counters: "UPDATE topics SET next_sequence = ?2, active_at = ?3 WHERE key = ?1",
};

impl Upsert {
    /// Without options, those that are there stay.
    fn write(
        &self,
        to: &Transaction<'_>,
        key: &str,
        options: Option<String>,
        next_sequence: u64,
        active_at: UnixMillis,
    ) -> Result<(), StoreError> {
        let next = signed(next_sequence);
        match options {
            Some(options) => to.prepare_cached(self.whole)?.execute(params![key, options, next, active_at.0])?,
            None => to.prepare_cached(self.counters)?.execute(params![key, next, active_at.0])?,
        };
        Ok(())
    }
}

fn write_broker(to: &Transaction<'_>, change: &broker::Change) -> Result<(), StoreError> {
    use broker::Change;
    match change {
        Change::Queue { key, options, next_sequence, active_at } => {
            let options = options.as_ref().map(serde_json::to_string).transpose()?;
            QUEUES.write(to, key, options, *next_sequence, *active_at)?;
        }
        Change::Topic { key, options, next_sequence, active_at } => {
            let options = options.as_ref().map(serde_json::to_string).transpose()?;
            TOPICS.write(to, key, options, *next_sequence, *active_at)?;
        }
        Change::QueueRemoved { key } => {
            to.execute("DELETE FROM topics WHERE key = ?1", params![key])?;
            to.execute("DELETE FROM messages WHERE queue = ?1", params![key])?;
            to.execute("DELETE FROM history WHERE queue = ?1", params![key])?;
            to.execute("DELETE FROM queues WHERE key = ?1", params![key])?;
        }
        Change::Message { key, place, number, entry } => {
            to.prepare_cached(
                "INSERT OR REPLACE INTO messages
                 (queue, place, number, enqueued_at, deliveries, lock_token, locked_until, message, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                key,
                place_number(*place),
                signed(*number),
                entry.enqueued_at.0,
                entry.deliveries,
                entry.lock.map(|lock| lock.token.into_bytes()),
                entry.lock.map(|lock| lock.until.0),
                serde_json::to_string(&*entry.message)?,
                &entry.message.body[..],
            ])?;
        }
        Change::Standing { key, place, number, deliveries, lock } => {
            to.prepare_cached(
                "UPDATE messages SET deliveries = ?4, lock_token = ?5, locked_until = ?6
                 WHERE queue = ?1 AND place = ?2 AND number = ?3",
            )?
            .execute(params![
                key,
                place_number(*place),
                signed(*number),
                deliveries,
                lock.map(|lock| lock.token.into_bytes()),
                lock.map(|lock| lock.until.0),
            ])?;
        }
        Change::MessageRemoved { key, place, number } => {
            to.prepare_cached("DELETE FROM messages WHERE queue = ?1 AND place = ?2 AND number = ?3")?
                .execute(params![key, place_number(*place), signed(*number)])?;
        }
        Change::Remembered { key, message_id, until } => {
            to.prepare_cached("INSERT OR REPLACE INTO history (queue, message_id, until) VALUES (?1, ?2, ?3)")?
                .execute(params![key, message_id, until.0])?;
        }
        Change::Forgotten { key, until } => {
            to.prepare_cached("DELETE FROM history WHERE queue = ?1 AND until <= ?2")?
                .execute(params![key, until.0])?;
        }
    }
    Ok(())
}

fn write_blob(to: &Transaction<'_>, change: &blob::Change) -> Result<(), StoreError> {
    use blob::Change;
    match change {
        Change::Container { container, properties } => {
            to.prepare_cached("INSERT OR REPLACE INTO containers (name, properties) VALUES (?1, ?2)")?
                .execute(params![container, serde_json::to_string(properties)?])?;
        }
        Change::ContainerRemoved { container } => {
            to.execute("DELETE FROM blobs WHERE container = ?1", params![container])?;
            to.execute("DELETE FROM containers WHERE name = ?1", params![container])?;
        }
        Change::Blob { container, name, properties, body: Some(body) } => {
            to.prepare_cached(
                "INSERT OR REPLACE INTO blobs (container, name, properties, body) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![container, name, serde_json::to_string(&**properties)?, &body[..]])?;
        }
        Change::Blob { container, name, properties, body: None } => {
            to.prepare_cached("UPDATE blobs SET properties = ?3 WHERE container = ?1 AND name = ?2")?
                .execute(params![container, name, serde_json::to_string(&**properties)?])?;
        }
        Change::BlobRemoved { container, name } => {
            to.prepare_cached("DELETE FROM blobs WHERE container = ?1 AND name = ?2")?
                .execute(params![container, name])?;
        }
    }
    Ok(())
}

fn place_number(place: Place) -> i64 {
    match place {
        Place::Main => 0,
        Place::DeadLetter => 1,
        Place::Scheduled => 2,
        Place::TransferDeadLetter => 3,
    }
}

fn place_from(number: i64) -> Place {
    match number {
        1 => Place::DeadLetter,
        2 => Place::Scheduled,
        3 => Place::TransferDeadLetter,
        _ => Place::Main,
    }
}

/// SQLite's integers are signed; no queue reaches 2^63 messages.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(signed: i64) -> u64 {
    u64::try_from(signed).unwrap_or(0)
}
