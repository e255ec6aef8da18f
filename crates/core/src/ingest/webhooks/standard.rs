//! Standard Webhooks: `webhook-id`, `webhook-timestamp`, and `webhook-signature`, a list of `v1,BASE64` with blanks between, each
//! HMAC-SHA256 over id, time and body with dots between. Svix and its customers send the same under `svix-`.
//!
//! The key is the base64 behind `whsec_`. Signatures of another version in the list (`v1a`, by a public key) are passed over.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;

use super::keys::{Algorithm, Keys};
use super::time::{self, TOLERANCE};
use super::{Request, refused};
use crate::problem::Problem;
use crate::secret::Secret;

/// Secrets are copied by people: padding may be lost.
const SECRET: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key of a secret; `None`: it is none.
pub(super) fn key(secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.expose().trim();
    let key = SECRET.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
    (!key.is_empty()).then_some(key)
}

pub(super) fn verify(keys: &Keys, request: &Request<'_>) -> Result<(), Problem> {
    let names = Names::of(request);
    let header = |name: &str| request.signed_header(name).unwrap_or_default();
    let (id, timestamp) = (header(names.id), header(names.timestamp));
    let list = header(names.signature).split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let signatures: Vec<Vec<u8>> = list.filter_map(|text| BASE64_STANDARD.decode(text).ok()).collect();
    let content: &[&[u8]] = &[id.as_bytes(), b".", timestamp.as_bytes(), b".", request.body];
    let right = keys.match_any(Algorithm::Sha256, content, &signatures);
    match time::parse(timestamp) {
        // Nothing repeated would be known by an empty id.
        Some(signed) if right && !id.is_empty() => time::check(signed, request.now, TOLERANCE),
        _ => Err(refused(names.signature)),
    }
}

/// The header of the id, and the id.
pub(super) fn id(request: &Request<'_>) -> Result<(String, Option<String>), Problem> {
    let name = Names::of(request).id;
    Ok((name.to_owned(), request.one(name)?))
}

/// The headers' names.
struct Names {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

impl Names {
    const STANDARD: Self = Self { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" };
    const SVIX: Self = Self { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

    /// All of them are of one family: what was signed as one is not read as the other.
    fn of(request: &Request<'_>) -> Self {
        let has = |name: &str| request.head.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if has(Self::STANDARD.signature) || !has(Self::SVIX.signature) { Self::STANDARD } else { Self::SVIX }
    }
}
