//! Why a call to one of the services came to nothing, by what the caller can do about it.

use std::time::Duration;

use oncebus_azure::blob::{BlobError, BlobErrorKind};
use oncebus_azure::servicebus::{EncodeError, ServiceBusError, ServiceBusErrorKind};

use oncebus_core::problem::{Kind, Problem};
use oncebus_core::time::whole_seconds_up;

use crate::platform::TransportError;

/// A call that came to nothing, or may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The credential was refused: nothing works until it is put right.
    #[error("the credential was refused: {0}")]
    Denied(String),
    /// There is no such queue, or no such container.
    #[error("not there: {0}")]
    Missing(String),
    /// The service has too much to do. It has not acted.
    #[error("throttled: {detail}")]
    Throttled {
        /// What it said.
        detail: String,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
    /// The service cannot be reached. It has not acted.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No answer, or a 5xx: it may have acted.
    #[error("no answer that tells: {0}")]
    Ambiguous(String),
    /// Too large, or the queue is full: Service Bus does not tell the two apart.
    #[error("too large, or the queue is full: {0}")]
    TooLargeOrFull(String),
    /// The request itself was refused, or cannot be made.
    #[error("refused: {0}")]
    Refused(String),
    /// The broker no longer knows the lock.
    #[error("the lock is lost")]
    LockLost,
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::NotSent(why) => Self::Unreachable(why),
            TransportError::NoAnswer(why) => Self::Ambiguous(why),
        }
    }
}

impl From<ServiceBusError> for Failure {
    fn from(error: ServiceBusError) -> Self {
        let text = error.to_string();
        match error.kind {
            ServiceBusErrorKind::Unauthorized => Self::Denied(text),
            ServiceBusErrorKind::QuotaOrSize => Self::TooLargeOrFull(text),
            ServiceBusErrorKind::EntityNotFound => Self::Missing(text),
            ServiceBusErrorKind::LockLost => Self::LockLost,
            ServiceBusErrorKind::Throttled => Self::Throttled { detail: text, retry_after: error.retry_after },
            ServiceBusErrorKind::Server | ServiceBusErrorKind::Malformed => Self::Ambiguous(text),
            ServiceBusErrorKind::BadRequest => Self::Refused(text),
        }
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        let text = error.to_string();
        match error.kind {
            BlobErrorKind::Denied => Self::Denied(text),
            BlobErrorKind::ContainerMissing => Self::Missing(text),
            BlobErrorKind::Throttled => Self::Throttled { detail: text, retry_after: error.retry_after },
            BlobErrorKind::Server | BlobErrorKind::Malformed => Self::Ambiguous(text),
            BlobErrorKind::BadRequest => Self::Refused(text),
        }
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl Failure {
    /// The failure of a send of which an earlier try had no answer: it may have come through, whatever the last one says. A credential that
    /// is refused now, or a queue that is not there, was so then.
    #[must_use]
    pub fn after_an_unanswered_try(self) -> Self {
        match self {
            Self::Denied(_) | Self::Missing(_) | Self::Ambiguous(_) => self,
            other => Self::Ambiguous(format!("an earlier try had no answer, and then: {other}")),
        }
    }

    /// What a client is told: the kind with its status, and a sentence without our inside.
    #[must_use]
    pub fn to_problem(&self) -> Problem {
        let (kind, detail) = self.told();
        self.problem(kind, detail.to_owned())
    }

    /// The same where a message was to be sent: what became of it, and what the sender should do. Where nobody knows whether it was
    /// accepted, `outcome` is `unknown`.
    #[must_use]
    pub fn to_problem_of_send(&self) -> Problem {
        let (kind, detail) = self.told();
        let detail = match self {
            Self::Throttled { .. } | Self::Unreachable(_) => {
                format!("{detail}; the message was not accepted: repeat with the same id")
            }
            Self::Ambiguous(_) => format!("{detail}; the message may have been sent: repeat with the same id"),
            _ => detail.to_owned(),
        };
        let problem = self.problem(kind, detail);
        if matches!(self, Self::Ambiguous(_)) { problem.with("outcome", "unknown") } else { problem }
    }

    /// The same for a message that was not sent, because another one's send had failed before.
    #[must_use]
    pub fn to_problem_of_unsent(&self) -> Problem {
        let (kind, detail) = self.told();
        self.problem(kind, format!("{detail}; the message was not sent: repeat with the same id"))
    }

    const fn told(&self) -> (Kind, &'static str) {
        match self {
            Self::Denied(_) => (Kind::CredentialRefused, "the SAS or key is expired, wrong, or without the right"),
            Self::Missing(_) => (Kind::NotProvisioned, "Azure does not know it"),
            Self::Throttled { .. } => (Kind::Throttled, "it has too much to do"),
            Self::Unreachable(_) => (Kind::Unavailable, "it cannot be reached"),
            Self::Ambiguous(_) => (Kind::Unavailable, "no answer came"),
            Self::TooLargeOrFull(_) => (Kind::TooLarge, "Service Bus refused it as too large, or the queue is full"),
            Self::Refused(_) | Self::LockLost => (Kind::Refused, "the request was refused"),
        }
    }

    fn problem(&self, kind: Kind, detail: String) -> Problem {
        let problem = Problem::new(kind, detail);
        match self {
            Self::Throttled { retry_after: Some(after), .. } => problem.retry_after(whole_seconds_up(*after)),
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_send_speaks_of_a_message() {
        let failures = [
            Failure::Throttled { detail: String::new(), retry_after: Some(Duration::from_secs(7)) },
            Failure::Unreachable(String::new()),
            Failure::Ambiguous(String::new()),
        ];
        for failure in failures {
            let (read, send) = (failure.to_problem(), failure.to_problem_of_send());
            assert_eq!((read.kind, read.retry_after_seconds), (send.kind, send.retry_after_seconds));
            assert!(!read.detail.contains("message") && !read.detail.contains("repeat"), "{read:?}");
            assert!(
                send.detail.starts_with(&read.detail) && send.detail.ends_with("repeat with the same id"),
                "{send:?}"
            );
        }
        let unknown = Failure::Ambiguous(String::new()).to_problem_of_send();
        assert_eq!(unknown.to_json()["outcome"], "unknown");
        let later = Failure::Unreachable("refused".to_owned()).after_an_unanswered_try();
        assert_eq!(later.to_problem_of_send().to_json()["outcome"], "unknown");
        assert!(later.to_problem_of_unsent().to_json().get("outcome").is_none());
        let denied = Failure::Denied(String::new());
        assert_eq!(denied.to_problem(), denied.to_problem_of_send());
    }
}
