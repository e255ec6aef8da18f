//! What a race runs against.
//!
//! Both are raced for with the same code. What differs is how a claim runs out: the emulator's clock is moved past claims as long as real
//! ones, and on Azurite claims are short and everybody waits.

use std::time::Duration;

use oncebus_core::record::finding::Finding;
use oncebus_emulator::{Emulator, Options};
use oncebus_runtime::platform::Clock as _;
use oncebus_third_party::Azurite;

use crate::ours::Worker;
use crate::place::Place;

/// Between two looks at a claim that has not run out yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Of the storage's clock: a claim may seem so much younger, or older, than it is.
const RESOLUTION: Duration = Duration::from_secs(1);

/// A storage, and how long claims hold there.
pub struct Target {
    storage: Storage,
    /// The container.
    pub place: Place,
    ttl: Duration,
    margin: Duration,
}

enum Storage {
    Emulator(Box<Emulator>),
    Azurite(#[expect(dead_code, reason = "ends when it is dropped")] Azurite),
}

impl Target {
    /// The emulator, in this process.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn emulator() -> Self {
        let emulator = Emulator::start(Options::default()).await.expect("the emulator starts");
        let place = Place::new(&emulator.storage_connection_string()).await;
        let (ttl, margin) = (Duration::from_secs(45), Duration::from_secs(5));
        Self { storage: Storage::Emulator(Box::new(emulator)), place, ttl, margin }
    }

    /// Azurite; none when it is to be left out.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn azurite() -> Option<Self> {
        let azurite = Azurite::start()?;
        let place = Place::new(&azurite.connection_string()).await;
        let (ttl, margin) = (Duration::from_secs(1), Duration::from_secs(1));
        Some(Self { storage: Storage::Azurite(azurite), place, ttl, margin })
    }

    /// A worker whose claims hold as long as all claims here.
    #[must_use]
    pub fn worker(&self) -> Worker<'_> {
        Worker::new(&self.place, self.ttl, self.margin)
    }

    /// Nearly lets claims run out, where time can be moved.
    pub fn let_claims_age(&self) {
        if let Storage::Emulator(emulator) = &self.storage {
            emulator.admin().advance_storage_clock(self.ttl + self.margin - 2 * RESOLUTION);
        }
    }

    /// Returns when the claims on these records, made just now, have run out by the storage's clock.
    ///
    /// # Panics
    /// When one never does.
    pub async fn let_claims_expire(&self, names: &[&str]) {
        if let Storage::Emulator(emulator) = &self.storage {
            emulator.admin().advance_storage_clock(self.ttl + self.margin + 2 * RESOLUTION);
        }
        let (worker, deadline) = (self.worker(), self.place.deadline());
        for name in names {
            while let Finding::Busy { remaining, .. } = worker.examine(&worker.look(name).await) {
                assert!(self.place.platform.now() < deadline, "{name} is held for {remaining:?} more");
                self.place.platform.sleep(LOOK_AGAIN).await;
            }
        }
    }
}
