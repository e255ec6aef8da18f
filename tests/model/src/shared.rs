//! Parts of a state that most transitions leave as they are.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A value that is cheap to clone and to hash: its digest is taken once, when it is made. The checker clones and hashes a
/// state for every transition, and a transition changes one or two parts.
///
/// The digest has 64 bits, as has the fingerprint by which the checker knows a state.
#[derive(Debug, Clone)]
pub(crate) struct Shared<T> {
    value: Arc<T>,
    digest: u64,
}

impl<T: Hash> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        // Always the same keys: a path that was found is walked again by its hashes.
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self { digest: hasher.finish(), value: Arc::new(value) }
    }

    /// For an order of equals that does not depend on who came first.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }
}

impl<T: Hash> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Hash + Clone> Shared<T> {
    pub(crate) fn edit<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = T::clone(&self.value);
        let result = change(&mut value);
        *self = Self::new(value);
        result
    }
}

impl<T: Hash + Default> Default for Shared<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && (Arc::ptr_eq(&self.value, &other.value) || self.value == other.value)
    }
}
