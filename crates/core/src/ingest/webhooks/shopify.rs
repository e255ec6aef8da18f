//! Shopify: HMAC-SHA256 over the body, base64, in `X-Shopify-Hmac-Sha256`; its newer Events leave out the `X-`.
//!
//! The id is `X-Shopify-Webhook-Id`, one for each webhook and the same in its repetitions. `X-Shopify-Event-Id` would be one for all
//! webhooks about an event, of every topic and subscription: those are messages of their own. It becomes a property.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::keys::{Algorithm, Keys};
use super::{Request, refused};
use crate::problem::Problem;

const SIGNATURE: [&str; 2] = ["X-Shopify-Hmac-Sha256", "Shopify-Hmac-Sha256"];
const ID: [&str; 2] = ["X-Shopify-Webhook-Id", "Shopify-Webhook-Id"];
/// What else of the head is told: whose event, about what, and when.
pub(super) const PROPERTIES: [&str; 6] = [
    "x-shopify-topic",
    "x-shopify-shop-domain",
    "x-shopify-api-version",
    "x-shopify-event-id",
    "x-shopify-triggered-at",
    "shopify-topic",
];

pub(super) fn verify(keys: &Keys, request: &Request<'_>) -> Result<(), Problem> {
    let signature = SIGNATURE.iter().find_map(|name| request.signed_header(name));
    let signature = signature.and_then(|text| BASE64_STANDARD.decode(text).ok());
    let right = keys.match_any(Algorithm::Sha256, &[request.body], signature.as_slice());
    if right { Ok(()) } else { Err(refused(SIGNATURE[0])) }
}

/// The header of the id, and the id.
pub(super) fn id(request: &Request<'_>) -> Result<(String, Option<String>), Problem> {
    let [name, newer] = ID;
    let id = match request.one(name)? {
        Some(id) => Some(id),
        None => request.one(newer)?,
    };
    Ok((name.to_owned(), id))
}
