//! The blob store: containers and block blobs, as a pure machine.
//!
//! No I/O, clock or randomness: `now` is handed to each operation, and ETags are made from it. What a
//! successful write must leave behind on disk gathers in [`BlobStore::take_changes`].
//!
//! Only what is asked for exists: whole-blob Put, Get, properties, metadata, Delete, and containers.
//! No leases, block lists, append or page blobs, snapshots, tags or versions.

mod conditions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use conditions::{Conditions, Tag};

use crate::time::UnixMillis;
use conditions::Version;

/// Metadata by name, in the order of the names. Names are compared in lower case, as headers are.
pub type Metadata = BTreeMap<String, String>;

/// A version of a blob or container. Opaque to clients; unique for every write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(u64);

impl ETag {
    /// As in a header, without its quotes.
    #[must_use]
    pub fn text(self) -> String {
        format!("0x{:X}", self.0)
    }

    /// As in a header.
    #[must_use]
    pub fn quoted(self) -> String {
        format!("\"0x{:X}\"", self.0)
    }
}

/// Everything about a blob but its body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlobProperties {
    /// The version.
    pub etag: ETag,
    /// The last write, metadata included; whole seconds.
    pub last_modified: UnixMillis,
    /// The first write.
    pub created: UnixMillis,
    /// Metadata.
    pub metadata: Metadata,
    /// The headers that a reader gets back (`content-type`, `content-encoding`, `cache-control`, …).
    pub headers: BTreeMap<String, String>,
}

/// A block blob.
#[derive(Debug, Clone, PartialEq)]
pub struct Blob {
    /// Everything but the body.
    pub properties: Arc<BlobProperties>,
    /// The body.
    pub body: Bytes,
}

/// A container, without its blobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerProperties {
    /// The version.
    pub etag: ETag,
    /// The last change to the container itself.
    pub last_modified: UnixMillis,
    /// Metadata.
    pub metadata: Metadata,
}

/// What a write says about the new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The version.
    pub etag: ETag,
    /// Whole seconds.
    pub last_modified: UnixMillis,
}

/// A blob to be written.
#[derive(Debug, Clone, Default)]
pub struct NewBlob {
    /// The body.
    pub body: Bytes,
    /// Replaces all metadata.
    pub metadata: Metadata,
    /// The headers that a reader gets back.
    pub headers: BTreeMap<String, String>,
}

/// Why an operation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No such container.
    #[error("the specified container does not exist")]
    ContainerNotFound,
    /// The container is there already.
    #[error("the specified container already exists")]
    ContainerExists,
    /// No such blob.
    #[error("the specified blob does not exist")]
    BlobNotFound,
    /// Create-if-absent met a blob.
    #[error("the specified blob already exists")]
    BlobExists,
    /// A condition does not hold.
    #[error("the condition specified using HTTP conditional header(s) is not met")]
    ConditionNotMet,
    /// A read found the version that the client has.
    #[error("the blob was not modified")]
    NotModified,
    /// Conditions that may not be combined.
    #[error("multiple condition headers are not supported")]
    MultipleConditions,
    /// The request names a lease, and the blob has none.
    #[error("there is currently no lease on the blob")]
    NotLeased,
    /// The right to create does not reach to overwriting.
    #[error("this request is not authorized to perform blob overwrites")]
    OverwriteNotAuthorized,
}

/// One row to write before the operation is answered.
#[derive(Debug, Clone)]
pub enum Change {
    /// A container was made or changed.
    Container {
        /// Its name.
        container: Arc<str>,
        /// Its properties.
        properties: ContainerProperties,
    },
    /// A container and its blobs are gone.
    ContainerRemoved {
        /// Its name.
        container: Arc<str>,
    },
    /// A blob was written; the body is absent when it did not change.
    Blob {
        /// Its container.
        container: Arc<str>,
        /// Its name.
        name: Arc<str>,
        /// Its properties.
        properties: Arc<BlobProperties>,
        /// Its body, when it is new.
        body: Option<Bytes>,
    },
    /// A blob is gone.
    BlobRemoved {
        /// Its container.
        container: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

#[derive(Debug)]
struct Container {
    properties: ContainerProperties,
    blobs: BTreeMap<Arc<str>, Blob>,
}

/// One account's containers.
#[derive(Debug)]
pub struct BlobStore {
    containers: BTreeMap<Arc<str>, Container>,
    last_etag: u64,
    changes: Vec<Change>,
    keep_changes: bool,
}

impl BlobStore {
    /// An empty account. `keep_changes` says whether somebody writes the rows.
    #[must_use]
    pub fn new(keep_changes: bool) -> Self {
        Self { containers: BTreeMap::new(), last_etag: 0, changes: Vec::new(), keep_changes }
    }

    /// Takes the rows that gathered since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    // ---- containers

    /// Makes a container.
    ///
    /// # Errors
    /// [`BlobError::ContainerExists`].
    pub fn create_container(&mut self, name: &str, metadata: Metadata, now: UnixMillis) -> Result<Receipt, BlobError> {
        if self.containers.contains_key(name) {
            return Err(BlobError::ContainerExists);
        }
        let name: Arc<str> = name.into();
        let receipt = self.stamp(now);
        let properties = ContainerProperties { etag: receipt.etag, last_modified: receipt.last_modified, metadata };
        self.change(|| Change::Container { container: Arc::clone(&name), properties: properties.clone() });
        self.containers.insert(name, Container { properties, blobs: BTreeMap::new() });
        Ok(receipt)
    }

    /// A container's properties.
    ///
    /// # Errors
    /// [`BlobError::ContainerNotFound`].
    pub fn container(&self, name: &str) -> Result<&ContainerProperties, BlobError> {
        self.containers.get(name).map(|c| &c.properties).ok_or(BlobError::ContainerNotFound)
    }

    /// Removes a container and its blobs.
    ///
    /// # Errors
    /// [`BlobError::ContainerNotFound`].
    pub fn delete_container(&mut self, name: &str) -> Result<(), BlobError> {
        let (container, _) = self.containers.remove_entry(name).ok_or(BlobError::ContainerNotFound)?;
        self.change(|| Change::ContainerRemoved { container });
        Ok(())
    }

    /// The containers' names.
    pub fn containers(&self) -> impl Iterator<Item = &str> {
        self.containers.keys().map(AsRef::as_ref)
    }

    // ---- blobs

    /// Writes a blob: replaces body, headers and metadata.
    ///
    /// # Errors
    /// When the container is absent or a condition does not hold; when the blob exists and the caller
    /// may only create.
    pub fn put(
        &mut self,
        container: &str,
        name: &str,
        blob: NewBlob,
        conditions: &Conditions,
        may_overwrite: bool,
        now: UnixMillis,
    ) -> Result<Receipt, BlobError> {
        let existing = self.lookup(container, name)?;
        if existing.is_some() && !may_overwrite {
            return Err(BlobError::OverwriteNotAuthorized);
        }
        conditions.allow_put(existing.map(Blob::version))?;
        let created = existing.map(|old| old.properties.created);
        let receipt = self.stamp(now);
        let properties = BlobProperties {
            etag: receipt.etag,
            last_modified: receipt.last_modified,
            created: created.unwrap_or(receipt.last_modified),
            metadata: blob.metadata,
            headers: blob.headers,
        };
        self.store(container, name, Blob { properties: Arc::new(properties), body: blob.body }, true);
        Ok(receipt)
    }

    /// Replaces a blob's metadata.
    ///
    /// # Errors
    /// When container or blob are absent or a condition does not hold.
    pub fn set_metadata(
        &mut self,
        container: &str,
        name: &str,
        metadata: Metadata,
        conditions: &Conditions,
        now: UnixMillis,
    ) -> Result<Receipt, BlobError> {
        let existing = self.lookup(container, name)?;
        conditions.allow_update(existing.map(Blob::version))?;
        let old = existing.cloned().ok_or(BlobError::BlobNotFound)?;
        let receipt = self.stamp(now);
        let properties = BlobProperties {
            etag: receipt.etag,
            last_modified: receipt.last_modified,
            metadata,
            ..BlobProperties::clone(&old.properties)
        };
        self.store(container, name, Blob { properties: Arc::new(properties), body: old.body }, false);
        Ok(receipt)
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// When container or blob are absent or a condition does not hold.
    pub fn get(&self, container: &str, name: &str, conditions: &Conditions) -> Result<&Blob, BlobError> {
        let existing = self.lookup(container, name)?;
        conditions.allow_read(existing.map(Blob::version))?;
        existing.ok_or(BlobError::BlobNotFound)
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// When container or blob are absent or a condition does not hold.
    pub fn delete(&mut self, container: &str, name: &str, conditions: &Conditions) -> Result<(), BlobError> {
        let existing = self.lookup(container, name)?;
        conditions.allow_update(existing.map(Blob::version))?;
        let removed = self.containers.get_mut(container).and_then(|c| c.blobs.remove_entry(name));
        if let Some((name, _)) = removed {
            self.change(|| Change::BlobRemoved { container: container.into(), name });
        }
        Ok(())
    }

    /// The blobs of a container whose names begin with `prefix` and are not before `marker`, in order.
    ///
    /// # Errors
    /// [`BlobError::ContainerNotFound`].
    pub fn list<'a>(
        &'a self,
        container: &str,
        prefix: &'a str,
        marker: &'a str,
    ) -> Result<impl Iterator<Item = (&'a str, &'a Blob)> + use<'a>, BlobError> {
        let container = self.containers.get(container).ok_or(BlobError::ContainerNotFound)?;
        // A marker that lies before the prefix says nothing; one beyond it leaves nothing.
        let from = (std::ops::Bound::Included(prefix.max(marker)), std::ops::Bound::Unbounded);
        let blobs = container.blobs.range::<str, _>(from).map(|(name, blob)| (name.as_ref(), blob));
        Ok(blobs.take_while(move |(name, _)| name.starts_with(prefix)))
    }

    // ---- restoring

    /// Applies a row that a store kept. A container's row comes before those of its blobs, and a blob's
    /// row carries its body.
    pub fn restore(&mut self, change: Change) {
        match change {
            Change::Container { container, properties } => {
                self.last_etag = self.last_etag.max(properties.etag.0);
                self.containers.insert(container, Container { properties, blobs: BTreeMap::new() });
            }
            Change::Blob { container, name, properties, body } => {
                self.last_etag = self.last_etag.max(properties.etag.0);
                if let Some(container) = self.containers.get_mut(&container) {
                    container.blobs.insert(name, Blob { properties, body: body.unwrap_or_default() });
                }
            }
            // A store keeps the outcome of these, not the rows themselves.
            Change::ContainerRemoved { .. } | Change::BlobRemoved { .. } => {}
        }
    }

    fn lookup(&self, container: &str, name: &str) -> Result<Option<&Blob>, BlobError> {
        let container = self.containers.get(container).ok_or(BlobError::ContainerNotFound)?;
        Ok(container.blobs.get(name))
    }

    fn store(&mut self, container: &str, name: &str, blob: Blob, body_is_new: bool) {
        let container: Arc<str> = container.into();
        let name: Arc<str> = name.into();
        self.change(|| Change::Blob {
            container: Arc::clone(&container),
            name: Arc::clone(&name),
            properties: Arc::clone(&blob.properties),
            body: body_is_new.then(|| blob.body.clone()),
        });
        if let Some(container) = self.containers.get_mut(&container) {
            container.blobs.insert(name, blob);
        }
    }

    /// A new version: the service's ETags look like the time in ticks of 100 ns since the year 1, and
    /// ours do too; two writes of one tick get neighbouring numbers.
    fn stamp(&mut self, now: UnixMillis) -> Receipt {
        const TICKS_AT_1970: u64 = 621_355_968_000_000_000;
        const TICKS_PER_MILLI: u64 = 10_000;
        let millis = u64::try_from(now.0).unwrap_or(0);
        let ticks = TICKS_AT_1970.saturating_add(millis.saturating_mul(TICKS_PER_MILLI));
        self.last_etag = ticks.max(self.last_etag + 1);
        Receipt { etag: ETag(self.last_etag), last_modified: UnixMillis(now.seconds() * 1000) }
    }

    fn change(&mut self, change: impl FnOnce() -> Change) {
        if self.keep_changes {
            self.changes.push(change());
        }
    }
}

impl Blob {
    fn version(&self) -> Version {
        Version { etag: self.properties.etag, last_modified: self.properties.last_modified }
    }
}

/// Whether a metadata name is one: an identifier as in C#.
#[must_use]
pub fn is_metadata_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a container name is one: 3 to 63 lower-case letters, digits and single dashes, none at the
/// ends; or one of the special names that begin with `$`.
#[must_use]
pub fn is_container_name(name: &str) -> bool {
    if matches!(name, "$root" | "$web" | "$logs") {
        return true;
    }
    (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
