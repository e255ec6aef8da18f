//! Where a checkpoint is kept: in the record, or, when it is large, in a blob of its own.
//!
//! A large one is stored **before** the write that names it (T6), under a name that no other write has:
//! `{record}.cp/{epoch}-{mark}`. So whoever reads a record that names it finds it, and an attempt that was fenced in between
//! has left a blob that no record names, which hurts nobody. The components cannot delete: what no record names any more
//! is swept by an operator's tool ([`blobs_of`]).
//!
//! The record keeps the digest of the content. A blob that is missing or has another content is never taken for a checkpoint: going
//! on from an older one would repeat steps that are done.

use crate::id::{Mark, sha256_hex};

/// The most bytes of a checkpoint that fit into a record, with everything else of its 8 KB.
pub const MAX_INLINE_CHECKPOINT: usize = 4_096;

/// The most bytes of a checkpoint. Decided: what one request writes within moments, and what a batch can hold in memory.
pub const MAX_CHECKPOINT: usize = 1 << 20;

/// The last checkpoint of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Checkpoint {
    /// In the record itself: at most [`MAX_INLINE_CHECKPOINT`] bytes.
    Inline(Vec<u8>),
    /// In a blob of its own.
    Blob(Box<CheckpointBlob>),
}

/// Names a checkpoint in a blob of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CheckpointBlob {
    /// The last part of the blob's name: `{epoch}-{mark}`.
    pub suffix: String,
    /// SHA-256 of the content, in hex.
    pub digest: String,
}

impl CheckpointBlob {
    /// A blob that is to be made for this content by an attempt of this epoch.
    #[must_use]
    pub fn new(epoch: u64, mark: &Mark, content: &[u8]) -> Self {
        Self { suffix: format!("{epoch}-{mark}"), digest: sha256_hex(content) }
    }

    /// The blob's whole name.
    #[must_use]
    pub fn name(&self, record: &str) -> String {
        format!("{}{}", blobs_of(record), self.suffix)
    }

    /// Whether this is what was stored.
    #[must_use]
    pub fn is(&self, content: &[u8]) -> bool {
        sha256_hex(content) == self.digest
    }
}

/// What the names of all checkpoint blobs of a record begin with. Of these, one is in use: the one that the record names, while it
/// names one.
#[must_use]
pub fn blobs_of(record: &str) -> String {
    format!("{record}.cp/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_known_by_its_name_and_by_its_content() {
        let blob = CheckpointBlob::new(3, &Mark::parse("run-7"), b"content");
        assert_eq!(blob.name("abc/orders/abcdef"), "abc/orders/abcdef.cp/3-run-7");
        assert!(blob.is(b"content"));
        assert!(!blob.is(b"content "));
    }
}
