//! How often each operation was called.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::faults::Service;

/// Counts by operation. A receive that found nothing counts apart: `service-bus.peek-lock-empty`.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Calls {
    pub(crate) fn count(&self, service: Service, operation: &'static str) {
        *self.lock().entry((service.name(), operation)).or_default() += 1;
    }

    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        self.lock().iter().map(|((service, operation), n)| (format!("{service}.{operation}"), *n)).collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, &'static str), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
