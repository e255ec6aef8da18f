//! Idempotency at the door: one key stands for one payload, and a repetition is told what the first request was told.
//!
//! Opt-in, for queues with `idempotency = "record"`. Where it is off, the id of a message is all: a repetition is accepted, sent
//! again, and recognised when it is processed. The door recognises it before anything is sent, tells a client that used its key
//! for something else, and knows whose key it was.
//!
//! # The record of a key
//!
//! One empty blob for each key, `door/{3 hex}/{group}/{hash}` ([`crate::id::door_name`]). The hash covers the client's identity (the name
//! of its API key, or nobody) and the key, so that two clients never share one. It is apart from the record of the
//! message, which is made when the message is first delivered and has rules of its own. Its metadata ([`KeyRecord`]): the
//! fingerprint (SHA-256 of content type and body, [`crate::id::payload_hash`]), the message's id and queue, a state, and the mark of the last write.
//!
//! **The fingerprint never changes once the blob is there.** All else follows from that and from the id: whatever is sent
//! under a key has one payload and one id, so that sending it twice is once in effect.
//!
//! # States and writes
//!
//! | | from → to | request | then |
//! |---|---|---|---|
//! | D1 | absent → `s`, sending | `PUT`, `If-None-Match: *` | send |
//! | D2 | look | `HEAD` | the table below |
//! | D3 | `f`, or `s` that is too old → `s` | `PUT ?comp=metadata`, `If-Match` | send, under the id that stands there |
//! | D4 | `s` → `t`, sent: the broker said 201 | the same | 202 |
//! | D5 | `s` → `f`, failed: the broker did not | the same | the broker's problem |
//!
//! | a request finds | it answers |
//! |---|---|
//! | another fingerprint, in any state | 422: a key stands for one payload |
//! | `t` | 202 again with the same `Location`, and sends nothing |
//! | `s` with its own mark | nothing yet: its own create has landed though the answer was lost; it sends |
//! | `s` by another, no older than [`SENDING_AT_MOST`] | 409 with `Retry-After`: the first is being sent |
//! | `s` by another and older: its request has died | D3 |
//! | `f` | D3 at once |
//!
//! Age is `Date` less `Last-Modified`, both out of one answer of the storage server; no clock of ours decides. A request ends its
//! calls 10 s after its first; one that was frozen for longer and wakes up sends the same message under the same id.
//!
//! D4 and D5 decide nothing: a request that dies before them, or is not answered, leaves `s`, which heals at the client's next try after
//! at most [`SENDING_AT_MOST`]. So they are repeated without looking, and a refusal is as good as success. **Nobody is told
//! that nothing was sent**: of a send that failed, an earlier try may have come through, so even `f` keeps its fingerprint.
//!
//! An ambiguous D1 or D3 is looked at (the mark tells). 409 and 412 on D1 both mean "there"; 404 and 412 on D3 both mean "somebody
//! else's".
//!
//! # What it costs
//!
//! A new key: create, send, mark: 3 calls. A repetition of what was sent: create and look, 2. After a failure or a death: create,
//! look, take over, send, mark, 5.
//!
//! # How long a key is kept
//!
//! [`KEPT`] at the least, whatever its state: then nobody sends under it any more, and it may go, by `oncebus records sweep` or by a lifecycle rule
//! on the prefix `door/`. After that the key may stand for another payload here; the record of its message may still remember the
//! old one.

mod codec;
mod machine;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use machine::{Door, Event, Step, Verdict};

use crate::id::Mark;
use crate::record::ETag;
use crate::time::{UnixTime, whole_seconds_up};

/// How long a request may be sending: its calls end 10 s after the first, and server times have a resolution of 1 s.
pub const SENDING_AT_MOST: Duration = Duration::from_secs(15);

/// How long a key is kept at the least. Standard Webhooks senders repeat for up to 76 h.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// `s`: a request is sending its message, or has died over it.
    Sending,
    /// `f`: the request is over, and the broker did not say that it has the message.
    Failed,
    /// `t`: the broker has the message. Final.
    Sent,
}

/// What is known of a key, as read or to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRecord {
    /// Where it stands.
    pub state: State,
    /// SHA-256 of content type and body. Never changes.
    pub fingerprint: String,
    /// The mark of the last write: the request's, for each has but one.
    pub mark: Mark,
    /// The queue that the message goes to.
    pub queue: String,
    /// The message's id.
    pub id: String,
}

/// The record of a key as a look found it, with the storage server's times out of the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeenKey {
    /// The record.
    pub record: KeyRecord,
    /// Its version, for the next write.
    pub etag: ETag,
    /// When it was written last.
    pub last_modified: UnixTime,
    /// When the server answered.
    pub date: UnixTime,
}

/// What a request finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The key stands for another payload.
    OtherPayload,
    /// The message was sent.
    Sent,
    /// The request's own write.
    Mine,
    /// Somebody else is sending it.
    InProgress {
        /// After how many seconds it may be taken over, at the latest.
        retry_after: u64,
    },
    /// To be sent again.
    Free,
}

impl SeenKey {
    /// Decides what a request finds that has this fingerprint and this mark.
    #[must_use]
    pub fn examine(&self, fingerprint: &str, mark: &Mark) -> Finding {
        if self.record.fingerprint != fingerprint {
            return Finding::OtherPayload;
        }
        let age = self.date.since(self.last_modified);
        match self.record.state {
            State::Sent => Finding::Sent,
            State::Failed => Finding::Free,
            State::Sending if self.record.mark == *mark => Finding::Mine,
            State::Sending if age > SENDING_AT_MOST => Finding::Free,
            // One second more than the rest: only what is older than the bound is taken over.
            State::Sending => {
                let rest = whole_seconds_up(SENDING_AT_MOST.saturating_sub(age));
                Finding::InProgress { retry_after: rest.saturating_add(1) }
            }
        }
    }
}

impl KeyRecord {
    /// D1: the first request under a key.
    #[must_use]
    pub fn first(fingerprint: String, queue: String, id: String, mark: Mark) -> Self {
        Self { state: State::Sending, fingerprint, mark, queue, id }
    }

    /// D3: another request sends what this one did not.
    #[must_use]
    pub fn taken_over(&self, mark: &Mark) -> Self {
        Self { state: State::Sending, mark: mark.clone(), ..self.clone() }
    }

    /// D4 and D5: the request is over.
    #[must_use]
    pub fn ended(&self, accepted: bool) -> Self {
        Self { state: if accepted { State::Sent } else { State::Failed }, ..self.clone() }
    }
}
