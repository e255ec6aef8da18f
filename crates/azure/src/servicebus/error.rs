//! What the broker says when it refuses.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::error_body::{element, excerpt, retry_after};

/// How long a throttled caller waits where the broker does not say: its own texts ask for 2 seconds.
const THROTTLED_PAUSE: Duration = Duration::from_secs(2);
/// Sub-codes for throttling, whatever the status they come with.
const THROTTLED: [u32; 2] = [50_004, 50_009];

/// An answer of the broker other than success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service bus: {kind} (status {status}{}): {detail}", sub_code.map(|code| format!(", sub-code {code}")).unwrap_or_default())]
pub struct ServiceBusError {
    /// What it asks of the caller.
    pub kind: ServiceBusErrorKind,
    /// The HTTP status.
    pub status: u16,
    /// The broker's own five-digit code, where it gave one.
    pub sub_code: Option<u32>,
    /// The broker's own words, cut, on one line, without anything that looks like a signature.
    pub detail: String,
    /// What the broker's operators find the call by.
    pub tracking_id: Option<String>,
    /// How long to wait before the next try, where there is a reason to wait.
    pub retry_after: Option<Duration>,
}

/// What an error asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceBusErrorKind {
    /// 401: no token, an expired or wrong one, or one without the claim that is needed. Loud: nothing works until the
    /// credentials are put right.
    Unauthorized,
    /// 403 and 413: the entity's quota is used up, or the message is too large; the broker does not tell them apart.
    QuotaOrSize,
    /// No such queue, topic or subscription: 404 or 410; when settling 410 alone.
    EntityNotFound,
    /// 404 when settling: the lock has lapsed, or the message is settled already. Stop; settle nothing.
    LockLost,
    /// 429, 503 and the throttling sub-codes: wait, then try again.
    Throttled,
    /// Any other 5xx, and 408: whether the call took effect is not known.
    Server,
    /// Any other 4xx: the request itself is at fault.
    BadRequest,
    /// An answer that cannot be read.
    Malformed,
}

impl ServiceBusErrorKind {
    /// The name of this kind in logs and counters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::QuotaOrSize => "quota-or-size",
            Self::EntityNotFound => "entity-not-found",
            Self::LockLost => "lock-lost",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::BadRequest => "bad-request",
            Self::Malformed => "malformed",
        }
    }
}

impl std::fmt::Display for ServiceBusErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was asked: a 404 means another thing when settling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Send,
    Receive,
    Settle,
}

impl ServiceBusError {
    /// Whether the same call may succeed later. It may also have taken effect already: a send that is repeated needs a
    /// `MessageId` and duplicate detection, or a reader that tolerates duplicates.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ServiceBusErrorKind::Throttled | ServiceBusErrorKind::Server)
    }

    /// Reads an answer that is not a success of `operation`.
    pub(super) fn read(operation: Operation, response: &Response<Bytes>) -> Self {
        let status = response.status();
        let body = String::from_utf8_lossy(response.body());
        let detail = element(&body, "Detail").unwrap_or_else(|| body.into_owned());
        let (sub_code, tracking_id) = (sub_code(&detail), tracking_id(&detail));
        let kind = kind(operation, status, sub_code);
        let text = excerpt(&detail);
        let detail = if text.is_empty() { status.canonical_reason().unwrap_or("no detail").to_owned() } else { text };
        Self {
            kind,
            status: status.as_u16(),
            sub_code,
            tracking_id,
            retry_after: retry_after(response.headers())
                .or_else(|| (kind == ServiceBusErrorKind::Throttled).then_some(THROTTLED_PAUSE)),
            detail,
        }
    }

    /// A success whose content makes no sense.
    pub(super) fn malformed(status: StatusCode, reason: &'static str) -> Self {
        Self {
            kind: ServiceBusErrorKind::Malformed,
            status: status.as_u16(),
            sub_code: None,
            detail: reason.to_owned(),
            tracking_id: None,
            retry_after: None,
        }
    }
}

fn kind(operation: Operation, status: StatusCode, sub_code: Option<u32>) -> ServiceBusErrorKind {
    use ServiceBusErrorKind as Kind;
    if sub_code.is_some_and(|code| THROTTLED.contains(&code)) {
        return Kind::Throttled;
    }
    match (status.as_u16(), operation) {
        (401, _) => Kind::Unauthorized,
        (403 | 413, _) => Kind::QuotaOrSize,
        (404, Operation::Settle) => Kind::LockLost,
        (404 | 410, _) => Kind::EntityNotFound,
        (429 | 503, _) => Kind::Throttled,
        (408 | 500..=599, _) => Kind::Server,
        (400..=499, _) => Kind::BadRequest,
        _ => Kind::Malformed,
    }
}

/// `SubCode=40900`, `Error code: 50009`, or five digits and a colon in front.
fn sub_code(detail: &str) -> Option<u32> {
    let marked =
        ["SubCode=", "Error code: "].into_iter().find_map(|mark| detail.split_once(mark).map(|(_, code)| code));
    if let Some(code) = marked {
        let end = code.find(|c: char| !c.is_ascii_digit()).unwrap_or(code.len());
        return code.get(..end)?.parse().ok();
    }
    let (code, _) = detail.split_once(':')?;
    (code.len() == 5).then(|| code.parse().ok())?
}

/// `TrackingId:{guid}_G57,TimeStamp:…`
fn tracking_id(detail: &str) -> Option<String> {
    let (_, rest) = detail.split_once("TrackingId:")?;
    let id = rest.split([',', ' ']).next()?;
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(operation: Operation, status: u16, body: &str) -> ServiceBusError {
        let response = Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        ServiceBusError::read(operation, &response)
    }

    #[test]
    fn a_status_means_what_the_operation_makes_of_it() {
        use Operation::{Receive, Send, Settle};
        use ServiceBusErrorKind as Kind;
        let cases = [
            (Send, 401, Kind::Unauthorized, false),
            (Send, 403, Kind::QuotaOrSize, false),
            (Send, 413, Kind::QuotaOrSize, false),
            (Send, 404, Kind::EntityNotFound, false),
            (Receive, 404, Kind::EntityNotFound, false),
            (Receive, 410, Kind::EntityNotFound, false),
            (Settle, 404, Kind::LockLost, false),
            (Settle, 410, Kind::EntityNotFound, false),
            (Send, 429, Kind::Throttled, true),
            (Send, 503, Kind::Throttled, true),
            (Send, 500, Kind::Server, true),
            (Send, 502, Kind::Server, true),
            (Send, 504, Kind::Server, true),
            (Send, 408, Kind::Server, true),
            (Send, 400, Kind::BadRequest, false),
            (Send, 409, Kind::BadRequest, false),
            (Send, 202, Kind::Malformed, false),
            (Send, 302, Kind::Malformed, false),
        ];
        for (operation, status, kind, retryable) in cases {
            let error = read(operation, status, "");
            assert_eq!((error.kind, error.is_retryable()), (kind, retryable), "{operation:?} {status}");
        }
    }

    #[test]
    fn throttling_is_known_by_its_code_too() {
        let text = "The request was terminated because the entity is being throttled. Error code: 50009. Please wait 2 seconds.";
        let error = read(Operation::Send, 400, text);
        assert_eq!((error.kind, error.sub_code), (ServiceBusErrorKind::Throttled, Some(50_009)));
        assert_eq!(error.retry_after, Some(Duration::from_secs(2)));
        let error = read(Operation::Send, 409, "<Error><Code>409</Code><Detail>SubCode=50004. Busy.</Detail></Error>");
        assert!(error.is_retryable());
    }

    #[test]
    fn the_brokers_own_wait_wins() {
        let response = Response::builder().status(503).header("Retry-After", "17").body(Bytes::new()).unwrap();
        let error = ServiceBusError::read(Operation::Send, &response);
        assert_eq!(error.retry_after, Some(Duration::from_secs(17)));
    }

    #[test]
    fn code_and_tracking_id_are_found_in_every_shape() {
        let xml = "<Error><Code>409</Code><Detail>SubCode=40900. Conflict. TrackingId:8e1a_G57,TimeStamp:6/30/2015 8:56:36 PM</Detail></Error>";
        let error = read(Operation::Send, 409, xml);
        assert_eq!((error.sub_code, error.tracking_id.as_deref()), (Some(40_900), Some("8e1a_G57")));
        assert_eq!(read(Operation::Send, 401, "40103: Invalid authorization token signature").sub_code, Some(40_103));
        assert_eq!(read(Operation::Send, 401, "ExpiredToken: The token is expired.").sub_code, None);
        assert_eq!(read(Operation::Send, 404, "").detail, "Not Found");
    }

    #[test]
    fn an_error_reads_as_a_sentence() {
        let error =
            read(Operation::Send, 401, "<Error><Code>401</Code><Detail>SubCode=40103. Bad token.</Detail></Error>");
        assert_eq!(
            error.to_string(),
            "service bus: unauthorized (status 401, sub-code 40103): SubCode=40103. Bad token."
        );
    }
}
