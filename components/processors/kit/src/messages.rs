//! The table `messages`: where messages end, one row for each.
//!
//! A batch is one statement with one parameter, a JSON array: one round trip, one transaction, all or nothing.
//! Repeating it changes nothing: a row that is there stays as it was first written.
//!
//! **The key is the group of queues and the id.** A record guards an id in all queues that a route may choose
//! among, so a sender's retry that lands on another of them is the same message and meets its own row here too. The same id in
//! another group is another message. An id that meets a row with another body is not skipped in silence:
//! [`Outcome::Taken`].
//!
//! `epoch` and `attempt` are those of the attempt that wrote the row, and say nothing about later ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use spin_sdk::sqlite::Value;

use crate::bindings::exports::oncebus::processor::process::Message;
use crate::{Database, DatabaseError};

/// The body is text where it is UTF-8 without NUL (tools of all kinds cut text there), else a blob.
/// `properties` is a JSON object, name to value.
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS messages (
        id TEXT NOT NULL,
        queue_group TEXT NOT NULL,
        queue TEXT NOT NULL,
        lock_key TEXT,
        content_type TEXT,
        body ANY NOT NULL,
        properties TEXT NOT NULL,
        enqueued_at_ms INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        PRIMARY KEY (queue_group, id)
    ) STRICT",
    "CREATE INDEX IF NOT EXISTS messages_by_time ON messages (queue, enqueued_at_ms)",
    "CREATE INDEX IF NOT EXISTS messages_by_lock_key ON messages (lock_key) WHERE lock_key IS NOT NULL",
];

/// `WHERE true` keeps the parser from reading `ON CONFLICT` as the join's `ON`.
const INSERT: &str = "\
    INSERT INTO messages (id, queue_group, queue, lock_key, content_type, body, properties, enqueued_at_ms, epoch, attempt)
    SELECT m.value ->> 'id', m.value ->> 'queue_group', m.value ->> 'queue', m.value ->> 'lock_key', m.value ->> 'content_type',
           coalesce(m.value ->> 'text', unhex(m.value ->> 'hex')), m.value -> 'properties',
           m.value ->> 'enqueued_at_ms', m.value ->> 'epoch', m.value ->> 'attempt'
    FROM json_each(?1) AS m
    WHERE true
    ON CONFLICT (queue_group, id) DO NOTHING
    RETURNING id";

/// Which of these messages stand in the table with another body.
const TAKEN: &str = "\
    SELECT s.id
    FROM json_each(?1) AS m JOIN messages AS s
        ON s.queue_group = m.value ->> 'queue_group' AND s.id = m.value ->> 'id'
    WHERE s.body IS NOT coalesce(m.value ->> 'text', unhex(m.value ->> 'hex'))";

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its row is in the table, written now or by an earlier attempt.
    Stored,
    /// Another message with the same id and another body is in the table. This one is not.
    Taken,
}

/// Stores all messages of a batch, in one statement; a second one only if some were there already.
///
/// # Errors
///
/// When SQLite refuses: then no row of the batch was written.
pub fn store<'a>(
    database: &Database,
    batch: impl Iterator<Item = &'a Message> + Clone,
) -> Result<Vec<Outcome>, DatabaseError> {
    let rows: Vec<Row<'_>> = batch.clone().map(Row::of).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let inserted = ids(database, "store the messages", INSERT, &rows)?;
    let old: Vec<&Row<'_>> = rows.iter().filter(|row| !inserted.contains(row.id)).collect();
    let taken =
        if old.is_empty() { BTreeSet::new() } else { ids(database, "compare with the stored messages", TAKEN, &old)? };
    Ok(batch
        .map(|message| match taken.contains(&message.id) {
            true => Outcome::Taken,
            false => Outcome::Stored,
        })
        .collect())
}

/// Runs a statement over rows, that answers with ids.
fn ids(
    database: &Database,
    doing: &'static str,
    statement: &str,
    rows: &impl Serialize,
) -> Result<BTreeSet<String>, DatabaseError> {
    let answer = database.execute(doing, statement, &[json(rows)])?;
    let mut ids = BTreeSet::new();
    for row in answer.rows {
        if let Some(Value::Text(id)) = row.values.into_iter().next() {
            ids.insert(id);
        }
    }
    Ok(ids)
}

/// The one parameter of a bulk statement.
#[expect(clippy::expect_used, reason = "our own rows: string keys, no floats")]
pub(crate) fn json(rows: &impl Serialize) -> Value {
    Value::Text(serde_json::to_string(rows).expect("rows of strings and integers are JSON"))
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    queue_group: &'a str,
    queue: &'a str,
    lock_key: Option<&'a str>,
    content_type: Option<&'a str>,
    #[serde(flatten)]
    body: Body<'a>,
    /// Sorted by name: the same message always gives the same text.
    properties: BTreeMap<&'a str, &'a str>,
    enqueued_at_ms: u64,
    epoch: u64,
    attempt: u32,
}

/// A body inside JSON, without loss.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Body<'a> {
    Text(&'a str),
    Hex(String),
}

impl<'a> Row<'a> {
    fn of(message: &'a Message) -> Self {
        Self {
            id: &message.id,
            queue_group: &message.group,
            queue: &message.queue,
            lock_key: message.key.as_deref(),
            content_type: message.content_type.as_deref(),
            body: Body::of(&message.body),
            properties: message.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            enqueued_at_ms: message.enqueued_at_ms,
            epoch: message.epoch,
            attempt: message.attempt,
        }
    }
}

impl<'a> Body<'a> {
    fn of(body: &'a [u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) if !text.contains('\0') => Self::Text(text),
            _ => Self::Hex(hex::encode(body)),
        }
    }
}
