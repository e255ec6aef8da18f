//! The container as an operator sees it: page by page, and with the right to delete.
//!
//! Apart from [`Records`](crate::records::Records), whose SAS neither lists nor, but for queues with `release = "delete"`, deletes. A SAS is
//! signed for each request, if there is a key to sign with: going through a container may take longer than any SAS lives.

use std::time::Duration;

use http::Request;
use oncebus_azure::blob::listing::{DeleteOutcome, LARGEST_PAGE, Page, parse_delete, parse_page};
use oncebus_azure::blob::{BlobContainer, ETag};
use oncebus_azure::connection::StorageConnection;
use oncebus_azure::sas::blob::Permissions;
use oncebus_core::time::Instant;

use crate::broker::Counted;
use crate::calls::{Bounds, Called, Repeat, call};
use crate::failure::Failure;
use crate::platform::Platform;

/// The longest that one request may take: a full page with metadata may be some 10 MB.
const EACH: Duration = Duration::from_secs(30);
const SAS_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// A container, with the rights to list and to delete.
#[derive(Debug)]
pub struct Inventory<'p, P> {
    platform: &'p P,
    connection: &'p StorageConnection,
    container: &'p str,
}

impl<'p, P: Platform> Inventory<'p, P> {
    /// The container behind a connection string.
    #[must_use]
    pub const fn new(platform: &'p P, connection: &'p StorageConnection, container: &'p str) -> Self {
        Self { platform, connection, container }
    }

    /// A page of what there is, from the beginning or from where the page before left off.
    pub async fn page(&self, prefix: &str, marker: Option<&str>, deadline: Instant) -> Counted<Page> {
        let (result, tries) = self.ask(self.container().list(prefix, marker, LARGEST_PAGE), deadline).await;
        (result.and_then(|response| Ok(parse_page(response)?)), tries)
    }

    /// Deletes the version that was listed. Repeated when the answer is lost; a repetition whose first try came through
    /// is refused.
    pub async fn delete(&self, name: &str, etag: &ETag, deadline: Instant) -> Counted<DeleteOutcome> {
        let (result, tries) = self.ask(self.container().delete(name, etag), deadline).await;
        (result.and_then(|response| Ok(parse_delete(response)?)), tries)
    }

    fn container(&self) -> BlobContainer {
        let expires = self.platform.wall().plus(SAS_LIFETIME);
        BlobContainer::with_permissions(self.connection, self.container, Permissions::SWEEP, expires)
    }

    async fn ask(&self, request: Request<bytes::Bytes>, deadline: Instant) -> Counted<http::Response<bytes::Bytes>> {
        let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled: true };
        let Called { result, tries, .. } = call(self.platform, request, bounds).await;
        (result.map_err(Failure::from), tries)
    }
}
