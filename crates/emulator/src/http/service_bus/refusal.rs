//! Errors as the gateway words them: XML with a code and a detail, and the text once more in the
//! reason phrase where clients are known to look for it.

use http::{HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use uuid::Uuid;

use crate::auth::service_bus as auth;
use crate::behaviour::Behaviour;
use crate::broker::{BrokerError, Traffic};
use crate::http::{BodyError, Payload, escape_xml};
use crate::namespace::OperationError;
use crate::time::UnixMillis;

/// What the broker says when it is told to slow down.
const THROTTLED: &str = "The request was terminated because the entity is being throttled. Error code: 50009. \
                         Please wait 2 seconds and try again.";

/// A request that is not carried out. What it says of the broker's reasons is the [`Behaviour`]'s choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// For a reason of the gateway's own.
    Said(StatusCode, String),
    /// A fault says so.
    Injected(u16),
    Broker(BrokerError),
    Token(auth::Refusal),
}

/// Where a refusal happened, as the service says it in its tracking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) host: &'a str,
    pub(super) entity: &'a str,
    pub(super) now: UnixMillis,
}

impl Refusal {
    pub(super) fn bad_request(detail: &str) -> Self {
        Self::Said(StatusCode::BAD_REQUEST, detail.to_owned())
    }

    /// As an answer.
    pub(super) fn response(&self, scene: Scene<'_>, behaviour: &Behaviour) -> Response<Payload> {
        let (status, text) = self.words(scene, behaviour);
        let Scene { host, entity, now } = scene;
        let xml = xml(status, &text, &format!("{host}:{entity}"), now);
        let mut response = super::respond(status, Payload::chunked(xml), now);
        let content_type = HeaderValue::from_static(super::XML);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        if matches!(self, Self::Token(_) | Self::Broker(BrokerError::NotFound))
            && let Ok(reason) = ReasonPhrase::try_from(text.as_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        response
    }

    fn words(&self, scene: Scene<'_>, behaviour: &Behaviour) -> (StatusCode, String) {
        match self {
            Self::Said(status, text) => (*status, text.clone()),
            Self::Injected(status) => injected(*status, behaviour),
            Self::Broker(error) => of_broker(error, scene, behaviour),
            Self::Token(refusal) => (StatusCode::UNAUTHORIZED, refusal.to_string()),
        }
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
        StatusCode::REQUEST_TIMEOUT => "40000: The head of the request took too long to arrive.",
        _ => "40000: The request cannot be read as HTTP/1.1 as it is spoken at this port.",
    };
    xml(status, detail, "NoSystemTracker", now)
}

fn of_broker(error: &BrokerError, scene: Scene<'_>, behaviour: &Behaviour) -> (StatusCode, String) {
    let bytes = |text: &str, size: usize, limit: String| {
        (StatusCode::FORBIDDEN, text.replace("{size}", &size.to_string()).replace("{limit}", &limit))
    };
    match error {
        BrokerError::NotFound => {
            let code = if behaviour.missing_entity_status == 410 { "41000" } else { "40400" };
            (status(behaviour.missing_entity_status), format!("{code}: Endpoint not found."))
        }
        BrokerError::LockLost => (StatusCode::NOT_FOUND, behaviour.lost_lock_text.clone()),
        BrokerError::TooLarge { size, limit } => bytes(&behaviour.oversize_text, *size, limit.to_string()),
        BrokerError::QuotaExceeded { limit } => bytes(&behaviour.quota_text, 0, limit.to_string()),
        BrokerError::InvalidProperty(rule) => (StatusCode::BAD_REQUEST, format!("40000: {rule}.")),
        BrokerError::NotSendable => {
            (StatusCode::BAD_REQUEST, "40000: Messages cannot be sent to a subscription or a sub-queue.".to_owned())
        }
        BrokerError::Disabled(traffic) => {
            let forbidden = if *traffic == Traffic::Send { " for Send operations" } else { "" };
            let text =
                format!("Messaging entity 'sb://{}/{}' is currently disabled{forbidden}.", scene.host, scene.entity);
            (status(behaviour.disabled_entity_status), text)
        }
        BrokerError::Forwards => {
            let text = "40000: Messages cannot be received from an entity with auto-forwarding enabled.";
            (status(behaviour.forwarding_receive_status), text.to_owned())
        }
        BrokerError::RequiresSession => {
            (status(behaviour.session_receive_status), behaviour.session_receive_text.clone())
        }
    }
}

/// The text that belongs to a status that was injected. A throttled call (503) has the status that was chosen
/// for it.
fn injected(code: u16, behaviour: &Behaviour) -> (StatusCode, String) {
    let text = match code {
        401 => auth::Refusal::Expired.to_string(),
        404 => behaviour.lost_lock_text.clone(),
        403 => "40300: Quota exceeded or message too large.".to_owned(),
        410 => "41000: The specified entity does not exist.".to_owned(),
        429 => "SubCode=50004. The request was throttled. Please wait 2 seconds and try again.".to_owned(),
        503 => return (status(behaviour.throttled_status), THROTTLED.to_owned()),
        500..=599 => "50000: The service was unable to process the request; please retry the operation.".to_owned(),
        _ => status(code).canonical_reason().unwrap_or("Error").to_owned(),
    };
    (status(code), text)
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Broker(error) => error.into(),
            OperationError::Store(_) => Self::Injected(500),
        }
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::Injected(403),
            BodyError::Broken => Self::bad_request("40000: The body ended early, or its chunks cannot be read."),
        }
    }
}

impl From<auth::Refusal> for Refusal {
    fn from(refusal: auth::Refusal) -> Self {
        Self::Token(refusal)
    }
}
