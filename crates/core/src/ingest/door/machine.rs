//! One request at the door, as a state machine: events in, the next step out.

use super::{Finding, KeyRecord, SeenKey};
use crate::record::ETag;

/// How often one request looks before it gives up. Each look follows a write that somebody else beat, or that was not answered.
const LOOKS: u8 = 3;

/// What a client is told that loses [`LOOKS`] races: ask again in a second.
const SOON: u64 = 1;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// D1: create the record, if there is none.
    Create(KeyRecord),
    /// D2.
    Look,
    /// D3: write the record over this version.
    TakeOver(ETag, KeyRecord),
    /// Send the message under this id to this queue.
    Send {
        /// The queue.
        queue: String,
        /// The id.
        id: String,
    },
    /// D4 or D5: write the record over this version, and again if no answer comes. Nothing depends on it.
    Mark(ETag, KeyRecord),
    /// Answer. There is no step after it.
    End(Verdict),
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Of a create or a takeover: it is written, and this is its version.
    Written(ETag),
    /// Of a create: there is one. Of a takeover: another version is there, or none.
    Refused,
    /// Of a create or a takeover: no answer that tells.
    Unknown,
    /// Of a look: it is there.
    Found(SeenKey),
    /// Of a look: there is none.
    Missing,
    /// Of a create, a look or a takeover: the storage refused, or cannot be reached.
    Unavailable,
    /// Of a send: the broker has the message.
    Accepted,
    /// Of a send: the broker did not say so.
    NotAccepted,
    /// Of a mark, whatever came of it.
    Marked,
}

/// What the client is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The broker has the message: sent by this request, or by an earlier one.
    Accepted {
        /// The queue that has it.
        queue: String,
        /// Its id.
        id: String,
    },
    /// The key stands for another payload.
    OtherPayload,
    /// Another request is sending it.
    InProgress {
        /// After how many seconds to ask again.
        retry_after: u64,
    },
    /// The broker did not say that it has it.
    NotAccepted,
    /// The storage does not say what is known of the key.
    Unavailable,
}

/// One request at the door.
///
/// [`Door::new`] gives the first step; each event gives the next, until [`Step::End`]. An event that does not belong to the step
/// before it ends the request with [`Verdict::Unavailable`]: nothing is accepted that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Door {
    intent: KeyRecord,
    stage: Stage,
    looks: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    Creating,
    Looking,
    TakingOver(KeyRecord),
    Sending(ETag, KeyRecord),
    Marking(Verdict),
    Over,
}

impl Door {
    /// A request that wants this record ([`KeyRecord::first`]), and its first step.
    #[must_use]
    pub fn new(intent: KeyRecord) -> (Self, Step) {
        let step = Step::Create(intent.clone());
        (Self { intent, stage: Stage::Creating, looks: 0 }, step)
    }

    /// What became of the last step, and the next one.
    pub fn on(&mut self, event: Event) -> Step {
        match (std::mem::replace(&mut self.stage, Stage::Over), event) {
            (Stage::Creating, Event::Written(etag)) => self.send(etag, self.intent.clone()),
            (Stage::TakingOver(record), Event::Written(etag)) => self.send(etag, record),
            (Stage::Creating | Stage::TakingOver(_), Event::Refused) => {
                self.look(Verdict::InProgress { retry_after: SOON })
            }
            (Stage::Creating | Stage::TakingOver(_), Event::Unknown) => self.look(Verdict::Unavailable),
            (Stage::Looking, Event::Found(seen)) => self.found(seen),
            // Nobody has written, or it was swept between two calls.
            (Stage::Looking, Event::Missing) => {
                self.stage = Stage::Creating;
                Step::Create(self.intent.clone())
            }
            (Stage::Sending(etag, record), Event::Accepted) => {
                let verdict = Verdict::Accepted { queue: record.queue.clone(), id: record.id.clone() };
                self.mark(etag, record.ended(true), verdict)
            }
            (Stage::Sending(etag, record), Event::NotAccepted) => {
                self.mark(etag, record.ended(false), Verdict::NotAccepted)
            }
            (Stage::Marking(verdict), _) => Step::End(verdict),
            _ => Step::End(Verdict::Unavailable),
        }
    }

    fn found(&mut self, seen: SeenKey) -> Step {
        match seen.examine(&self.intent.fingerprint, &self.intent.mark) {
            Finding::OtherPayload => Step::End(Verdict::OtherPayload),
            Finding::Sent => Step::End(Verdict::Accepted { queue: seen.record.queue, id: seen.record.id }),
            Finding::InProgress { retry_after } => Step::End(Verdict::InProgress { retry_after }),
            Finding::Mine => self.send(seen.etag, seen.record),
            Finding::Free => {
                let record = seen.record.taken_over(&self.intent.mark);
                self.stage = Stage::TakingOver(record.clone());
                Step::TakeOver(seen.etag, record)
            }
        }
    }

    fn look(&mut self, or_else: Verdict) -> Step {
        if self.looks == LOOKS {
            return Step::End(or_else);
        }
        self.looks += 1;
        self.stage = Stage::Looking;
        Step::Look
    }

    fn send(&mut self, etag: ETag, record: KeyRecord) -> Step {
        let (queue, id) = (record.queue.clone(), record.id.clone());
        self.stage = Stage::Sending(etag, record);
        Step::Send { queue, id }
    }

    fn mark(&mut self, etag: ETag, record: KeyRecord, verdict: Verdict) -> Step {
        self.stage = Stage::Marking(verdict);
        Step::Mark(etag, record)
    }
}
