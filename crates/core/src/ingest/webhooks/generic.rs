//! Anybody who signs by HMAC: the configuration says over what, how it is written, and where.
//!
//! What is signed is a template of text, `{body}`, `{timestamp}` and `{id}`; the body must be in it, and the time too where a header
//! for it is named, or nobody would know that it is right.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::keys::{Algorithm, Keys};
use super::{Request, refused, time};
use crate::ingest::key::IdSources;
use crate::problem::Problem;

/// How somebody signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// The header that carries the signature.
    pub header: String,
    /// The digest.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// What stands before it, such as `sha256=`.
    pub prefix: String,
    /// The header that carries the time, in seconds since 1970, if it is signed.
    pub timestamp_header: Option<String>,
    /// How far that may be from ours.
    pub tolerance: Duration,
    /// What is signed.
    pub signed: Vec<Piece>,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hex digits, capitals or not.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// A piece of what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Text(String),
    /// The body.
    Body,
    /// The value of the timestamp's header.
    Timestamp,
    /// The message's id, where it stands in a header.
    Id,
}

impl Piece {
    /// Reads a template; `None`: it has something else in braces.
    #[must_use]
    pub fn parse_all(template: &str) -> Option<Vec<Self>> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}')?;
            if !text.is_empty() {
                pieces.push(Self::Text(text.to_owned()));
            }
            pieces.push(match name {
                "body" => Self::Body,
                "timestamp" => Self::Timestamp,
                "id" => Self::Id,
                _ => return None,
            });
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Self::Text(rest.to_owned()));
        }
        Some(pieces)
    }
}

impl Scheme {
    pub(super) fn verify(&self, keys: &Keys, request: &Request<'_>, id: Option<&IdSources>) -> Result<(), Problem> {
        let signature = request.signed_header(&self.header).and_then(|text| self.decode(text));
        let header = |name: Option<&str>| name.and_then(|name| request.signed_header(name)).unwrap_or_default();
        let timestamp = header(self.timestamp_header.as_deref());
        let id = header(id.and_then(IdSources::only_header));
        let pieces = self.signed.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_bytes(),
            Piece::Body => request.body,
            Piece::Timestamp => timestamp.as_bytes(),
            Piece::Id => id.as_bytes(),
        });
        let content: Vec<&[u8]> = pieces.collect();
        if !keys.match_any(self.algorithm, &content, signature.as_slice()) {
            return Err(refused(&self.header));
        }
        if self.timestamp_header.is_none() {
            return Ok(());
        }
        let signed = time::parse(timestamp).ok_or_else(|| refused(&self.header))?;
        time::check(signed, request.now, self.tolerance)
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        let text = text.strip_prefix(&self.prefix)?;
        match self.encoding {
            Encoding::Hex => hex::decode(text).ok(),
            Encoding::Base64 => BASE64_STANDARD.decode(text).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_names() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let pieces = |template| Piece::parse_all(template);
        assert_eq!(pieces("{body}"), Some(vec![Piece::Body]));
        assert_eq!(
            pieces("v0:{timestamp}.{id}{body}\n"),
            Some(vec![text("v0:"), Piece::Timestamp, text("."), Piece::Id, Piece::Body, text("\n")])
        );
        assert_eq!(pieces(""), Some(vec![]));
        for other in ["{", "{}", "{x}", "{body", "{{body}}"] {
            assert_eq!(pieces(other), None, "{other}");
        }
    }
}
