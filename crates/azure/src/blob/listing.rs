//! List Blobs and Delete Blob: what operators' tools need and components have no right to.
//!
//! A listing is XML, in pages, in the order of the names. It says of each blob what a look would say, but for one thing: its
//! ETag stands there without quotes. The answer's `Date` is the clock by which the blobs' ages are reckoned.

#![expect(clippy::needless_pass_by_value, reason = "an answer is read once: every parse function takes it")]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use oncebus_core::time::UnixTime;
use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::error::{BlobError, is_about_container};
use super::metadata::ETag;
use super::{BlobContainer, headers};
use crate::dates::from_http_date;
use crate::wire::{self, encode_value};

/// The most blobs that the service puts on a page.
pub const LARGEST_PAGE: u16 = 5_000;

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The blobs, in the order of their names. A page may be empty and still have a next.
    pub blobs: Vec<Listed>,
    /// Where the next page begins; opaque. `None` on the last one.
    pub next: Option<String>,
    /// `Date`: when the server answered.
    pub date: UnixTime,
}

/// A blob as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Which version it was.
    pub etag: ETag,
    /// When it was written last, by the server's clock.
    pub last_modified: UnixTime,
    /// Bytes of its content.
    pub length: u64,
    /// Its metadata; names in lower case.
    pub metadata: BTreeMap<String, String>,
}

/// What became of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// It is gone.
    Deleted,
    /// Another version is there, or none: 412 or 404, which services answer differs where there is no blob.
    Refused,
}

impl BlobContainer {
    /// Asks for a page of the blobs whose names begin with `prefix`, with their metadata. Needs the right `l`. Read the
    /// answer with [`parse_page`].
    #[must_use]
    pub fn list(&self, prefix: &str, marker: Option<&str>, page_size: u16) -> Request<Bytes> {
        let mut query = format!("restype=container&comp=list&include=metadata&maxresults={page_size}");
        for (name, value) in [("prefix", Some(prefix).filter(|prefix| !prefix.is_empty())), ("marker", marker)] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", encode_value(value)));
            }
        }
        let uri = format!("{}?{query}&{}", self.base, self.sas.expose());
        wire::request(Method::GET, &uri, headers(), Bytes::new())
    }

    /// Deletes a blob, if it is as it was when this ETag was seen. Needs the right `d`. Read the answer with
    /// [`parse_delete`].
    #[must_use]
    pub fn delete(&self, name: &str, etag: &ETag) -> Request<Bytes> {
        let mut headers = headers();
        headers.insert(header::IF_MATCH, etag.as_header().clone());
        wire::request(Method::DELETE, &self.uri(name, None), headers, Bytes::new())
    }

    /// Deletes a blob whatever version it is: one that is never written twice. Needs the right `d`. Read the answer with
    /// [`parse_delete`].
    #[must_use]
    pub fn discard(&self, name: &str) -> Request<Bytes> {
        wire::request(Method::DELETE, &self.uri(name, None), headers(), Bytes::new())
    }
}

/// Reads the answer to [`BlobContainer::list`].
///
/// # Errors
/// The service refused, the container does not exist, or the answer cannot be read.
pub fn parse_page(response: Response<Bytes>) -> Result<Page, BlobError> {
    match response.status().as_u16() {
        200 => {
            let date = date(response.headers()).ok_or_else(|| BlobError::malformed(&response, "no Date"))?;
            let (blobs, next) = read(response.body()).map_err(|reason| BlobError::malformed(&response, reason))?;
            Ok(Page { blobs, next, date })
        }
        // A listing asks for no blob: what is not found is the container.
        404 => Err(BlobError::container_missing(&response)),
        _ => Err(BlobError::read(&response)),
    }
}

/// Reads the answer to [`BlobContainer::delete`].
///
/// # Errors
/// The service refused, or the container does not exist (where the service says so).
pub fn parse_delete(response: Response<Bytes>) -> Result<DeleteOutcome, BlobError> {
    match response.status().as_u16() {
        200 | 202 => Ok(DeleteOutcome::Deleted),
        404 if is_about_container(&response) => Err(BlobError::container_missing(&response)),
        404 | 412 => Ok(DeleteOutcome::Refused),
        _ => Err(BlobError::read(&response)),
    }
}

fn date(headers: &HeaderMap) -> Option<UnixTime> {
    from_http_date(headers.get(header::DATE)?.to_str().ok()?)
}

const NO_XML: &str = "the listing is not XML";

/// The blobs of a document, and its marker.
fn read(body: &[u8]) -> Result<(Vec<Listed>, Option<String>), &'static str> {
    // The service begins its documents with a byte order mark.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = Reader::from_reader(body);
    let mut path: Vec<String> = Vec::new();
    let mut blobs = Vec::new();
    let mut next = None;
    let mut entry = Entry::default();
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(|_| NO_XML)? {
            Event::Start(start) => {
                let name = name(&start)?;
                if path.len() >= DEEPEST {
                    return Err("the listing is too deep");
                }
                entry.name_is_encoded |= name == "Name" && is_encoded(&start);
                path.push(name);
                text.clear();
            }
            Event::Empty(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Text(piece) => text.push_str(&piece.unescape().map_err(|_| NO_XML)?),
            Event::CData(piece) => text.push_str(std::str::from_utf8(&piece).map_err(|_| NO_XML)?),
            Event::End(_) => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                match names.as_slice() {
                    ["EnumerationResults", "NextMarker"] => next = Some(std::mem::take(&mut text)),
                    ["EnumerationResults", "Blobs", "Blob"] => blobs.push(std::mem::take(&mut entry).finish()?),
                    ["EnumerationResults", "Blobs", "Blob", within @ ..] => {
                        entry.take(within, std::mem::take(&mut text));
                    }
                    _ => {}
                }
                path.pop();
            }
            Event::DocType(_) => return Err("the listing has a document type"),
            Event::Eof => break,
        }
    }
    if !path.is_empty() {
        return Err("the listing is cut off");
    }
    Ok((blobs, next.filter(|marker| !marker.is_empty())))
}

/// Deeper than any listing: results, blobs, blob, metadata, a name.
const DEEPEST: usize = 16;

fn name(start: &BytesStart<'_>) -> Result<String, &'static str> {
    String::from_utf8(start.local_name().as_ref().to_vec()).map_err(|_| NO_XML)
}

/// A name that XML cannot carry comes percent-encoded.
fn is_encoded(start: &BytesStart<'_>) -> bool {
    start.attributes().flatten().any(|attribute| {
        attribute.key.local_name().as_ref() == b"Encoded" && attribute.value.eq_ignore_ascii_case(b"true")
    })
}

/// What was read of one blob.
#[derive(Debug, Default)]
struct Entry {
    name: Option<String>,
    name_is_encoded: bool,
    etag: Option<String>,
    last_modified: Option<UnixTime>,
    length: u64,
    metadata: BTreeMap<String, String>,
}

impl Entry {
    fn take(&mut self, within: &[&str], text: String) {
        match within {
            ["Name"] if self.name_is_encoded => {
                self.name = Some(percent_decode_str(&text).decode_utf8_lossy().into_owned());
            }
            ["Name"] => self.name = Some(text),
            ["Properties", "Etag"] => self.etag = Some(text),
            ["Properties", "Last-Modified"] => self.last_modified = from_http_date(&text),
            ["Properties", "Content-Length"] => self.length = text.trim().parse().unwrap_or(0),
            ["Metadata", name] => drop(self.metadata.insert(name.to_ascii_lowercase(), text)),
            _ => {}
        }
    }

    fn finish(self) -> Result<Listed, &'static str> {
        let etag = self.etag.ok_or("a blob of the listing has no Etag")?;
        let quoted = if etag.starts_with('"') { etag } else { format!("\"{etag}\"") };
        Ok(Listed {
            name: self.name.ok_or("a blob of the listing has no Name")?,
            etag: ETag::parse(&quoted).map_err(|_| "a blob of the listing has an Etag that is none")?,
            last_modified: self.last_modified.ok_or("a blob of the listing has no Last-Modified")?,
            length: self.length,
            metadata: self.metadata,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> Result<Page, BlobError> {
        let response = Response::builder().status(200).header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        parse_page(response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap())
    }

    /// The shape is that of the service's documentation of List Blobs, with all that may come around what we read.
    const DOCUMENT: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\
        <EnumerationResults ServiceEndpoint=\"https://acc.blob.core.windows.net/\" ContainerName=\"c\">\
        <Prefix>ab</Prefix><MaxResults>2</MaxResults><Blobs>\
        <Blob><Name>abc/q/1 &amp; 2</Name><Properties><Creation-Time>Sun, 06 Nov 1994 08:00:00 GMT</Creation-Time>\
        <Last-Modified>Sun, 06 Nov 1994 08:49:07 GMT</Last-Modified><Etag>0x8D</Etag><Content-Length>7</Content-Length>\
        <Content-MD5 /><BlobType>BlockBlob</BlobType></Properties>\
        <Metadata><St>p</St><id>a&lt;b</id></Metadata><OrMetadata /></Blob>\
        <Blob><Name Encoded=\"true\">abd%01</Name><Properties><Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified>\
        <Etag>\"0x9\"</Etag></Properties><Metadata /></Blob>\
        </Blobs><NextMarker>2!92!ab--</NextMarker></EnumerationResults>";

    #[test]
    fn a_page_says_of_each_blob_what_a_look_would_say() {
        let page = page(DOCUMENT).unwrap();
        assert_eq!((page.next.as_deref(), page.date), (Some("2!92!ab--"), UnixTime(784_111_777)));
        let [first, second] = page.blobs.as_slice() else { panic!("two blobs") };
        assert_eq!((first.name.as_str(), first.length, first.etag.as_str()), ("abc/q/1 & 2", 7, "\"0x8D\""));
        assert_eq!(first.last_modified, UnixTime(784_111_747));
        let metadata: Vec<_> = first.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(metadata, [("id", "a<b"), ("st", "p")]);
        assert_eq!((second.name.as_str(), second.etag.as_str()), ("abd\u{1}", "\"0x9\""));
        assert!(second.metadata.is_empty());
    }

    #[test]
    fn the_last_page_has_no_marker() {
        for end in ["<NextMarker />", "<NextMarker></NextMarker>", ""] {
            let page = page(&format!("<EnumerationResults><Blobs />{end}</EnumerationResults>")).unwrap();
            assert_eq!((page.blobs.len(), page.next), (0, None));
        }
    }

    #[test]
    fn what_is_no_listing_is_refused_with_a_reason() {
        let blob = |inside: &str| {
            format!("<EnumerationResults><Blobs><Blob>{inside}</Blob></Blobs><NextMarker/></EnumerationResults>")
        };
        for (body, reason) in [
            ("<a></b>".to_owned(), NO_XML),
            ("<EnumerationResults><Blobs>".to_owned(), "the listing is cut off"),
            ("<!DOCTYPE a><a/>".to_owned(), "the listing has a document type"),
            ("<a>".repeat(17), "the listing is too deep"),
            (blob("<Name>a</Name>"), "a blob of the listing has no Etag"),
            (blob("<Properties><Etag>1</Etag></Properties>"), "a blob of the listing has no Name"),
            (
                blob("<Name>a</Name><Properties><Etag>1</Etag></Properties>"),
                "a blob of the listing has no Last-Modified",
            ),
        ] {
            assert_eq!(page(&body).unwrap_err().code.as_deref(), Some(reason), "{body}");
        }
    }
}
