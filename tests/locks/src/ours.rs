//! A claim as the queue handler makes it, one call after the other, with a gate where contenders can be made to meet.

use std::time::Duration;

use oncebus_core::id::Names;
use oncebus_core::record::finding::{Arrival, Finding, examine};
use oncebus_core::record::{Author, ETag, Record, Release, Seen};
use oncebus_runtime::platform::Entropy as _;
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::records::{Created, Records, Written};

use crate::place::Place;

/// What is locked: every message here has the same payload.
const PAYLOAD: &str = "payload";

/// One worker.
pub struct Worker<'p> {
    place: &'p Place,
    records: Records<'p, Native>,
    names: Names,
    /// How long its claims hold.
    pub ttl: Duration,
    /// How much later than that a claim counts as expired.
    pub margin: Duration,
}

/// A claim that was won.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The blob.
    pub name: String,
    /// The record as it was written.
    pub record: Record,
    /// Its version.
    pub etag: ETag,
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub enum Attempt {
    /// The claim is ours.
    Won(Box<Claim>),
    /// Somebody else wrote first: the condition did not hold.
    Lost,
    /// The record said no.
    Found(Finding),
}

impl Attempt {
    /// The claim, if there is one.
    #[must_use]
    pub fn won(self) -> Option<Claim> {
        match self {
            Self::Won(claim) => Some(*claim),
            Self::Lost | Self::Found(_) => None,
        }
    }
}

impl<'p> Worker<'p> {
    /// A worker with times of its own.
    #[must_use]
    pub fn new(place: &'p Place, ttl: Duration, margin: Duration) -> Self {
        let random = (u128::from(place.platform.draw()) << 64) | u128::from(place.platform.draw());
        Self { place, records: place.records(), names: Names::new(random), ttl, margin }
    }

    /// T1, as a first delivery begins.
    ///
    /// # Panics
    /// When the storage fails.
    pub async fn create(&mut self, name: &str) -> Attempt {
        let record = Record::first(name, PAYLOAD, self.ttl, self.author());
        let created =
            self.records.create(name, &record, self.place.deadline()).await.0.expect("a storage that answers");
        match created {
            Created::New(etag) => Attempt::Won(Box::new(Claim { name: name.to_owned(), record, etag })),
            Created::Exists => Attempt::Lost,
        }
    }

    /// T2, the look.
    ///
    /// # Panics
    /// When the storage fails, or has no such record.
    pub async fn look(&self, name: &str) -> Seen {
        let seen = self.records.look(name, self.place.deadline()).await.0.expect("a storage that answers");
        seen.expect("a record")
    }

    /// What core makes of a look.
    #[must_use]
    pub fn examine(&self, seen: &Seen) -> Finding {
        examine(seen, &Arrival { payload: PAYLOAD, copy_of_epoch: None }, self.margin)
    }

    /// T5 over what was seen, if core allows it.
    ///
    /// # Panics
    /// When the storage fails.
    pub async fn take_over(&mut self, name: &str, seen: &Seen) -> Attempt {
        match self.examine(seen) {
            Finding::TakeOver { .. } => {
                let record = seen.record.take_over(self.ttl, self.author());
                self.write(name, &seen.etag, record).await.map_or(Attempt::Lost, |claim| Attempt::Won(Box::new(claim)))
            }
            found => Attempt::Found(found),
        }
    }

    /// Look and take over, as a later delivery begins.
    pub async fn claim(&mut self, name: &str) -> Attempt {
        let seen = self.look(name).await;
        self.take_over(name, &seen).await
    }

    /// T7: done.
    pub async fn finish(&mut self, claim: &Claim) -> Option<Claim> {
        let record = claim.record.finish(None, Duration::ZERO, self.author());
        self.write(&claim.name, &claim.etag, record).await
    }

    /// T8 at a deadline: given back, due at once.
    pub async fn release(&mut self, claim: &Claim) -> Option<Claim> {
        let record = claim.record.release(Release::Deadline, Duration::ZERO, self.author());
        self.write(&claim.name, &claim.etag, record).await
    }

    /// A conditional write; `None` when the condition did not hold.
    async fn write(&self, name: &str, etag: &ETag, record: Record) -> Option<Claim> {
        let written = self.records.write(name, etag, &record, self.place.deadline()).await.0;
        match written.expect("a storage that answers") {
            Written::Now(etag) => Some(Claim { name: name.to_owned(), record, etag }),
            Written::Refused => None,
        }
    }

    fn author(&mut self) -> Author {
        Author { owner: self.names.run().to_owned(), mark: self.names.fresh() }
    }
}
