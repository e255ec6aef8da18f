//! What a run did, in numbers: the answer of the run endpoint.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::CommandKind;
use super::measures::Measures;
use super::{Note, Outcome, Service, Trouble};
use crate::message::Delivery;

/// How many requests a run made, by kind. Retries count; each is a request that somebody pays for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCounts {
    /// Polls that brought a message.
    pub receive: u64,
    /// Polls that came back empty, or failed.
    pub receive_empty: u64,
    /// Locks renewed.
    pub renew: u64,
    /// Copies sent.
    pub send: u64,
    /// Messages completed.
    pub complete: u64,
    /// Messages given back.
    #[serde(default)]
    pub abandon: u64,
    /// Records created.
    pub create: u64,
    /// Looks at records, the probe included.
    pub look: u64,
    /// Records written.
    pub write: u64,
    /// Large checkpoints stored.
    #[serde(default)]
    pub store: u64,
    /// Large checkpoints read.
    #[serde(default)]
    pub load: u64,
    /// Records deleted.
    #[serde(default)]
    pub delete: u64,
}

impl CallCounts {
    fn count(&mut self, kind: CommandKind, calls: u32) {
        let slot = match kind {
            CommandKind::Create => &mut self.create,
            CommandKind::Look => &mut self.look,
            CommandKind::Write => &mut self.write,
            CommandKind::Store => &mut self.store,
            CommandKind::Load => &mut self.load,
            CommandKind::Delete => &mut self.delete,
            CommandKind::Renew => &mut self.renew,
            CommandKind::Send => &mut self.send,
            CommandKind::Complete => &mut self.complete,
            CommandKind::Abandon => &mut self.abandon,
        };
        *slot += u64::from(calls);
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.receive += other.receive;
        self.receive_empty += other.receive_empty;
        self.renew += other.renew;
        self.send += other.send;
        self.complete += other.complete;
        self.abandon += other.abandon;
        self.create += other.create;
        self.look += other.look;
        self.write += other.write;
        self.store += other.store;
        self.load += other.load;
        self.delete += other.delete;
    }

    /// What was added since an earlier sum.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            receive: self.receive.saturating_sub(earlier.receive),
            receive_empty: self.receive_empty.saturating_sub(earlier.receive_empty),
            renew: self.renew.saturating_sub(earlier.renew),
            send: self.send.saturating_sub(earlier.send),
            complete: self.complete.saturating_sub(earlier.complete),
            abandon: self.abandon.saturating_sub(earlier.abandon),
            create: self.create.saturating_sub(earlier.create),
            look: self.look.saturating_sub(earlier.look),
            write: self.write.saturating_sub(earlier.write),
            store: self.store.saturating_sub(earlier.store),
            load: self.load.saturating_sub(earlier.load),
            delete: self.delete.saturating_sub(earlier.delete),
        }
    }

    /// Requests to Service Bus for messages that were received: no sends, no empty polls.
    #[must_use]
    pub const fn broker_per_delivery(&self) -> u64 {
        self.receive + self.renew + self.complete + self.abandon
    }

    /// Requests to Blob Storage.
    #[must_use]
    pub const fn storage(&self) -> u64 {
        self.create + self.look + self.write + self.store + self.load + self.delete
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The queue.
    pub queue: String,
    /// The run's id.
    pub run: String,
    /// Messages received.
    pub received: u64,
    /// Processed, recorded, completed.
    pub done: u64,
    /// Finished before: completed without processing.
    pub duplicate: u64,
    /// Held by another.
    pub busy: u64,
    /// Of these, because another held their lock key.
    #[serde(default)]
    pub key_busy: u64,
    /// Of these, because an earlier message of their lock key had not ended.
    #[serde(default)]
    pub held_back: u64,
    /// Not due yet: sent on.
    pub deferred: u64,
    /// Failed: sent on for later.
    pub retried: u64,
    /// Given up: copied to the poison queue.
    pub parked: u64,
    /// Came with another payload: copied to the poison queue.
    pub mismatched: u64,
    /// Between two steps at the end: sent on.
    pub released: u64,
    /// Given back unbegun: the run's end was near.
    #[serde(default)]
    pub returned: u64,
    /// Lost to another, or overrun.
    pub lost: u64,
    /// Left to come back: a call failed.
    pub unsettled: u64,
    /// Calls of the processor.
    pub process_calls: u64,
    /// Steps that the processor answered.
    pub steps: u64,
    /// Requests, by kind.
    pub calls: CallCounts,
    /// Of these, the requests for messages without a lock key, and how many such messages were received. A lock key
    /// costs requests of its own.
    pub without_key: WithoutKey,
    /// The locks of lock keys.
    #[serde(default)]
    pub lock_keys: LockKeys,
    /// What is measured beyond that.
    #[serde(default)]
    pub measures: Measures,
    /// Milliseconds in the processor, all calls together.
    pub process_milliseconds: u64,
    /// The longest time from receiving a message to its end, in milliseconds.
    pub slowest_milliseconds: u64,
    /// How long the oldest message received had been in the queue, in seconds, by the broker's clock.
    pub oldest_seconds: u64,
    /// Whether the queue still had messages when the run stopped asking: its last poll brought one.
    pub backlog: bool,
    /// Sentences about messages held by others, the first ten.
    pub active_locks: Vec<String>,
    /// Why the run stopped receiving early.
    pub trouble: Option<TroubleReport>,
    /// What is wrong with the configuration, as the services' answers show. Sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The share of messages without a lock key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithoutKey {
    /// Messages received.
    pub received: u64,
    /// Requests.
    pub calls: CallCounts,
}

/// What the lock keys took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockKeys {
    /// How often the lock of a key was taken.
    pub taken: u64,
    /// How often one was lost while it was held.
    pub lost: u64,
    /// Requests for the locks, and for the records that blocked them. All are in the run's `calls` too.
    pub calls: CallCounts,
}

/// Why a run stopped receiving, for whoever called it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleReport {
    /// `refused`, `unavailable` or `missing`.
    pub kind: TroubleKind,
    /// `service-bus` or `storage`.
    pub service: String,
    /// A sentence. No secrets.
    pub detail: String,
}

/// The kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// A credential was refused.
    Refused,
    /// No answer, a 5xx, or throttling.
    Unavailable,
    /// No such queue or container.
    Missing,
}

const MAX_ACTIVE_LOCKS: usize = 10;

/// The times that tell a lock's length are whole seconds.
const RESOLUTION: Duration = Duration::from_secs(2);

impl Summary {
    pub(super) fn count(&mut self, note: &Note, took: Duration) {
        let slot = match &note.outcome {
            Outcome::Done => &mut self.done,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Busy { .. } | Outcome::KeyBusy { .. } | Outcome::HeldBack => &mut self.busy,
            Outcome::Deferred => &mut self.deferred,
            Outcome::Retried => &mut self.retried,
            Outcome::Parked => &mut self.parked,
            Outcome::Mismatched => &mut self.mismatched,
            Outcome::Released => &mut self.released,
            Outcome::Returned => &mut self.returned,
            Outcome::Lost => &mut self.lost,
            Outcome::Denied(_) | Outcome::Unsettled(_) | Outcome::Unanswered => &mut self.unsettled,
        };
        *slot += 1;
        match &note.outcome {
            Outcome::KeyBusy { .. } => self.key_busy += 1,
            Outcome::HeldBack => self.held_back += 1,
            _ => {}
        }
        if matches!(note.outcome, Outcome::Busy { .. } | Outcome::KeyBusy { .. })
            && self.active_locks.len() < MAX_ACTIVE_LOCKS
        {
            self.active_locks.push(note.to_string());
        }
        self.slowest_milliseconds = self.slowest_milliseconds.max(milliseconds(took));
    }

    /// A poll brought a message. Its request was counted as an empty one until then.
    pub(super) fn polled(&mut self, delivery: &Delivery, keyed: bool) {
        self.received += 1;
        self.backlog = true;
        self.calls.receive += 1;
        self.calls.receive_empty = self.calls.receive_empty.saturating_sub(1);
        if !keyed {
            self.without_key.received += 1;
            self.without_key.calls.receive += 1;
        }
        if let (Some(answered), Some(enqueued)) = (delivery.answered_at, delivery.enqueued_at) {
            self.oldest_seconds = self.oldest_seconds.max(answered.since(enqueued).as_secs());
        }
    }

    /// The configuration's times were checked against the lock that it names; the first delivery tells what the queue has. One that lasts longer does
    /// no harm.
    pub(super) fn compare_lock(&mut self, delivery: &Delivery, configured: Duration) {
        let Some(found) = delivery.lock_duration() else { return };
        if self.warnings.is_empty() && found.saturating_add(RESOLUTION) < configured {
            self.warnings.push(format!(
                "the queue {} locks for {} s, and lock_duration_seconds is {}: messages come back while they are worked on",
                self.queue,
                found.as_secs(),
                configured.as_secs()
            ));
        }
    }

    /// A command took so many requests.
    pub(super) fn called(&mut self, kind: CommandKind, calls: u32, keyed: bool) {
        self.calls.count(kind, calls);
        if !keyed {
            self.without_key.calls.count(kind, calls);
        }
    }

    /// A command for the lock of a key took so many requests.
    pub(super) fn called_for_key(&mut self, kind: CommandKind, calls: u32) {
        self.calls.count(kind, calls);
        self.lock_keys.calls.count(kind, calls);
    }

    pub(super) fn processed(&mut self, messages: usize, steps: usize, took: Duration) {
        self.measures.called(messages, took);
        self.process_calls += 1;
        self.steps += u64::try_from(steps).unwrap_or(u64::MAX);
        self.process_milliseconds += milliseconds(took);
    }

    pub(super) fn trouble(&mut self, trouble: &Trouble) {
        if self.trouble.is_none() {
            self.trouble = Some(TroubleReport::from(trouble));
        }
    }
}

impl From<&Trouble> for TroubleReport {
    fn from(trouble: &Trouble) -> Self {
        let (kind, service, detail) = match trouble {
            Trouble::Denied(service, detail) => (TroubleKind::Refused, service, detail),
            Trouble::Unavailable(service, detail) => (TroubleKind::Unavailable, service, detail),
            Trouble::Missing(service, detail) => (TroubleKind::Missing, service, detail),
        };
        let service = match service {
            Service::ServiceBus => "service-bus",
            Service::Storage => "storage",
        };
        Self { kind, service: service.to_owned(), detail: detail.clone() }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
