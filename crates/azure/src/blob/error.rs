//! What the storage service says when it refuses.

use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::error_body::{element, excerpt, retry_after};

/// An answer of the storage service that is neither success nor an unmet condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("blob storage: {kind} (status {status}{})", code.as_ref().map(|code| format!(", {code}")).unwrap_or_default())]
pub struct BlobError {
    /// What it asks of the caller.
    pub kind: BlobErrorKind,
    /// The HTTP status.
    pub status: u16,
    /// The service's own name for the error, where it gave one; else what could not be read.
    pub code: Option<String>,
    /// How long to wait before the next try, where the service says.
    pub retry_after: Option<Duration>,
}

/// What an error asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobErrorKind {
    /// 401 and 403: the token is expired, wrong, or without the right that is needed. Loud, and never "busy".
    Denied,
    /// The container does not exist, or is being deleted.
    ContainerMissing,
    /// 429 and 503: wait, then try again.
    Throttled,
    /// Any other 5xx, and 408: whether a write took effect is not known.
    Server,
    /// Any other 4xx: the request itself is at fault.
    BadRequest,
    /// An answer that cannot be read.
    Malformed,
}

impl BlobErrorKind {
    /// The name of this kind in logs and counters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::ContainerMissing => "container-missing",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::BadRequest => "bad-request",
            Self::Malformed => "malformed",
        }
    }
}

impl std::fmt::Display for BlobErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl BlobError {
    /// Whether the same call may succeed later. A write may also have taken effect already: look before deciding.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, BlobErrorKind::Throttled | BlobErrorKind::Server)
    }

    /// Reads an answer that is no outcome.
    pub(super) fn read(response: &Response<Bytes>) -> Self {
        let code = code(response);
        let kind = match (response.status().as_u16(), code.as_deref()) {
            (404 | 409, Some("ContainerNotFound" | "ContainerBeingDeleted")) => BlobErrorKind::ContainerMissing,
            (401 | 403, _) => BlobErrorKind::Denied,
            (429 | 503, _) => BlobErrorKind::Throttled,
            (408 | 500..=599, _) => BlobErrorKind::Server,
            (400..=499, _) => BlobErrorKind::BadRequest,
            _ => BlobErrorKind::Malformed,
        };
        Self { kind, status: response.status().as_u16(), code, retry_after: retry_after(response.headers()) }
    }

    /// A 404 where only the container can be what is missing, whether the service says so or not.
    pub(super) fn container_missing(response: &Response<Bytes>) -> Self {
        Self { kind: BlobErrorKind::ContainerMissing, ..Self::read(response) }
    }

    /// A success whose content makes no sense.
    pub(super) fn malformed(response: &Response<Bytes>, reason: &'static str) -> Self {
        Self {
            kind: BlobErrorKind::Malformed,
            status: response.status().as_u16(),
            code: Some(reason.to_owned()),
            retry_after: None,
        }
    }
}

/// The error's name: in a header always (a HEAD has no body), in the body's `<Code>` mostly.
fn code(response: &Response<Bytes>) -> Option<String> {
    let header = response.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok()).map(str::to_owned);
    let code = header.or_else(|| element(&String::from_utf8_lossy(response.body()), "Code"))?;
    let code = excerpt(&code);
    (!code.is_empty()).then_some(code)
}

/// Whether a 404 or 409 is about the container.
pub(super) fn is_about_container(response: &Response<Bytes>) -> bool {
    matches!(code(response).as_deref(), Some("ContainerNotFound" | "ContainerBeingDeleted"))
}
