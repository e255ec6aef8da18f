//! Slack: HMAC-SHA256 over `v0:`, the time, a colon and the body, hex, in `X-Slack-Signature`; the time in
//! `X-Slack-Request-Timestamp`.
//!
//! Events are JSON and have an `event_id`. Slash commands and interactions are forms, which have none: their id is the payload's hash. Each
//! has a `trigger_id` of its own in it, so two of them are two messages.

use serde_json::Value;

use super::keys::{Algorithm, Keys, lower_hex};
use super::time::{self, TOLERANCE};
use super::{Request, refused};
use crate::ingest::entry::is_json;
use crate::problem::Problem;

const SIGNATURE: &str = "X-Slack-Signature";
const TIMESTAMP: &str = "X-Slack-Request-Timestamp";

pub(super) fn verify(keys: &Keys, request: &Request<'_>) -> Result<(), Problem> {
    let signature = request.signed_header(SIGNATURE).and_then(|text| lower_hex(text.strip_prefix("v0=")?));
    let timestamp = request.signed_header(TIMESTAMP).unwrap_or_default();
    let content: &[&[u8]] = &[b"v0:", timestamp.as_bytes(), b":", request.body];
    let right = keys.match_any(Algorithm::Sha256, content, signature.as_slice());
    match time::parse(timestamp) {
        Some(signed) if right => time::check(signed, request.now, TOLERANCE),
        _ => Err(refused(SIGNATURE)),
    }
}

/// What Slack asks when a URL is entered: whoever knows the secret gives it back.
pub(super) fn challenge(request: &Request<'_>) -> Option<String> {
    let event = event(request)?;
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    (text("type") == Some("url_verification")).then(|| text("challenge")).flatten().map(str::to_owned)
}

/// The id: of the event, or else of the payload.
pub(super) fn id(request: &Request<'_>) -> Result<String, Problem> {
    let id = event(request).and_then(|event| event.get("event_id")?.as_str().map(str::to_owned));
    id.filter(|id| !id.is_empty()).map_or_else(|| request.payload_hash(), Ok)
}

/// The body as JSON, if it says that it is, and is.
fn event(request: &Request<'_>) -> Option<Value> {
    request.content_type().filter(|text| is_json(text))?;
    serde_json::from_slice(request.body).ok()
}
