//! The storage that contenders meet at.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use oncebus_azure::blob::{BlobContainer, create_container, parse_container};
use oncebus_azure::connection::StorageConnection;
use oncebus_azure::sas::blob::Permissions;
use oncebus_core::time::Instant;
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::platform::{Clock as _, Transport as _};
use oncebus_runtime::records::Records;

const CONTAINER: &str = "locks";
/// Beyond what any test moves the storage's clock.
const SAS_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Longer than any answer here takes, and shorter than anybody waits for a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A container in some storage.
pub struct Place {
    /// Clock, randomness and connections.
    pub platform: Native,
    connection: StorageConnection,
}

impl Place {
    /// The container `locks` behind a connection string, which is made.
    ///
    /// # Panics
    /// When the storage does not answer, or refuses.
    pub async fn new(connection: &str) -> Self {
        let platform = Native::new().expect("a client");
        let connection = StorageConnection::parse(connection).expect("a storage connection string");
        let request = create_container(&connection, CONTAINER, platform.wall());
        let answer = platform.send(request, PATIENCE).await.expect("an answer");
        parse_container(answer).expect("a container");
        let all = Permissions::parse("rcwd").expect("permissions in their order");
        let connection = connection.with_container_sas(CONTAINER, all, platform.wall().plus(SAS_LIFETIME));
        Self { platform, connection }
    }

    /// Records, as the queue handler has them.
    #[must_use]
    pub fn records(&self) -> Records<'_, Native> {
        Records::new(&self.platform, &self.connection, CONTAINER)
    }

    /// The container with every right that a tutorial takes.
    #[must_use]
    pub fn container(&self) -> BlobContainer {
        BlobContainer::new(&self.connection, CONTAINER, self.platform.wall(), SAS_LIFETIME)
    }

    /// When patience ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.platform.now().plus(PATIENCE)
    }

    /// Sends a request as it is.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.platform.send(request, PATIENCE).await.expect("an answer")
    }
}
