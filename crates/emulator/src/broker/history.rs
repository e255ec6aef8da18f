//! The message ids that an entity with duplicate detection remembers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::time::UnixMillis;

/// Message ids, each until its window ends.
#[derive(Debug, Default)]
pub(super) struct History {
    until: HashMap<Arc<str>, UnixMillis>,
    order: BTreeSet<(UnixMillis, Arc<str>)>,
}

impl History {
    /// Whether this id was seen within its window. Call [`Self::forget`] first.
    pub(super) fn contains(&self, message_id: &str) -> bool {
        self.until.contains_key(message_id)
    }

    pub(super) fn remember(&mut self, message_id: Arc<str>, until: UnixMillis) {
        if let Some(old) = self.until.insert(Arc::clone(&message_id), until) {
            self.order.remove(&(old, Arc::clone(&message_id)));
        }
        self.order.insert((until, message_id));
    }

    /// Drops the ids whose window has ended by `now`; says whether there were any.
    pub(super) fn forget(&mut self, now: UnixMillis) -> bool {
        let mut any = false;
        while self.order.first().is_some_and(|(until, _)| *until <= now)
            && let Some((_, id)) = self.order.pop_first()
        {
            self.until.remove(&id);
            any = true;
        }
        any
    }
}
