//! The records in Blob Storage, and the large checkpoints beside them: one request each, and what it says.
//!
//! Nothing here decides. A write whose fate is unknown is reported as [`Failure::Ambiguous`] for the record protocol
//! to look into.

mod door;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use oncebus_azure::blob::listing::{DeleteOutcome, parse_delete};
use oncebus_azure::blob::{
    self, BlobContainer, Condition, CreateOutcome, GetOutcome, HeadOutcome, Metadata, WriteOutcome, parse_create,
    parse_get, parse_head, parse_write,
};
use oncebus_azure::connection::StorageConnection;
use oncebus_azure::sas::blob::Permissions;
use oncebus_core::record::{ETag, Record, Seen};
use oncebus_core::time::Instant;

use crate::broker::Counted;
use crate::calls::{Bounds, Called, Repeat, call};
use crate::failure::Failure;
use crate::platform::Platform;

/// The longest that one request may take.
const EACH: Duration = Duration::from_secs(10);

/// The content type of a checkpoint: its bytes are the processor's own affair.
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// How long a SAS that is signed here is good for: an hour more than any run or request takes, for a clock of ours that is
/// an hour slow signs what is an hour old.
const SAS_LIFETIME: Duration = Duration::from_secs(2 * 3_600);

/// A name that no record has: looking at it tells whether the storage answers and takes our SAS.
const PROBE: &str = "probe";

/// The container of the records.
#[derive(Debug)]
pub struct Records<'p, P> {
    platform: &'p P,
    container: BlobContainer,
}

/// What a create found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The record is ours.
    New(ETag),
    /// It was there.
    Exists,
}

/// What a conditional write found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The record is written; this is its version now.
    Now(ETag),
    /// Another version is there, or none.
    Refused,
}

impl<'p, P: Platform> Records<'p, P> {
    /// The records behind a connection string, in this container.
    #[must_use]
    pub fn new(platform: &'p P, connection: &StorageConnection, container: &str) -> Self {
        Self { platform, container: BlobContainer::new(connection, container, platform.wall(), SAS_LIFETIME) }
    }

    /// The same with the right to delete, for a queue that keeps no records of what is done.
    #[must_use]
    pub fn that_may_delete(platform: &'p P, connection: &StorageConnection, container: &str) -> Self {
        let expires = platform.wall().plus(SAS_LIFETIME);
        let container = BlobContainer::with_permissions(connection, container, Permissions::RECORDS_DELETED, expires);
        Self { platform, container }
    }

    /// Whether the storage answers and takes our SAS.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn probe(&self, deadline: Instant) -> Result<(), Failure> {
        let (result, _) = self.head(PROBE, deadline, true).await;
        result.map(|_| ())
    }

    /// Creates a record, if there is none.
    pub async fn create(&self, name: &str, record: &Record, deadline: Instant) -> Counted<Created> {
        let request = match metadata(record) {
            Ok(metadata) => self.container.create(name, &metadata),
            Err(failure) => return (Err(failure), 0),
        };
        let (result, tries) = self.write_once(request, deadline).await;
        (result.and_then(created), tries)
    }

    /// Stores a blob under a name that nobody else uses. Repeated: what is there is what was to be stored.
    pub async fn store(&self, name: &str, content: Bytes, deadline: Instant) -> Counted<Created> {
        let request = self.container.put(name, content, &OCTETS, &Condition::IfAbsent);
        let (result, tries) = self.repeat(request, deadline, true).await;
        (result.and_then(created), tries)
    }

    /// Reads a blob.
    pub async fn load(&self, name: &str, deadline: Instant) -> Counted<Option<Bytes>> {
        let (result, tries) = self.repeat(self.container.get(name), deadline, true).await;
        let parsed = result.and_then(|response| Ok(parse_get(response)?));
        let parsed = parsed.map(|outcome| match outcome {
            GetOutcome::Found { body, .. } => Some(body),
            GetOutcome::Missing => None,
        });
        (parsed, tries)
    }

    /// Writes a record over the version that is named.
    pub async fn write(&self, name: &str, etag: &ETag, record: &Record, deadline: Instant) -> Counted<Written> {
        let condition = blob::ETag::parse(etag.as_str()).map_err(|error| Failure::Refused(error.to_string()));
        let request = match metadata(record).and_then(|metadata| Ok((condition?, metadata))) {
            Ok((condition, metadata)) => self.container.set_metadata(name, &condition, &metadata),
            Err(failure) => return (Err(failure), 0),
        };
        let (result, tries) = self.write_once(request, deadline).await;
        let parsed = result.and_then(|response| Ok(parse_write(response)?)).and_then(|outcome| match outcome {
            WriteOutcome::Written { etag } => Ok(Written::Now(from_azure(&etag)?)),
            WriteOutcome::Refused => Ok(Written::Refused),
        });
        (parsed, tries)
    }

    /// Looks at a record.
    pub async fn look(&self, name: &str, deadline: Instant) -> Counted<Option<Seen>> {
        let (result, tries) = self.head(name, deadline, true).await;
        let parsed = result.and_then(|outcome| match outcome {
            HeadOutcome::Missing => Ok(None),
            HeadOutcome::Found(seen) => {
                let record = Record::from_metadata(&seen.metadata).map_err(|error| Failure::Refused(error.to_string()));
                let (last_modified, date) = (seen.last_modified, seen.date);
                Ok(Some(Seen { record: record?, etag: from_azure(&seen.etag)?, last_modified, date }))
            }
        });
        (parsed, tries)
    }

    /// Deletes the version that is named. Repeated: a repetition whose first try came through is refused.
    pub async fn delete(&self, name: &str, etag: &ETag, deadline: Instant) -> Counted<DeleteOutcome> {
        let condition = match blob::ETag::parse(etag.as_str()) {
            Ok(condition) => condition,
            Err(error) => return (Err(Failure::Refused(error.to_string())), 0),
        };
        let (result, tries) = self.repeat(self.container.delete(name, &condition), deadline, true).await;
        (result.and_then(|response| Ok(parse_delete(response)?)), tries)
    }

    /// Deletes a blob, whatever version it is. Repeated: what is gone is gone.
    pub async fn discard(&self, name: &str, deadline: Instant) -> Counted<()> {
        let (result, tries) = self.repeat(self.container.discard(name), deadline, true).await;
        (result.and_then(|response| Ok(parse_delete(response).map(|_| ())?)), tries)
    }

    async fn head(&self, name: &str, deadline: Instant, wait_when_throttled: bool) -> Counted<HeadOutcome> {
        let (result, tries) = self.repeat(self.container.head(name), deadline, wait_when_throttled).await;
        (result.and_then(|response| Ok(parse_head(response)?)), tries)
    }

    /// What may be done more than once.
    async fn repeat(
        &self,
        request: Request<Bytes>,
        deadline: Instant,
        wait_when_throttled: bool,
    ) -> Counted<http::Response<Bytes>> {
        let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled };
        let Called { result, tries, .. } = call(self.platform, request, bounds).await;
        (result.map_err(Failure::from), tries)
    }

    async fn write_once(&self, request: Request<Bytes>, deadline: Instant) -> Counted<http::Response<Bytes>> {
        let bounds = Bounds { repeat: Repeat::IfNotSent, each: EACH, deadline, wait_when_throttled: false };
        let Called { result, tries, .. } = call(self.platform, request, bounds).await;
        (result.map_err(Failure::from), tries)
    }
}

fn metadata(record: &Record) -> Result<Metadata, Failure> {
    Metadata::from_pairs(record.to_metadata()).map_err(|error| Failure::Refused(error.to_string()))
}

fn created(response: http::Response<Bytes>) -> Result<Created, Failure> {
    match parse_create(response)? {
        CreateOutcome::Created { etag } => Ok(Created::New(from_azure(&etag)?)),
        CreateOutcome::Exists => Ok(Created::Exists),
    }
}

/// The parser has made sure that it is not empty; the core insists on seeing that for itself.
fn from_azure(etag: &blob::ETag) -> Result<ETag, Failure> {
    ETag::parse(etag.as_str()).ok_or_else(|| Failure::Ambiguous("an empty ETag".to_owned()))
}
