//! The records of idempotency keys, one request each. What they mean is `oncebus_core::ingest::door`.

use oncebus_azure::blob::{self, HeadOutcome, Metadata, WriteOutcome, parse_write};
use oncebus_core::ingest::door::{KeyRecord, SeenKey};
use oncebus_core::record::ETag;
use oncebus_core::time::Instant;

use super::{Created, Records, Written, created, from_azure};
use crate::broker::Counted;
use crate::failure::Failure;
use crate::platform::Platform;

impl<P: Platform> Records<'_, P> {
    /// D1: creates the record of a key, if there is none.
    pub async fn create_key(&self, name: &str, record: &KeyRecord, deadline: Instant) -> Counted<Created> {
        let request = match metadata(record) {
            Ok(metadata) => self.container.create(name, &metadata),
            Err(failure) => return (Err(failure), 0),
        };
        let (result, tries) = self.write_once(request, deadline).await;
        (result.and_then(created), tries)
    }

    /// D2: looks at the record of a key. Nobody waits here for a busy storage: that is the client's part.
    pub async fn look_at_key(&self, name: &str, deadline: Instant) -> Counted<Option<SeenKey>> {
        let (result, tries) = self.head(name, deadline, false).await;
        let parsed = result.and_then(|outcome| match outcome {
            HeadOutcome::Missing => Ok(None),
            HeadOutcome::Found(seen) => {
                let record = KeyRecord::from_metadata(&seen.metadata);
                let record = record.map_err(|error| Failure::Refused(error.to_string()))?;
                let (last_modified, date) = (seen.last_modified, seen.date);
                Ok(Some(SeenKey { record, etag: from_azure(&seen.etag)?, last_modified, date }))
            }
        });
        (parsed, tries)
    }

    /// D3: writes the record of a key over the version that is named.
    pub async fn write_key(&self, name: &str, etag: &ETag, record: &KeyRecord, deadline: Instant) -> Counted<Written> {
        match self.over(name, etag, record) {
            Ok(request) => {
                let (result, tries) = self.write_once(request, deadline).await;
                (result.and_then(written), tries)
            }
            Err(failure) => (Err(failure), 0),
        }
    }

    /// D4 and D5: the same, and repeated when no answer comes. A repetition whose first try came through is refused, and nothing depends on
    /// that.
    pub async fn mark_key(&self, name: &str, etag: &ETag, record: &KeyRecord, deadline: Instant) -> Counted<Written> {
        match self.over(name, etag, record) {
            Ok(request) => {
                let (result, tries) = self.repeat(request, deadline, false).await;
                (result.and_then(written), tries)
            }
            Err(failure) => (Err(failure), 0),
        }
    }

    fn over(&self, name: &str, etag: &ETag, record: &KeyRecord) -> Result<http::Request<bytes::Bytes>, Failure> {
        let condition = blob::ETag::parse(etag.as_str()).map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(self.container.set_metadata(name, &condition, &metadata(record)?))
    }
}

fn metadata(record: &KeyRecord) -> Result<Metadata, Failure> {
    Metadata::from_pairs(record.to_metadata()).map_err(|error| Failure::Refused(error.to_string()))
}

fn written(response: http::Response<bytes::Bytes>) -> Result<Written, Failure> {
    match parse_write(response)? {
        WriteOutcome::Written { etag } => Ok(Written::Now(from_azure(&etag)?)),
        WriteOutcome::Refused => Ok(Written::Refused),
    }
}
