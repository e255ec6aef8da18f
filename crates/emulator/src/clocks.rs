//! Both services' clocks, and how far they were moved, kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::faults::Service;
use crate::store::{Journal, Row};

/// Moves clocks, so that a durable store knows it after a restart. Clones are the same clocks.
#[derive(Debug, Clone)]
pub(crate) struct Clocks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    broker: Clock,
    storage: Clock,
    journal: Arc<Journal>,
    /// Held while both offsets are read and written down, so that the last row is the last move.
    moving: Mutex<()>,
}

impl Clocks {
    pub(crate) fn new(broker: Clock, storage: Clock, journal: Arc<Journal>) -> Self {
        Self { inner: Arc::new(Inner { broker, storage, journal, moving: Mutex::new(()) }) }
    }

    /// Moves one clock, or both, by so many milliseconds; back when negative.
    pub(crate) fn shift(&self, which: Option<Service>, millis: i64) {
        let Inner { broker, storage, journal, moving } = &*self.inner;
        let _moving = moving.lock().unwrap_or_else(PoisonError::into_inner);
        if which != Some(Service::Blob) {
            broker.shift(millis);
        }
        if which != Some(Service::ServiceBus) {
            storage.shift(millis);
        }
        if journal.is_durable() {
            let offsets = Row::ClockOffsets { broker: broker.offset_millis(), storage: storage.offset_millis() };
            let _ticket = journal.append(vec![offsets]);
        }
    }

    /// Moves one clock, or both, forward.
    pub(crate) fn advance(&self, which: Option<Service>, by: Duration) {
        self.shift(which, i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }
}
