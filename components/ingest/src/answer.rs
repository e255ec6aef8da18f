//! Answers, and what the log says of them.

use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use oncebus_core::problem::{CONTENT_TYPE, Kind, Problem};
use oncebus_runtime::failure::Failure;
use serde_json::Value;

/// An answer before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, without `Content-Length`.
    pub headers: Vec<(HeaderName, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// The kind of problem it tells of: for the log.
    pub problem: Option<Kind>,
    /// What a service behind this one said: for the log, not for the client.
    pub cause: Option<String>,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), problem: None, cause: None }
    }

    /// An answer with a body.
    #[must_use]
    pub fn with_body(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![(header::CONTENT_TYPE, content_type.to_owned())];
        Self { headers, body: body.into(), ..Self::empty(status) }
    }

    /// JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::with_body(status, "application/json", body.to_string())
    }

    /// A problem.
    #[must_use]
    pub fn problem(problem: &Problem) -> Self {
        let body = problem.to_json().to_string();
        let mut answer = Self::with_body(problem.kind.status(), CONTENT_TYPE, body);
        answer.problem = Some(problem.kind);
        match problem.retry_after_seconds {
            Some(seconds) => answer.header(header::RETRY_AFTER, seconds.to_string()),
            None => answer,
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// As a response. Always with its length, so that a small one is sent in one piece; to HEAD without the body, and
    /// then without the length too, which the host would hold against what is written. A 304 has neither.
    #[must_use]
    pub fn into_response(self, method: &str) -> Response<Vec<u8>> {
        let mut response = Response::new(self.body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            // Nothing that is put here has characters that a header cannot carry; if it had, it would be left out.
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        if method == "HEAD" || self.status == 304 {
            response.body_mut().clear();
        } else {
            let length = HeaderValue::from(response.body().len());
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        response
    }
}

/// A request that came to nothing: what the client is told, and what is for the log alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// For the client.
    pub problem: Problem,
    /// For the log.
    pub cause: Option<String>,
}

/// One of the services behind ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Service Bus.
    ServiceBus,
    /// Blob Storage.
    Storage,
}

impl Service {
    /// The name in problems and logs, as a run's summary has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServiceBus => "service-bus",
            Self::Storage => "storage",
        }
    }

    /// A failure of this service as a problem. Service Bus is asked here for nothing but sends; what is written to the storage is no message.
    #[must_use]
    pub fn problem(self, failure: &Failure) -> Problem {
        let problem = match self {
            Self::ServiceBus => failure.to_problem_of_send(),
            Self::Storage => failure.to_problem(),
        };
        problem.with("service", self.name())
    }

    /// The same for a message that was not sent for it.
    #[must_use]
    pub fn problem_of_unsent(self, failure: &Failure) -> Problem {
        failure.to_problem_of_unsent().with("service", self.name())
    }

    /// A failure of this service as the end of a request.
    #[must_use]
    pub fn refusal(self, failure: &Failure) -> Refusal {
        Refusal { problem: self.problem(failure), cause: Some(format!("{}: {failure}", self.name())) }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, cause: None }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self { cause: refusal.cause, ..Self::problem(&refusal.problem) }
    }
}
