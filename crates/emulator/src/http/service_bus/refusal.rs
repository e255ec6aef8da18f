//! Errors as the gateway words them: XML with a code and a detail, and the text once more in the
//! reason phrase where clients are known to look for it.

use http::{HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use uuid::Uuid;

use crate::auth::service_bus as auth;
use crate::broker::BrokerError;
use crate::http::{Payload, escape_xml};
use crate::namespace::OperationError;
use crate::time::UnixMillis;

/// What the broker says when it is told to slow down.
const THROTTLED: &str = "The request was terminated because the entity is being throttled. Error code: 50009. \
                         Please wait 2 seconds and try again.";

/// A request that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: String,
    /// Whether the detail is the reason phrase as well.
    in_reason: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), in_reason: false }
    }

    pub(super) fn bad_request(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The detail that belongs to a status that was injected.
    pub(super) fn injected(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = match status.as_u16() {
            401 => auth::Refusal::Expired.to_string(),
            404 => BROKEN_LOCK.to_owned(),
            403 => "40300: Quota exceeded or message too large.".to_owned(),
            410 => "41000: The specified entity does not exist.".to_owned(),
            429 => "SubCode=50004. The request was throttled. Please wait 2 seconds and try again.".to_owned(),
            503 => THROTTLED.to_owned(),
            500..=599 => "50000: The service was unable to process the request; please retry the operation.".to_owned(),
            _ => status.canonical_reason().unwrap_or("Error").to_owned(),
        };
        Self::new(status, detail)
    }

    /// As an answer. `entity` and `host` say where, as the service does in its tracking.
    pub(super) fn response(&self, host: &str, entity: &str, now: UnixMillis) -> Response<Payload> {
        let xml = xml(self.status, &self.detail, &format!("{host}:{entity}"), now);
        let mut response = super::respond(self.status, Payload::chunked(xml), now);
        let content_type = HeaderValue::from_static(super::XML);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        if self.in_reason
            && let Ok(reason) = ReasonPhrase::try_from(self.detail.as_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        response
    }
}

fn xml(status: StatusCode, detail: &str, tracker: &str, now: UnixMillis) -> String {
    let (id, at) = (Uuid::new_v4(), now.iso_seconds());
    let detail = format!("{detail} TrackingId:{id}_G1, SystemTracker:{tracker}, Timestamp:{at}");
    format!("<Error><Code>{}</Code><Detail>{}</Detail></Error>", status.as_u16(), escape_xml(&detail))
}

/// What is said about a request that is no HTTP/1.1, or whose head is too large.
pub(super) fn nonsense(status: StatusCode, now: UnixMillis) -> String {
    let detail = match status {
        StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "40000: The head of the request is too large."
        }
        _ => "40000: The request cannot be read as HTTP/1.1 as it is spoken at this port.",
    };
    xml(status, detail, "NoSystemTracker", now)
}

const BROKEN_LOCK: &str = "No message was found with the specified MessageId or LockToken.";

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Broker(error) => error.into(),
            OperationError::Store(_) => Self::injected(500),
        }
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::NotFound => {
                Self { status: StatusCode::NOT_FOUND, detail: "40400: Endpoint not found.".to_owned(), in_reason: true }
            }
            BrokerError::LockLost => Self::new(StatusCode::NOT_FOUND, BROKEN_LOCK),
            BrokerError::TooLarge { size, limit } => Self::new(
                StatusCode::FORBIDDEN,
                format!("40300: The message of {size} bytes exceeds the limit of {limit} bytes."),
            ),
            BrokerError::QuotaExceeded { limit } => Self::new(
                StatusCode::FORBIDDEN,
                format!("40300: Quota exceeded: the queue has reached its maximum size of {limit} bytes."),
            ),
            BrokerError::InvalidProperty(rule) => Self::bad_request(&format!("40000: {rule}.")),
            BrokerError::NotSendable => Self::bad_request("40000: Messages cannot be sent to a sub-queue."),
        }
    }
}

impl From<auth::Refusal> for Refusal {
    fn from(refusal: auth::Refusal) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, detail: refusal.to_string(), in_reason: true }
    }
}
