//! What an answer of the storage service means.

#![expect(clippy::needless_pass_by_value, reason = "an answer is read once: every parse function takes it")]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, header};
use oncebus_core::time::UnixTime;

use super::error::{BlobError, is_about_container};
use super::metadata::{ETag, PREFIX};
use crate::dates::from_http_date;

/// What became of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It is ours.
    Created {
        /// The new blob's.
        etag: ETag,
    },
    /// There is one already: 409, or 412.
    Exists,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadOutcome {
    /// A blob.
    Found(Seen),
    /// None of that name.
    Missing,
}

/// A blob as a look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which version was seen.
    pub etag: ETag,
    /// `Last-Modified`: when it was written last, by the server's clock.
    pub last_modified: UnixTime,
    /// `Date`: when the server answered, by the same clock.
    pub date: UnixTime,
    /// Its metadata; names in lower case.
    pub metadata: BTreeMap<String, String>,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GetOutcome {
    /// A blob.
    Found {
        /// Which version was read.
        etag: ETag,
        /// Its content.
        body: Bytes,
    },
    /// None of that name.
    Missing,
}

/// What became of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is written.
    Written {
        /// The new version's.
        etag: ETag,
    },
    /// The condition did not hold: 412, 404 (which services answer differs where there is no blob), or 409 on a create.
    Refused,
}

/// What became of the making of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerOutcome {
    /// It is made.
    Created,
    /// It was there.
    Exists,
}

/// Reads the answer to [`BlobContainer::create`](super::BlobContainer::create).
///
/// # Errors
/// The service refused, the container does not exist, or the answer cannot be read.
pub fn parse_create(response: Response<Bytes>) -> Result<CreateOutcome, BlobError> {
    match response.status().as_u16() {
        201 => Ok(CreateOutcome::Created { etag: etag(&response)? }),
        409 if is_about_container(&response) => Err(BlobError::container_missing(&response)),
        409 | 412 => Ok(CreateOutcome::Exists),
        // A create asks for no blob: what is not found is the container.
        404 => Err(BlobError::container_missing(&response)),
        _ => Err(BlobError::read(&response)),
    }
}

/// Reads the answer to [`BlobContainer::head`](super::BlobContainer::head).
///
/// # Errors
/// The service refused, the container does not exist (where the service says so), or the answer cannot be read.
pub fn parse_head(response: Response<Bytes>) -> Result<HeadOutcome, BlobError> {
    match response.status().as_u16() {
        200 => {
            let headers = response.headers();
            Ok(HeadOutcome::Found(Seen {
                etag: etag(&response)?,
                last_modified: date(headers, &header::LAST_MODIFIED)
                    .ok_or_else(|| BlobError::malformed(&response, "no Last-Modified"))?,
                date: date(headers, &header::DATE).ok_or_else(|| BlobError::malformed(&response, "no Date"))?,
                metadata: metadata(headers),
            }))
        }
        404 if !is_about_container(&response) => Ok(HeadOutcome::Missing),
        _ => Err(BlobError::read(&response)),
    }
}

/// Reads the answer to [`BlobContainer::get`](super::BlobContainer::get).
///
/// # Errors
/// As [`parse_head`].
pub fn parse_get(response: Response<Bytes>) -> Result<GetOutcome, BlobError> {
    match response.status().as_u16() {
        200 => Ok(GetOutcome::Found { etag: etag(&response)?, body: response.into_body() }),
        404 if !is_about_container(&response) => Ok(GetOutcome::Missing),
        _ => Err(BlobError::read(&response)),
    }
}

/// Reads the answer to [`BlobContainer::set_metadata`](super::BlobContainer::set_metadata) and
/// [`BlobContainer::put`](super::BlobContainer::put).
///
/// # Errors
/// The service refused, the container does not exist (where the service says so), or the answer cannot be read.
pub fn parse_write(response: Response<Bytes>) -> Result<WriteOutcome, BlobError> {
    match response.status().as_u16() {
        200 | 201 => Ok(WriteOutcome::Written { etag: etag(&response)? }),
        404 | 409 if is_about_container(&response) => Err(BlobError::container_missing(&response)),
        404 | 409 | 412 => Ok(WriteOutcome::Refused),
        _ => Err(BlobError::read(&response)),
    }
}

/// `Date` of any answer: when the server gave it, by its own clock.
#[must_use]
pub fn answered_at<B>(response: &Response<B>) -> Option<UnixTime> {
    date(response.headers(), &header::DATE)
}

/// Reads the answer to [`create_container`](super::create_container).
///
/// # Errors
/// The service refused, or the container is still being deleted.
pub fn parse_container(response: Response<Bytes>) -> Result<ContainerOutcome, BlobError> {
    match response.status().as_u16() {
        201 => Ok(ContainerOutcome::Created),
        409 if !is_about_container(&response) => Ok(ContainerOutcome::Exists),
        _ => Err(BlobError::read(&response)),
    }
}

fn etag(response: &Response<Bytes>) -> Result<ETag, BlobError> {
    let text = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
    text.and_then(|text| ETag::parse(text).ok()).ok_or_else(|| BlobError::malformed(response, "no ETag"))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<UnixTime> {
    from_http_date(headers.get(name)?.to_str().ok()?)
}

fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let entries = headers.iter().filter_map(|(name, value)| {
        // `HeaderName` is in lower case.
        let name = name.as_str().strip_prefix(PREFIX)?;
        Some((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    entries.collect()
}
