//! `OPTIONS` where events are taken: what may be done there, and consent for a sender that asks for it.

use http::header::{self, HeaderName};
use oncebus_core::config::CloudEventsConfig;
use oncebus_core::ingest::cloudevents::handshake::{ALLOWED_ORIGIN, ALLOWED_RATE, consent};
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::route::Route;

use crate::answer::{Answer, Refusal};

/// Answers with what the path takes; to a sender of events that may deliver, with consent.
///
/// # Errors
/// It asks, and may not.
pub fn options(config: &CloudEventsConfig, route: &Route, head: &Head) -> Result<Answer, Refusal> {
    let answer = |status| Answer::empty(status).header(header::ALLOW, route.allow());
    Ok(match consent(head, config)? {
        None => answer(204),
        Some(consent) => answer(200)
            .header(HeaderName::from_static(ALLOWED_ORIGIN), consent.origin)
            .header(HeaderName::from_static(ALLOWED_RATE), consent.rate),
    })
}
