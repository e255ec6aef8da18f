//! The messages of one sub-queue, and the orders in which they are asked for.
//!
//! Everything is found in logarithmic time: the next message, a lock by its token, the next deadline.
//! A queue of a million messages is therefore no slower than one of a thousand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::message::Message;
use crate::time::UnixMillis;

/// A peek-lock: who shows this token before `until` may settle the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Drawn anew for each delivery.
    pub token: Uuid,
    /// When the broker gives the message to somebody else.
    pub until: UnixMillis,
}

/// A message and its standing in a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The message.
    pub message: Arc<Message>,
    /// When it became visible.
    pub enqueued_at: UnixMillis,
    /// How often it was delivered, the delivery in flight included.
    pub deliveries: u32,
    /// Held by a receiver.
    pub lock: Option<Lock>,
}

/// Entries by sequence number, which is also their order: an abandoned message keeps its number and
/// so comes back ahead of everything that was sent after it.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    entries: BTreeMap<u64, Entry>,
    ready: BTreeSet<u64>,
    by_token: HashMap<Uuid, u64>,
    lock_ends: BTreeSet<(UnixMillis, u64)>,
    expiries: BTreeSet<(UnixMillis, u64)>,
    bytes: u64,
}

impl Shelf {
    /// Puts an entry in its place; `expires_at` is when its time to live ends, if it matters here.
    pub(super) fn insert(&mut self, sequence: u64, entry: Entry, expires_at: Option<UnixMillis>) {
        match entry.lock {
            None => {
                self.ready.insert(sequence);
            }
            Some(lock) => self.index_lock(sequence, lock),
        }
        if let Some(at) = expires_at {
            self.expiries.insert((at, sequence));
        }
        self.bytes += entry.message.stored_size();
        if let Some(old) = self.entries.insert(sequence, entry) {
            self.bytes = self.bytes.saturating_sub(old.message.stored_size());
        }
    }

    pub(super) fn remove(&mut self, sequence: u64, expires_at: impl Fn(&Entry) -> Option<UnixMillis>) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        self.ready.remove(&sequence);
        if let Some(lock) = entry.lock {
            self.unindex_lock(sequence, lock);
        }
        if let Some(at) = expires_at(&entry) {
            self.expiries.remove(&(at, sequence));
        }
        self.bytes = self.bytes.saturating_sub(entry.message.stored_size());
        Some(entry)
    }

    pub(super) fn first_ready(&self) -> Option<u64> {
        self.ready.first().copied()
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(&sequence)
    }

    /// The message that this token holds.
    pub(super) fn locked_by(&self, token: Uuid) -> Option<u64> {
        self.by_token.get(&token).copied()
    }

    /// Changes an entry's lock and count, keeping every index true.
    pub(super) fn set_lock(&mut self, sequence: u64, lock: Option<Lock>, deliveries: u32) -> Option<&Entry> {
        let old = self.entries.get(&sequence)?.lock;
        if let Some(old) = old {
            self.unindex_lock(sequence, old);
        }
        match lock {
            Some(lock) => {
                self.ready.remove(&sequence);
                self.index_lock(sequence, lock);
            }
            None => {
                self.ready.insert(sequence);
            }
        }
        let entry = self.entries.get_mut(&sequence)?;
        entry.lock = lock;
        entry.deliveries = deliveries;
        Some(entry)
    }

    /// The earliest end of a lock.
    pub(super) fn next_lock_end(&self) -> Option<(UnixMillis, u64)> {
        self.lock_ends.first().copied()
    }

    /// The earliest end of a time to live.
    pub(super) fn next_expiry(&self) -> Option<(UnixMillis, u64)> {
        self.expiries.first().copied()
    }

    /// Forgets an expiry that came while the message was locked; the end of the lock looks again.
    pub(super) fn drop_expiry(&mut self, at: UnixMillis, sequence: u64) {
        self.expiries.remove(&(at, sequence));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(sequence, entry)| (*sequence, entry))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn index_lock(&mut self, sequence: u64, lock: Lock) {
        self.by_token.insert(lock.token, sequence);
        self.lock_ends.insert((lock.until, sequence));
    }

    fn unindex_lock(&mut self, sequence: u64, lock: Lock) {
        self.by_token.remove(&lock.token);
        self.lock_ends.remove(&(lock.until, sequence));
    }
}
