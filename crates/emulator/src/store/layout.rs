//! The tables, and how databases of older layouts get the newest one.
//!
//! The layout's number is kept in `user_version`. An upgrade is one transaction; what an older program wrote
//! keeps its meaning. A layout that is newer than this program is refused.
//!
//! | layout | what is new |
//! |---|---|
//! | 1 | queues, messages, blobs |
//! | 2 | topics |
//! | 3 | when an entity was used last; messages that could not be forwarded (place 3); no tickets in `queues`; descriptions that were only shown take effect |

use rusqlite::{Connection, Transaction, params};
use serde_json::Value;

use super::StoreError;
use crate::broker::{QueueOptions, TopicOptions};

/// The newest layout.
const LAYOUT: i64 = 3;

const FIRST: &str = "
CREATE TABLE queues (
    key TEXT PRIMARY KEY, options TEXT NOT NULL, next_sequence INTEGER NOT NULL, next_ticket INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE messages (
    queue TEXT NOT NULL, place INTEGER NOT NULL, number INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL, deliveries INTEGER NOT NULL, lock_token BLOB, locked_until INTEGER,
    message TEXT NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX messages_by_number ON messages (queue, place, number);
CREATE TABLE history (
    queue TEXT NOT NULL, message_id TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (queue, message_id)
) WITHOUT ROWID;
CREATE INDEX history_by_time ON history (queue, until);
CREATE TABLE containers (name TEXT PRIMARY KEY, properties TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blobs (container TEXT NOT NULL, name TEXT NOT NULL, properties TEXT NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX blobs_by_name ON blobs (container, name);
CREATE TABLE clocks (id INTEGER PRIMARY KEY CHECK (id = 1), broker INTEGER NOT NULL, storage INTEGER NOT NULL);
";

const SECOND: &str = "
CREATE TABLE topics (key TEXT PRIMARY KEY, options TEXT NOT NULL, next_sequence INTEGER NOT NULL) WITHOUT ROWID;
";

/// Nobody knows when an entity was used before: its idleness begins with the upgrade.
const THIRD: &str = "
ALTER TABLE queues DROP COLUMN next_ticket;
ALTER TABLE queues ADD COLUMN active_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE topics ADD COLUMN active_at INTEGER NOT NULL DEFAULT 0;
UPDATE queues SET active_at = unixepoch('now') * 1000 + coalesce((SELECT broker FROM clocks), 0);
UPDATE topics SET active_at = unixepoch('now') * 1000 + coalesce((SELECT broker FROM clocks), 0);
";

/// Makes the tables, or changes those of an older layout.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> Result<(), StoreError> {
    let layout: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if !(0..=LAYOUT).contains(&layout) {
        return Err(StoreError::Version(layout));
    }
    if layout < LAYOUT {
        let transaction = connection.transaction()?;
        for (since, step) in [(1, FIRST), (2, SECOND), (3, THIRD)] {
            if layout < since {
                transaction.execute_batch(step)?;
            }
        }
        if layout < 3 {
            obey_descriptions(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        transaction.commit()?;
    }
    Ok(())
}

/// What a description says about forwarding, status, sessions and idleness was only shown before layout 3.
fn obey_descriptions(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    rewrite(transaction, "queues", |options| {
        let mut options: QueueOptions = serde_json::from_value(options)?;
        options.obey_description();
        serde_json::to_string(&options)
    })?;
    rewrite(transaction, "topics", |options| {
        let mut options: TopicOptions = serde_json::from_value(options)?;
        options.obey_description();
        serde_json::to_string(&options)
    })
}

fn rewrite(
    transaction: &Transaction<'_>,
    table: &str,
    change: impl Fn(Value) -> Result<String, serde_json::Error>,
) -> Result<(), StoreError> {
    let mut select = transaction.prepare(&format!("SELECT key, options FROM {table}"))?;
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
    let mut update = transaction.prepare(&format!("UPDATE {table} SET options = ?2 WHERE key = ?1"))?;
    for (key, options) in rows {
        update.execute(params![key, change(serde_json::from_str(&options)?)?])?;
    }
    Ok(())
}
