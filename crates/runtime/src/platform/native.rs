//! On tokio, through reqwest: the command line and tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use oncebus_core::time::{Instant, UnixTime};

use super::{Clock, Entropy, Transport, TransportError, declare_length};

/// The platform of a native program. Clones share one pool of connections.
#[derive(Debug, Clone)]
pub struct Native {
    client: reqwest::Client,
    start: std::time::Instant,
}

impl Native {
    /// A platform with a connection pool of its own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, TransportError> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Azurite closes an idle connection after 5 s, without a word.
            .pool_idle_timeout(Duration::from_secs(4))
            .tcp_nodelay(true)
            .build()
            .map_err(|error| TransportError::NotSent(error.to_string()))?;
        Ok(Self { client, start: std::time::Instant::now() })
    }
}

impl Transport for Native {
    async fn send(&self, mut request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>, TransportError> {
        declare_length(&mut request);
        let request = reqwest::Request::try_from(request).map_err(|error| not_sent(&error))?;
        let exchange = async {
            let answer = self.client.execute(request).await.map_err(|error| translate(&error))?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            *response.body_mut() = answer.bytes().await.map_err(|error| no_answer(&error))?;
            Ok(response)
        };
        let late = |_| Err(TransportError::NoAnswer(format!("nothing within {} ms", limit.as_millis())));
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(late)
    }
}

fn translate(error: &reqwest::Error) -> TransportError {
    if error.is_connect() || error.is_builder() { not_sent(error) } else { no_answer(error) }
}

fn not_sent(error: &reqwest::Error) -> TransportError {
    TransportError::NotSent(cause(error))
}

fn no_answer(error: &reqwest::Error) -> TransportError {
    TransportError::NoAnswer(cause(error))
}

/// The innermost cause: the outer layers of the chain name the URL, and a URL may carry a SAS.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(next) = innermost.source() {
        innermost = next;
    }
    if std::ptr::eq(innermost, error) { "the request failed".to_owned() } else { innermost.to_string() }
}

impl Clock for Native {
    fn now(&self) -> Instant {
        Instant(self.start.elapsed())
    }

    fn wall(&self) -> UnixTime {
        UnixTime(self.wall_millis() / 1_000)
    }

    fn wall_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl Entropy for Native {
    fn fill(&self, buffer: &mut [u8]) {
        // The operating system's source fails only where there is none, and then nothing unique can be made.
        if getrandom::fill(buffer).is_err() {
            std::process::abort();
        }
    }
}
