//! The storage: one blob, conditional writes, a clock of its own; and the truth about who has written.
//!
//! Every record goes through core's codec on its way in. `Last-Modified` and `Date` are the storage's alone.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use oncebus_core::config::QueueConfig;
use oncebus_core::id::payload_hash;
use oncebus_core::record::{ETag, Record, Seen, State};
use oncebus_core::run::redrive::OWNER;
use oncebus_core::run::{Command, Reply};
use oncebus_core::time::UnixTime;

use crate::TICK;
use crate::rules::{Broken, Rule};
use crate::shared::Shared;
use crate::switch::Switch;

/// A record as it is stored.
type Metadata = BTreeMap<String, String>;

/// Which claim, counted from 1 over all that were accepted: the truth that epochs stand for.
pub(crate) type Claim = u8;

#[derive(Debug, Clone, PartialEq, Hash)]
struct Stored {
    record: Record,
    version: u32,
    /// In ticks. Not kept of a final record, whose age decides nothing unless it is swept.
    modified: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Hash)]
pub(crate) struct Storage {
    stored: Option<Shared<Stored>>,
    versions: u32,
    /// Large checkpoints.
    blobs: Shared<BTreeMap<String, Bytes>>,
    truth: Truth,
}

/// What was, whatever has become of the record since.
#[derive(Debug, Clone, Default, PartialEq, Hash)]
struct Truth {
    claims: Claim,
    epoch: u64,
    step: u32,
    done: Option<String>,
}

/// What surrounds a request to the storage.
pub(crate) struct Request<'a> {
    /// The storage's clock, in ticks.
    pub(crate) clock: u8,
    pub(crate) queue: &'a QueueConfig,
    pub(crate) switch: Option<Switch>,
    /// Whether and which claim the author has.
    pub(crate) claim: Option<Claim>,
    /// Whether the age of what is over matters: whether it is swept.
    pub(crate) swept: bool,
}

/// What came of a write.
pub(crate) struct Written {
    pub(crate) reply: Reply,
    /// The claim that it made, if it made one.
    pub(crate) claimed: Option<Claim>,
}

impl Storage {
    pub(crate) fn record(&self) -> Option<&Record> {
        self.stored.as_ref().map(|stored| &stored.record)
    }

    /// Whether the message with this body was done.
    pub(crate) fn has_done(&self, body: &Bytes) -> bool {
        self.truth.done.as_ref().is_some_and(|payload| *payload == payload_hash(None, body))
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.truth.done.is_some()
    }

    /// Whether time matters: to a claim, or to a release that is not due. The crate's page says why at no other time.
    pub(crate) fn has_an_age(&self) -> bool {
        self.record().is_some_and(|record| matches!(record.state, State::Processing | State::Released))
    }

    /// Whether this is the claim of the record as it stands.
    pub(crate) fn is_claimed_by(&self, claim: Option<Claim>) -> bool {
        let processing = self.record().is_some_and(|record| record.state == State::Processing);
        processing && claim == Some(self.truth.claims)
    }

    /// Whether a write would be accepted.
    pub(crate) fn accepts(&self, command: &Command, request: &Request<'_>) -> bool {
        match (command, &self.stored) {
            (Command::Create(_), None) => true,
            (Command::Write { record, .. }, Some(_))
                if request.switch == Some(Switch::NoIfMatchOnTakeover) && is_claim(record, request) =>
            {
                true
            }
            (Command::Write { record, .. }, Some(_))
                if request.switch == Some(Switch::NoIfMatchOnRedrive) && reopens(record) =>
            {
                true
            }
            (Command::Write { etag, .. }, Some(stored)) => Some(etag) == version(stored.version).as_ref(),
            _ => false,
        }
    }

    /// A create or a write arrives.
    pub(crate) fn write(&mut self, command: &Command, request: &Request<'_>, broken: &mut Broken) -> Written {
        let (record, refused) = match command {
            Command::Create(record) => (record, Reply::Exists),
            Command::Write { record, .. } => (record, Reply::Refused),
            _ => return Written { reply: Reply::Failed("no write".to_owned()), claimed: None },
        };
        if !self.accepts(command, request) {
            return Written { reply: refused, claimed: None };
        }
        let mut record = through_codec(record, request, broken);
        if request.switch == Some(Switch::NoEpoch) {
            record.epoch = 1;
        }
        if request.switch == Some(Switch::LostWrites) && matches!(record.state, State::Done | State::Parked) {
            return Written { reply: version(self.versions + 1).map_or(Reply::Unknown, Reply::Stored), claimed: None };
        }
        self.judge(&record, request, broken);
        let claimed = is_claim(&record, request).then(|| {
            self.truth.claims += 1;
            self.truth.claims
        });
        self.truth.epoch = self.truth.epoch.max(record.epoch);
        self.truth.step = self.truth.step.max(record.step);
        if record.state == State::Done {
            self.truth.done = Some(record.payload.clone());
        }
        self.versions += 1;
        let reply = version(self.versions).map_or(Reply::Unknown, Reply::Stored);
        let ageless = matches!(record.state, State::Done | State::Parked) && !request.swept;
        let modified = if ageless { 0 } else { request.clock };
        let deleted = request.switch == Some(Switch::DeleteOnRelease) && record.state == State::Released;
        let stored = Shared::new(Stored { record, version: self.versions, modified });
        self.stored = (!deleted).then_some(stored);
        Written { reply, claimed }
    }

    fn judge(&self, next: &Record, request: &Request<'_>, broken: &mut Broken) {
        let claims = is_claim(next, request);
        broken.unless(!self.is_done(), Rule::DoneIsFinal);
        let epoch_rises =
            if claims || reopens(next) { next.epoch > self.truth.epoch } else { next.epoch == self.truth.epoch };
        broken.unless(epoch_rises, Rule::EpochsRise);
        broken.unless(next.step >= self.truth.step, Rule::CheckpointsStay);
        let holds = match request.claim {
            Some(claim) => claim == self.truth.claims,
            // Whoever finds that the attempts are used up parks the record without a claim of its own.
            // An operator has none either.
            None => claims || next.state == State::Parked || reopens(next),
        };
        let parked = self.record().is_some_and(|record| record.state == State::Parked);
        broken.unless(parked || !reopens(next), Rule::OnlyParkedIsReopened);
        broken.unless(holds, Rule::OnlyTheHolderWrites);
        if let Some(former) = &self.stored
            && former.record.state == State::Processing
            && former.record.owner != next.owner
        {
            let age = TICK * u32::from(request.clock - former.modified);
            let expired = age > request.queue.claim_ttl + request.queue.claim_margin;
            broken.unless(expired, Rule::OnlyExpiredIsTaken);
        }
    }

    /// What a sweep judges: the record as it is listed, and its version.
    pub(crate) fn list(&self, request: &Request<'_>) -> Option<(Metadata, Duration, ETag)> {
        let stored = self.stored.as_ref()?;
        let age = TICK * u32::from(request.clock - stored.modified);
        Some((metadata_of(&stored.record), age, version(stored.version)?))
    }

    /// An operator's deletion arrives. Whether it is obeyed.
    pub(crate) fn delete(&mut self, etag: &ETag, request: &Request<'_>, broken: &mut Broken) -> bool {
        let Some(stored) = &self.stored else { return false };
        let matches = version(stored.version).as_ref() == Some(etag);
        if !matches && request.switch != Some(Switch::NoIfMatchOnSweep) {
            return false;
        }
        broken.unless(stored.record.is_over(), Rule::OnlyOverIsSwept);
        self.stored = None;
        true
    }

    /// A large checkpoint arrives.
    pub(crate) fn store(&mut self, command: &Command) -> Reply {
        let Command::Store { name, content } = command else { return Reply::Failed("no checkpoint".to_owned()) };
        if self.blobs.contains_key(name) {
            return Reply::Exists;
        }
        self.blobs.edit(|blobs| blobs.insert(name.clone(), content.clone()));
        version(1).map_or(Reply::Unknown, Reply::Stored)
    }

    pub(crate) fn load(&self, name: &str) -> Reply {
        self.blobs.get(name).cloned().map_or(Reply::Missing, Reply::Loaded)
    }

    /// A look. It tells the storage's own times.
    pub(crate) fn look(&self, request: &Request<'_>) -> Reply {
        let Some(stored) = &self.stored else { return Reply::Missing };
        let Some(etag) = version(stored.version) else { return Reply::Unknown };
        let at = |ticks: u8| UnixTime((TICK * u32::from(ticks)).as_secs());
        let fast = if request.switch == Some(Switch::ClientClock) { 3_600 } else { 0 };
        Reply::Found(Box::new(Seen {
            record: stored.record.clone(),
            etag,
            last_modified: at(stored.modified),
            date: UnixTime(at(request.clock).0 + fast),
        }))
    }
}

/// Whether a record is an author's first claim.
fn is_claim(record: &Record, request: &Request<'_>) -> bool {
    record.state == State::Processing && request.claim.is_none()
}

/// Whether a record is an operator's T10.
fn reopens(record: &Record) -> bool {
    record.state == State::Released && record.owner.starts_with(OWNER)
}

fn metadata_of(record: &Record) -> Metadata {
    record.to_metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn version(number: u32) -> Option<ETag> {
    ETag::parse(&format!("\"{number}\""))
}

/// What a record is after it was written as metadata and read again.
fn through_codec(record: &Record, request: &Request<'_>, broken: &mut Broken) -> Record {
    let mut metadata = metadata_of(record);
    if request.switch == Some(Switch::DroppedCheckpoint) {
        metadata.remove("cp");
    }
    if request.switch == Some(Switch::DroppedBlock) {
        metadata.remove("blk");
    }
    let read = Record::from_metadata(&metadata).ok();
    broken.unless(read.as_ref() == Some(record), Rule::RecordsAreReadable);
    read.unwrap_or_else(|| record.clone())
}
