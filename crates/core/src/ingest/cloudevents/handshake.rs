//! Abuse protection: a sender asks by `OPTIONS` whether it may deliver here, before it does (CloudEvents, HTTP webhooks, section 4).
//!
//! Consent is the header `WebHook-Allowed-Origin`, and nothing else. It is given to the origins of the configuration alone
//! (`cloudevents.allowed_origins`), which by default are none: whoever can name our address must not be able to aim a sender at it.

use crate::config::CloudEventsConfig;
use crate::ingest::head::Head;
use crate::problem::{Kind, Problem};

/// Who asks.
pub const REQUEST_ORIGIN: &str = "webhook-request-origin";
/// Who may.
pub const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
/// How many requests in a minute.
pub const ALLOWED_RATE: &str = "webhook-allowed-rate";

/// Consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// [`ALLOWED_ORIGIN`].
    pub origin: String,
    /// [`ALLOWED_RATE`].
    pub rate: String,
}

/// What an `OPTIONS` is answered with; `None`: nobody asked for consent.
///
/// # Errors
/// The origin is none that is allowed.
pub fn consent(head: &Head, config: &CloudEventsConfig) -> Result<Option<Consent>, Problem> {
    let Some(origin) = head.one(REQUEST_ORIGIN)?.filter(|origin| !origin.is_empty()) else { return Ok(None) };
    let allowed = config.allowed_origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin));
    if !allowed || !origin.bytes().all(|byte| byte.is_ascii_graphic()) {
        let detail = "this origin is not among cloudevents.allowed_origins";
        return Err(Problem::new(Kind::OriginNotAllowed, detail));
    }
    let rate = match config.requests_per_minute {
        0 => "*".to_owned(),
        rate => rate.to_string(),
    };
    Ok(Some(Consent { origin: origin.to_owned(), rate }))
}
