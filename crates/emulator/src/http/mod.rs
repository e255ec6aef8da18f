//! HTTP: routes that only translate between requests and the machines.

pub(crate) mod admin;
pub(crate) mod blob;
pub(crate) mod casing;
mod line;
mod payload;
pub(crate) mod server;
pub(crate) mod service_bus;
mod wire;

pub(crate) use line::Peer;
pub(crate) use payload::Payload;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};

/// An answer, or the word that the connection is to be closed without one.
pub(crate) type Answer = Result<http::Response<Payload>, Hangup>;

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection closed on purpose")]
pub(crate) struct Hangup;

/// An extension of requests that came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secure;

/// Whether a request came over TLS.
pub(crate) fn is_secure(extensions: &http::Extensions) -> bool {
    extensions.get::<Secure>().is_some()
}

/// The scheme of the URL that was asked for.
pub(crate) fn scheme(extensions: &http::Extensions) -> &'static str {
    if is_secure(extensions) { "https" } else { "http" }
}

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    Broken,
}

/// A body that is read from somewhere: a connection, or memory.
pub(crate) trait Source: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send {}

impl<B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send> Source for B {}

/// Reads a whole body of at most `limit` bytes. One that takes too long to arrive is broken.
///
/// What is too large is read on and dropped, or a client that first sends everything would find its connection
/// reset instead of the answer. That, too, ends with the patience, and after 64 MB.
pub(crate) async fn read_body(body: impl Source, limit: usize, patience: Duration) -> Result<Bytes, BodyError> {
    let deadline = Instant::now() + patience;
    let mut body = std::pin::pin!(body);
    match timeout_at(deadline, Limited::new(body.as_mut(), limit).collect()).await {
        Ok(Ok(body)) => Ok(own(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            // A client that cannot be read to its end is refused no less.
            let _ = timeout_at(deadline, drop_rest(body)).await;
            Err(BodyError::TooLarge)
        }
        Ok(Err(_)) | Err(_) => Err(BodyError::Broken),
    }
}

async fn drop_rest(mut body: impl Body<Data = Bytes> + Unpin) {
    const MOST: usize = 64 * 1024 * 1024;
    let mut dropped = 0;
    while dropped < MOST
        && let Some(Ok(frame)) = body.frame().await
    {
        dropped += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// A small body is a slice of the connection's read buffer and would keep all of that alive as long as
/// the message is queued: it gets memory of its own.
fn own(body: Bytes) -> Bytes {
    const SMALL: usize = 64 * 1024;
    if body.len() < SMALL { Bytes::copy_from_slice(&body) } else { body }
}

/// The query's pairs, decoded, in order.
pub(crate) fn query_pairs(query: Option<&str>) -> Vec<(String, String)> {
    let pairs = query.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (crate::auth::decode(name), crate::auth::decode(value))
        })
        .collect()
}

/// Text as it may stand in XML. What may not is a blank.
pub(crate) fn escape_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Readers make a line feed of a plain one.
            '\r' => out.push_str("&#xD;"),
            c if is_xml(c) => out.push(c),
            _ => out.push(' '),
        }
    }
    out
}

/// Whether a character may be in an XML document, even as a reference.
pub(crate) fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}
