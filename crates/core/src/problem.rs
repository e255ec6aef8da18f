//! Errors as clients see them: problem details (RFC 9457), `application/problem+json`.
//!
//! The kinds are a closed list, each with its status chosen once and a stable URI ([`Kind::uri`]); `docs/PROBLEMS.md` says
//! what each asks of the client. What goes into `detail` is for the client: no secrets, nothing of our inside.

use serde_json::{Map, Value};

/// The media type.
pub const CONTENT_TYPE: &str = "application/problem+json";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:literal, $slug:literal, $title:literal;)+) => {
        /// What went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[doc = $doc])+ $name,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$name => $status),+ } }

            /// The name within the URI.
            #[must_use]
            pub const fn slug(self) -> &'static str { match self { $(Self::$name => $slug),+ } }

            /// The title: the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$name => $title),+ } }
        }
    };
}

kinds! {
    /// The body, the path or the query cannot be read.
    Malformed = 400, "malformed", "The request cannot be read";
    /// The id is empty, too long, or has control characters.
    InvalidId = 400, "invalid-id", "The message id cannot be used";
    /// It is no CloudEvent, or not a good one.
    InvalidEvent = 400, "invalid-event", "The CloudEvent is not valid";
    /// A header cannot be taken over into a message.
    InvalidHeader = 400, "invalid-header", "A header cannot be used";
    /// The configuration wants a key, and there is none.
    MissingKey = 400, "missing-key", "The request has no idempotency key";
    /// No credential, or a wrong one.
    Unauthorized = 401, "unauthorized", "The credential is missing or wrong";
    /// The credential is good, and not for this.
    Forbidden = 403, "forbidden", "The credential is not for this queue";
    /// The signature of a webhook is missing or wrong.
    InvalidSignature = 403, "invalid-signature", "The signature is missing or wrong";
    /// The signature of a webhook is right, but of another time.
    StaleTimestamp = 403, "stale-timestamp", "The signature is of another time";
    /// A sender of events asks for consent, and does not get it.
    OriginNotAllowed = 403, "origin-not-allowed", "This origin may not deliver here";
    /// No such path.
    NotFound = 404, "not-found", "There is nothing here";
    /// No such queue is configured.
    UnknownQueue = 404, "unknown-queue", "No such queue is configured";
    /// No record: unknown, or still queued.
    UnknownMessage = 404, "unknown-message", "No record of this message: unknown, or not yet begun";
    /// Another method.
    MethodNotAllowed = 405, "method-not-allowed", "The method is not allowed here";
    /// The first request under this key is still being answered.
    InProgress = 409, "in-progress", "The first request with this idempotency key is still being answered";
    /// The message, or the request, is too large.
    TooLarge = 413, "too-large", "The message is too large";
    /// The content type is none that this path takes.
    UnsupportedContentType = 415, "unsupported-content-type", "The content type is not supported here";
    /// No route of the configuration takes it.
    NoRoute = 422, "no-route", "No route takes this message";
    /// The same key was used for another payload.
    KeyReused = 422, "key-reused", "The idempotency key was used for another payload";
    /// Something of ours is broken.
    Internal = 500, "internal", "Something went wrong here";
    /// The configuration is wrong.
    Configuration = 500, "configuration", "The configuration is wrong";
    /// Azure refused our credential.
    CredentialRefused = 502, "credential-refused", "Azure refused the credential of this service";
    /// Azure has no such queue or container.
    NotProvisioned = 502, "not-provisioned", "A queue or container is configured here but missing on Azure";
    /// Azure refused the request for another reason.
    Refused = 502, "refused", "Azure refused the request";
    /// Service Bus or Storage does not answer.
    Unavailable = 503, "unavailable", "A service behind this one does not answer";
    /// Service Bus or Storage has too much to do.
    Throttled = 503, "throttled", "A service behind this one has too much to do";
}

impl Kind {
    /// The `type`: a URI that does not change.
    #[must_use]
    pub fn uri(self) -> String {
        format!("urn:oncebus:problem:{}", self.slug())
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Throttled)
    }
}

/// One occurrence.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What went wrong.
    pub kind: Kind,
    /// A sentence about this occurrence.
    pub detail: String,
    /// After how many seconds to try again: `Retry-After`.
    pub retry_after_seconds: Option<u64>,
    /// Members of its own.
    pub extensions: Map<String, Value>,
}

impl Problem {
    /// A problem with a sentence about it. Retryable kinds ask for 2 s, which is what Service Bus asks for
    /// when it throttles.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after_seconds = kind.is_retryable().then_some(2);
        Self { kind, detail: detail.into(), retry_after_seconds, extensions: Map::new() }
    }

    /// With a member of its own.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// With another `Retry-After`.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut members = self.extensions.clone();
        members.insert("type".to_owned(), self.kind.uri().into());
        members.insert("title".to_owned(), self.kind.title().into());
        members.insert("status".to_owned(), self.kind.status().into());
        members.insert("detail".to_owned(), self.detail.clone().into());
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_uri_of_its_own() {
        let uris: std::collections::BTreeSet<String> = Kind::ALL.iter().map(|kind| kind.uri()).collect();
        assert_eq!(uris.len(), Kind::ALL.len());
    }

    #[test]
    fn the_documentation_names_every_kind_with_its_status() {
        let page = include_str!("../../../docs/PROBLEMS.md");
        for kind in Kind::ALL {
            let row = format!("| `{}` | {} | {} |", kind.slug(), kind.status(), kind.title());
            assert!(page.contains(&row), "docs/PROBLEMS.md must contain: {row}");
        }
    }

    #[test]
    fn a_problem_is_what_rfc_9457_says() {
        let problem = Problem::new(Kind::UnknownQueue, "no queue \"x\"").with("queue", "x");
        let expected = serde_json::json!({
            "type": "urn:oncebus:problem:unknown-queue", "title": "No such queue is configured", "status": 404,
            "detail": "no queue \"x\"", "queue": "x"
        });
        assert_eq!(problem.to_json(), expected);
        assert_eq!(Problem::new(Kind::Throttled, "").retry_after_seconds, Some(2));
    }
}
