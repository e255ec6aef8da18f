//! The backlog in Blob Storage: read by ingest, written by the pump. [`oncebus_core::ingest::routing::backlog`] says what it is.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};
use oncebus_azure::blob::{
    BlobContainer, Condition, ETag, GetOutcome, WriteOutcome, answered_at, parse_get, parse_write,
};
use oncebus_azure::connection::StorageConnection;
use oncebus_core::ingest::routing::backlog::{BLOB, Backlog, BacklogError};
use oncebus_core::time::{Instant, UnixTime};

use crate::calls::{Bounds, Called, Repeat, call};
use crate::failure::Failure;
use crate::platform::Platform;

/// How long a SAS that is signed here is good for; a new one is signed for each value of [`Backlogs`].
const SAS_LIFETIME: Duration = Duration::from_secs(2 * 3_600);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The blob, behind a connection. Short-lived: its SAS ends.
#[derive(Debug)]
pub struct Backlogs<'p, P> {
    platform: &'p P,
    container: BlobContainer,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The blob's content and its version; `None`: there is none.
    pub blob: Option<(Result<Backlog, BacklogError>, ETag)>,
    /// The storage server's time.
    pub date: UnixTime,
}

impl<'p, P: Platform> Backlogs<'p, P> {
    /// The blob of a container.
    #[must_use]
    pub fn new(platform: &'p P, connection: &StorageConnection, container: &str) -> Self {
        Self { platform, container: BlobContainer::new(connection, container, platform.wall(), SAS_LIFETIME) }
    }

    /// Reads it, once.
    ///
    /// # Errors
    /// The storage does not say.
    pub async fn read(&self, deadline: Instant) -> Result<Found, Failure> {
        let response = self.once(self.container.get(BLOB), deadline).await?;
        let date = answered_at(&response);
        let blob = match parse_get(response)? {
            GetOutcome::Found { etag, body } => Some((Backlog::parse(&body), etag)),
            GetOutcome::Missing => None,
        };
        let date = date.ok_or_else(|| Failure::Refused("the answer has no Date".to_owned()))?;
        Ok(Found { blob, date })
    }

    /// Writes it over the version that was read, or where there was none; whether that was still so.
    ///
    /// # Errors
    /// The storage does not say what became of it. What is there is somebody's backlog in any case.
    pub async fn write(&self, backlog: &Backlog, over: Option<&ETag>, deadline: Instant) -> Result<bool, Failure> {
        let content = backlog.to_bytes().map_err(|error| Failure::Refused(error.to_string()))?;
        let condition = over.map_or(Condition::IfAbsent, |etag| Condition::IfMatch(etag.clone()));
        let request = self.container.put(BLOB, content.into(), &JSON, &condition);
        Ok(matches!(parse_write(self.once(request, deadline).await?)?, WriteOutcome::Written { .. }))
    }

    async fn once(&self, request: http::Request<Bytes>, deadline: Instant) -> Result<Response<Bytes>, Failure> {
        let each = self.platform.now().until(deadline);
        let bounds = Bounds { repeat: Repeat::IfNotSent, each, deadline, wait_when_throttled: false };
        let Called { result, .. } = call(self.platform, request, bounds).await;
        Ok(result?)
    }
}
