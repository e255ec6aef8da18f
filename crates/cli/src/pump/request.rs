//! Asks for one run.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use oncebus_core::run::{Summary, TroubleReport};
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::platform::{Transport as _, TransportError};
use serde_json::Value;

use super::{Options, run_path};

/// How much longer than its length a run may take to answer: it ends by its own deadline, so more than that means that
/// the app or the way to it hangs.
const GRACE: Duration = Duration::from_secs(15);

/// The run endpoint of one queue.
#[derive(Debug)]
pub(super) struct RunUrl {
    uri: Uri,
    bearer: HeaderValue,
    limit: Duration,
}

/// Why there is no summary, or what it complains about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer.
    Unreachable(String),
    /// An answer other than 200, with the problem's type and detail.
    Status(u16, String),
    /// A 200 that is no summary.
    NoSummary,
    /// The run stopped receiving.
    Trouble { service: String, detail: String },
}

impl RunUrl {
    pub(super) fn new(options: &Options, queue: &str) -> anyhow::Result<Self> {
        let uri = run_path(options, queue).parse().context("--app-url is no URL")?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", options.token.expose()))
            .context("the run token cannot stand in a header")?;
        bearer.set_sensitive(true);
        Ok(Self { uri, bearer, limit: options.length + GRACE })
    }

    /// Asks, and waits until the run is over.
    pub(super) async fn ask(&self, platform: &Native) -> Result<Summary, Failure> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(header::AUTHORIZATION, self.bearer.clone());
        let response = platform.send(request, self.limit).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status().as_u16(), problem(&response)));
        }
        serde_json::from_slice(response.body()).map_err(|_| Failure::NoSummary)
    }
}

/// The detail of a problem document, else nothing.
fn problem(response: &Response<Bytes>) -> String {
    let document: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let text = |key| document.get(key).and_then(Value::as_str);
    text("detail").or_else(|| text("title")).unwrap_or_default().to_owned()
}

impl Failure {
    /// Failures of one class are one outage.
    pub(super) fn class(&self) -> String {
        match self {
            Self::Unreachable(_) => "unreachable".to_owned(),
            Self::Status(status, detail) => format!("{status} {detail}"),
            Self::NoSummary => "no summary".to_owned(),
            Self::Trouble { service, .. } => service.clone(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(detail) => write!(f, "the app does not answer: {detail}"),
            Self::Status(401, _) => f.write_str("the app refuses the run token: was it started with another?"),
            Self::Status(status, detail) if detail.is_empty() => write!(f, "the app answers {status}"),
            Self::Status(status, detail) => write!(f, "the app answers {status}: {detail}"),
            Self::NoSummary => f.write_str("the app's answer is no summary of a run"),
            Self::Trouble { service, detail } => write!(f, "a run stopped receiving: {service}: {detail}"),
        }
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<&TroubleReport> for Failure {
    fn from(trouble: &TroubleReport) -> Self {
        Self::Trouble { service: trouble.service.clone(), detail: trouble.detail.clone() }
    }
}
