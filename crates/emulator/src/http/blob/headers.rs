//! Request headers of the blob service: conditions, metadata, and the content headers of a blob.

use std::collections::BTreeMap;

use http::header::{self, HeaderMap};

use super::refusal::Refusal;
use crate::blob::{Conditions, Metadata, Tag, is_metadata_name};
use crate::time::UnixMillis;

/// The prefix of metadata headers.
pub(super) const META: &str = "x-ms-meta-";

/// All metadata together, names and values.
const LARGEST_METADATA: usize = 8 * 1024;

/// A header's text; what is no text is absent.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Reads the conditions. An empty header is none.
pub(super) fn conditions(headers: &HeaderMap) -> Result<Conditions, Refusal> {
    let date = |name: header::HeaderName| match text(headers, name.as_str()).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => UnixMillis::parse_http_date(text).map(Some).ok_or(Refusal::INVALID_HEADER),
    };
    Ok(Conditions {
        if_match: text(headers, "if-match").and_then(Tag::parse),
        if_none_match: text(headers, "if-none-match").and_then(Tag::parse),
        if_modified_since: date(header::IF_MODIFIED_SINCE)?,
        if_unmodified_since: date(header::IF_UNMODIFIED_SINCE)?,
        names_lease: text(headers, "x-ms-lease-id").is_some_and(|id| !id.is_empty()),
    })
}

/// Reads the metadata and holds it to the rules: names are identifiers, and 8 KB in all.
pub(super) fn metadata(headers: &HeaderMap) -> Result<Metadata, Refusal> {
    let mut metadata = Metadata::new();
    let mut size = 0;
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META) else { continue };
        let value = value.to_str().map_err(|_| Refusal::INVALID_METADATA)?;
        if !is_metadata_name(name) {
            return Err(Refusal::INVALID_METADATA);
        }
        size += name.len() + value.len();
        metadata.insert(name.to_owned(), value.to_owned());
    }
    if size > LARGEST_METADATA { Err(Refusal::METADATA_TOO_LARGE) } else { Ok(metadata) }
}

/// The headers that a reader of the blob gets back, by their names on reading.
pub(super) fn content(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut content = BTreeMap::new();
    for name in
        ["content-type", "content-encoding", "content-language", "content-disposition", "cache-control", "content-md5"]
    {
        let special = match name {
            "cache-control" => "x-ms-blob-cache-control".to_owned(),
            other => format!("x-ms-blob-{other}"),
        };
        // `Content-MD5` and `Content-Disposition` of the request are about the request.
        let plain = if matches!(name, "content-md5" | "content-disposition") { None } else { text(headers, name) };
        if let Some(value) = text(headers, &special).or(plain).filter(|value| !value.is_empty()) {
            content.insert(name.to_owned(), value.to_owned());
        }
    }
    content.entry("content-type".to_owned()).or_insert_with(|| "application/octet-stream".to_owned());
    content
}
