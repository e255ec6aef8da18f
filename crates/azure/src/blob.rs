//! Blob Storage over REST: the few operations that records, checkpoints and claim checks need, with their conditions.
//!
//! A [`BlobContainer`] holds an address and one SAS for everything in a container, and builds requests; `parse_…` reads
//! what came back into an outcome that says what it means. A condition that did not hold is an outcome; a refused token
//! is an error of its own and never looks like one.
//!
//! The SAS that is signed by [`BlobContainer::new`] neither lists nor deletes: a record that is deleted while its message may
//! still come back is forgotten work. Operators' tools ask for more with [`BlobContainer::with_permissions`] ([`listing`]).

mod error;
pub mod listing;
mod metadata;
mod outcome;

use std::time::Duration;

use bytes::Bytes;
pub use error::{BlobError, BlobErrorKind};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
pub use metadata::{ETag, InvalidETag, Metadata, MetadataError};
use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;
pub use outcome::{
    ContainerOutcome, CreateOutcome, GetOutcome, HeadOutcome, Seen, WriteOutcome, answered_at, parse_container,
    parse_create, parse_get, parse_head, parse_write,
};

use crate::connection::{StorageConnection, StorageCredential};
use crate::dates::to_http_date;
use crate::sas::blob::Permissions;
use crate::sas::{blob as sas, hmac_base64};
use crate::wire::{self, encode_path, sensitive};

/// The version of the service that is spoken, and of the SAS that is signed: known to both Azure and Azurite 3.37.
pub const VERSION: &str = "2023-11-03";

const X_MS_VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const X_MS_DATE: HeaderName = HeaderName::from_static("x-ms-date");
const X_MS_BLOB_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-type");
const X_MS_BLOB_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-content-type");

/// Builds requests to one container, all with the same SAS.
///
/// A SAS ends ([`sas_expires_at`](Self::sas_expires_at)); make a new value before it does. It stands in the URI of each
/// request: log requests with [`describe`](crate::describe).
#[derive(Debug, Clone)]
pub struct BlobContainer {
    /// The address of the container, without a trailing `/`.
    base: String,
    sas: Secret,
}

/// When a blob may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Only where there is none.
    IfAbsent,
    /// Only while it is as it was when this ETag was seen.
    IfMatch(ETag),
    /// Whatever is there.
    Always,
}

impl BlobContainer {
    /// Takes the connection's ready-made SAS; with an account key, signs one for the container that may read, create and write.
    #[must_use]
    pub fn new(connection: &StorageConnection, container: &str, now: UnixTime, sas_lifetime: Duration) -> Self {
        Self::with_permissions(connection, container, Permissions::RECORDS, now.plus(sas_lifetime))
    }

    /// The same with other rights, for as far as there is a key to sign with.
    #[must_use]
    pub fn with_permissions(
        connection: &StorageConnection,
        container: &str,
        permissions: Permissions,
        expires: UnixTime,
    ) -> Self {
        let narrow = connection.with_container_sas(container, permissions, expires);
        let sas = match narrow.credential() {
            StorageCredential::Sas(query) => query.clone(),
            // `with_container_sas` leaves no key; an empty SAS would be refused, loudly.
            StorageCredential::Key { .. } => Secret::new(""),
        };
        Self { base: format!("{}/{}", connection.endpoint(), encode_path(container)), sas }
    }

    /// When the SAS ends; `None` where a stored access policy holds the end.
    #[must_use]
    pub fn sas_expires_at(&self) -> Option<UnixTime> {
        sas::expires_at(&self.sas)
    }

    /// Creates an empty blob with metadata, unless there is one. Read the answer with [`parse_create`].
    #[must_use]
    pub fn create(&self, name: &str, metadata: &Metadata) -> Request<Bytes> {
        let mut headers = headers();
        headers.insert(X_MS_BLOB_TYPE, HeaderValue::from_static("BlockBlob"));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        metadata.write(&mut headers);
        wire::request(Method::PUT, &self.uri(name, None), headers, Bytes::new())
    }

    /// Writes a blob whole; metadata it had is gone. Read the answer with [`parse_write`], or with [`parse_create`] under
    /// [`Condition::IfAbsent`].
    #[must_use]
    pub fn put(&self, name: &str, body: Bytes, content_type: &HeaderValue, condition: &Condition) -> Request<Bytes> {
        let mut headers = headers();
        headers.insert(X_MS_BLOB_TYPE, HeaderValue::from_static("BlockBlob"));
        headers.insert(X_MS_BLOB_CONTENT_TYPE, content_type.clone());
        match condition {
            Condition::IfAbsent => drop(headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"))),
            Condition::IfMatch(etag) => drop(headers.insert(header::IF_MATCH, etag.as_header().clone())),
            Condition::Always => {}
        }
        wire::request(Method::PUT, &self.uri(name, None), headers, body)
    }

    /// Asks for a blob's metadata, and when it changed last by the server's clock. Read the answer with [`parse_head`].
    #[must_use]
    pub fn head(&self, name: &str) -> Request<Bytes> {
        wire::request(Method::HEAD, &self.uri(name, None), headers(), Bytes::new())
    }

    /// Asks for a blob's content. Read the answer with [`parse_get`].
    #[must_use]
    pub fn get(&self, name: &str) -> Request<Bytes> {
        wire::request(Method::GET, &self.uri(name, None), headers(), Bytes::new())
    }

    /// Replaces all metadata of a blob, if it is as it was when this ETag was seen. Moves its `Last-Modified`. Read the
    /// answer with [`parse_write`].
    #[must_use]
    pub fn set_metadata(&self, name: &str, etag: &ETag, metadata: &Metadata) -> Request<Bytes> {
        let mut headers = headers();
        headers.insert(header::IF_MATCH, etag.as_header().clone());
        metadata.write(&mut headers);
        wire::request(Method::PUT, &self.uri(name, Some("comp=metadata")), headers, Bytes::new())
    }

    fn uri(&self, name: &str, query: Option<&str>) -> String {
        let separator = if query.is_some() { "&" } else { "" };
        format!("{}/{}?{}{separator}{}", self.base, encode_path(name), query.unwrap_or_default(), self.sas.expose())
    }
}

/// Asks for a container to be made. Read the answer with [`parse_container`].
///
/// With an account key the request is signed for `now` (the service refuses one that is 15 minutes off). A ready-made SAS
/// is sent as it is, and must be an account's: a container's cannot make the container.
#[must_use]
pub fn create_container(connection: &StorageConnection, container: &str, now: UnixTime) -> Request<Bytes> {
    let mut headers = headers();
    let uri = format!("{}/{}?restype=container", connection.endpoint(), encode_path(container));
    match connection.credential() {
        StorageCredential::Sas(query) => {
            wire::request(Method::PUT, &format!("{uri}&{}", query.expose()), headers, Bytes::new())
        }
        StorageCredential::Key { account, key } => {
            let date = to_http_date(now);
            let path =
                uri.strip_prefix(connection.origin()).and_then(|path| path.split('?').next()).unwrap_or_default();
            let signature = hmac_base64(key.bytes(), &create_container_string_to_sign(account, path, &date));
            #[expect(clippy::expect_used, reason = "a date, a checked account name and base64 are printable ASCII")]
            let header = |text: &str| HeaderValue::from_str(text).expect("printable ASCII");
            headers.insert(X_MS_DATE, header(&date));
            headers.insert(header::AUTHORIZATION, sensitive(header(&format!("SharedKey {account}:{signature}"))));
            wire::request(Method::PUT, &uri, headers, Bytes::new())
        }
    }
}

/// What the account key signs of that request: the method, eleven standard headers (all absent; a length of 0 counts as
/// absent), the `x-ms-` headers, the path behind the account, the query.
fn create_container_string_to_sign(account: &str, path: &str, date: &str) -> String {
    let standard_headers = "\n".repeat(11);
    format!("PUT\n{standard_headers}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{account}{path}\nrestype:container")
}

fn headers() -> HeaderMap {
    HeaderMap::from_iter([(X_MS_VERSION, HeaderValue::from_static(VERSION))])
}
