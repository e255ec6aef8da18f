//! GitHub: HMAC-SHA256 over the body, hex, in `X-Hub-Signature-256`. The SHA-1 beside it is not looked at.
//!
//! The id is `X-GitHub-Delivery`. A delivery that is sent again by hand has the id that it had: it is the same message.

use super::keys::{Algorithm, Keys, lower_hex};
use super::{Request, refused};
use crate::problem::Problem;

const SIGNATURE: &str = "X-Hub-Signature-256";
/// The header of the id.
pub(super) const ID: &str = "X-GitHub-Delivery";
/// What else of the head is told: the event's name, and the configured hook that it is about.
pub(super) const PROPERTIES: [&str; 2] = ["x-github-event", "x-github-hook-id"];

pub(super) fn verify(keys: &Keys, request: &Request<'_>) -> Result<(), Problem> {
    let signature = request.signed_header(SIGNATURE).and_then(|text| lower_hex(text.strip_prefix("sha256=")?));
    let right = keys.match_any(Algorithm::Sha256, &[request.body], signature.as_slice());
    if right { Ok(()) } else { Err(refused(SIGNATURE)) }
}
