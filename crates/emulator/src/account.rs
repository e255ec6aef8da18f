//! A running storage account: the blob machine, its clock and its journal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::blob::{BlobError, BlobStore};
use crate::clock::Clock;
use crate::store::{Journal, Row, StoreError};
use crate::time::UnixMillis;

/// Why an operation gave no answer of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperationError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The blob store and everything that makes it run.
#[derive(Debug)]
pub(crate) struct Account {
    store: Mutex<BlobStore>,
    clock: Clock,
    journal: Arc<Journal>,
}

impl Account {
    pub(crate) fn new(store: BlobStore, clock: Clock, journal: Arc<Journal>) -> Self {
        Self { store: Mutex::new(store), clock, journal }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Looks without changing anything.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&BlobStore) -> T) -> T {
        look(&self.lock())
    }

    /// Looks, and waits until what was seen is durable: what a client knows must not be unsaid by a crash.
    pub(crate) async fn read<T>(
        &self,
        look: impl FnOnce(&BlobStore) -> Result<T, BlobError>,
    ) -> Result<T, OperationError> {
        let (seen, ticket) = {
            let store = self.lock();
            (look(&store), self.journal.append(Vec::new()))
        };
        ticket.written().await?;
        Ok(seen?)
    }

    /// Runs an operation and waits until it is durable.
    pub(crate) async fn commit<T>(
        &self,
        operation: impl FnOnce(&mut BlobStore, UnixMillis) -> Result<T, BlobError>,
    ) -> Result<T, OperationError> {
        let (done, ticket) = {
            let mut store = self.lock();
            let done = operation(&mut store, self.clock.now());
            let rows = store.take_changes().into_iter().map(Row::Blob).collect();
            (done, self.journal.append(rows))
        };
        ticket.written().await?;
        Ok(done?)
    }

    /// Runs an operation without waiting for the disk.
    pub(crate) fn apply<T>(&self, operation: impl FnOnce(&mut BlobStore, UnixMillis) -> T) -> T {
        let mut store = self.lock();
        let done = operation(&mut store, self.clock.now());
        let _ticket = self.journal.append(store.take_changes().into_iter().map(Row::Blob).collect());
        done
    }

    /// Empties the account, and makes what `refill` makes.
    pub(crate) fn reset(&self, fresh: BlobStore, refill: impl FnOnce(&mut BlobStore, UnixMillis)) {
        let mut store = self.lock();
        *store = fresh;
        refill(&mut store, self.clock.now());
        let rows = store.take_changes().into_iter().map(Row::Blob);
        let _ticket = self.journal.append([Row::BlobReset].into_iter().chain(rows).collect());
    }

    fn lock(&self) -> MutexGuard<'_, BlobStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
