//! Conditional requests: what `If-Match` and its relatives ask, and when they hold.
//!
//! A condition on an absent blob is 404 for a read and 412 for a write. The first is reported of the live
//! service, the second measured with Azurite 3.37 and not known of the service: a client that is right
//! maps both to the same thing.

use super::{BlobError, ETag};
use crate::time::UnixMillis;

/// What an ETag condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// `*`: any version.
    Any,
    /// This version. Compared without quotes, which some clients leave out.
    Is(String),
}

/// The conditions of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<Tag>,
    /// `If-None-Match`.
    pub if_none_match: Option<Tag>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<UnixMillis>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<UnixMillis>,
    /// Whether the request names a lease. There are none here, so that no blob has it.
    pub names_lease: bool,
}

impl Tag {
    /// Reads a header; an empty one is no condition at all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "" => None,
            "*" => Some(Self::Any),
            tag => Some(Self::Is(tag.trim_matches('"').to_owned())),
        }
    }

    fn names(&self, etag: ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Is(tag) => *tag == etag.text(),
        }
    }
}

/// The blob as far as conditions are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub(super) etag: ETag,
    pub(super) last_modified: UnixMillis,
}

impl Conditions {
    /// Only one condition, or one of the pairs that the service allows.
    fn check_pairs(&self) -> Result<(), BlobError> {
        let tags = self.if_match.is_some() && self.if_none_match.is_some();
        let times = self.if_modified_since.is_some() && self.if_unmodified_since.is_some();
        if tags || times { Err(BlobError::MultipleConditions) } else { Ok(()) }
    }

    /// A lease is looked at before the conditions.
    fn check_lease(&self) -> Result<(), BlobError> {
        if self.names_lease { Err(BlobError::NotLeased) } else { Ok(()) }
    }

    /// For a write that makes the blob when it is absent (Put Blob).
    pub(super) fn allow_put(&self, existing: Option<Version>) -> Result<(), BlobError> {
        self.check_pairs()?;
        match existing {
            None if self.if_match.is_some() => Err(BlobError::ConditionNotMet),
            None => Ok(()),
            Some(_) if self.names_lease => Err(BlobError::NotLeased),
            Some(_) if self.if_none_match == Some(Tag::Any) => Err(BlobError::BlobExists),
            Some(version) => self.allow_change(version),
        }
    }

    /// For a write to a blob that must exist (Set Metadata, Delete).
    pub(super) fn allow_update(&self, existing: Option<Version>) -> Result<Version, BlobError> {
        self.check_pairs()?;
        let Some(version) = existing else {
            return Err(if self.if_match.is_some() { BlobError::ConditionNotMet } else { BlobError::BlobNotFound });
        };
        self.check_lease()?;
        self.allow_change(version)?;
        Ok(version)
    }

    /// For a read.
    pub(super) fn allow_read(&self, existing: Option<Version>) -> Result<(), BlobError> {
        self.check_pairs()?;
        let version = existing.ok_or(BlobError::BlobNotFound)?;
        self.check_lease()?;
        if self.if_match.as_ref().is_some_and(|tag| !tag.names(version.etag)) {
            return Err(BlobError::ConditionNotMet);
        }
        if self.if_unmodified_since.is_some_and(|since| version.last_modified > since) {
            return Err(BlobError::ConditionNotMet);
        }
        let same = self.if_none_match.as_ref().is_some_and(|tag| tag.names(version.etag));
        let old = self.if_modified_since.is_some_and(|since| version.last_modified <= since);
        if same || old { Err(BlobError::NotModified) } else { Ok(()) }
    }

    fn allow_change(&self, version: Version) -> Result<(), BlobError> {
        let wrong = self.if_match.as_ref().is_some_and(|tag| !tag.names(version.etag))
            // `If-None-Match: *` protects a create only; on any other write it is ignored.
            || self.if_none_match.as_ref().is_some_and(|tag| *tag != Tag::Any && tag.names(version.etag))
            || self.if_modified_since.is_some_and(|since| version.last_modified <= since)
            || self.if_unmodified_since.is_some_and(|since| version.last_modified > since);
        if wrong { Err(BlobError::ConditionNotMet) } else { Ok(()) }
    }
}
