//! Stripe: `Stripe-Signature: t=TIME,v1=SIGNATURE,…`, each HMAC-SHA256 over the time, a dot and the body, hex. While a secret is
//! rotated there are several `v1`. The key is the secret as it is shown, `whsec_` included. Other schemes (`v0`) are for tests of theirs.
//!
//! The id is that of the event, the member `id` of the body.

use super::keys::{Algorithm, Keys, lower_hex};
use super::time::{self, TOLERANCE};
use super::{Request, refused};
use crate::problem::{Kind, Problem};

const SIGNATURE: &str = "Stripe-Signature";

pub(super) fn verify(keys: &Keys, request: &Request<'_>) -> Result<(), Problem> {
    let header = request.signed_header(SIGNATURE).unwrap_or_default();
    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    let timestamp = pairs().find_map(|(name, value)| (name == "t").then_some(value)).unwrap_or_default();
    let signatures = pairs().filter(|(name, _)| *name == "v1").filter_map(|(_, value)| lower_hex(value));
    let signatures: Vec<Vec<u8>> = signatures.collect();
    let right = keys.match_any(Algorithm::Sha256, &[timestamp.as_bytes(), b".", request.body], &signatures);
    match time::parse(timestamp) {
        Some(signed) if right => time::check(signed, request.now, TOLERANCE),
        _ => Err(refused(SIGNATURE)),
    }
}

/// The event's id.
pub(super) fn id(request: &Request<'_>) -> Result<Option<String>, Problem> {
    /// All of an event that is looked at.
    #[derive(serde::Deserialize)]
    struct Event {
        id: Option<String>,
    }
    // Whatever the content type says: an event is JSON.
    let event: Event = serde_json::from_slice(request.body)
        .map_err(|error| Problem::new(Kind::Malformed, format!("the body is no event: {error}")))?;
    Ok(event.id)
}
