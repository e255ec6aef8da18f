//! Which entity time will change next, in logarithmic time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::time::UnixMillis;

/// The next event of each entity that has one.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    order: BTreeSet<(UnixMillis, Arc<str>)>,
    by_key: HashMap<Arc<str>, UnixMillis>,
}

impl Agenda {
    /// Notes when an entity's next event is, if there is one.
    pub(super) fn set(&mut self, key: &Arc<str>, at: Option<UnixMillis>) {
        let old = self.by_key.get(key).copied();
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.order.remove(&(old, Arc::clone(key)));
        }
        match at {
            Some(at) => {
                self.order.insert((at, Arc::clone(key)));
                self.by_key.insert(Arc::clone(key), at);
            }
            None => {
                self.by_key.remove(key);
            }
        }
    }

    /// The earliest event; of simultaneous ones, that of the first key.
    pub(super) fn first(&self) -> Option<(UnixMillis, &Arc<str>)> {
        self.order.first().map(|(at, key)| (*at, key))
    }
}
