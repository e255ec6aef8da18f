//! The request: who may ask, for which queue, for how long.

use std::time::Duration;

use http::{Method, Request, header};
use oncebus_core::config::{Config, QueueConfig};
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::secret::Secret;
use subtle::ConstantTimeEq as _;

/// How long a run may be asked to last, in seconds.
const MAX_SECONDS: u64 = 300;
const DEFAULT_SECONDS: u64 = 20;
/// The most messages of one call of the processor: the range of the setting `batch`.
const MAX_BATCH: u64 = 256;

/// What is asked for.
pub(crate) struct RunRequest {
    pub(crate) queue: QueueConfig,
    pub(crate) length: Duration,
    pub(crate) batch: usize,
}

/// The queue's name out of the one path there is.
pub(crate) fn route<B>(request: &Request<B>) -> Result<&str, Problem> {
    let queue = request.uri().path().strip_prefix("/internal/queues/").and_then(|rest| rest.strip_suffix("/run"));
    let queue = queue.filter(|queue| !queue.is_empty() && !queue.contains('/'));
    let queue = queue.ok_or_else(|| Problem::new(Kind::NotFound, "the path is /internal/queues/{queue}/run"))?;
    if request.method() == Method::POST {
        Ok(queue)
    } else {
        Err(Problem::new(Kind::MethodNotAllowed, "a run is asked for with POST"))
    }
}

/// Checks the bearer secret in constant time.
pub(crate) fn authorise<B>(request: &Request<B>, token: &Secret) -> Result<(), Problem> {
    let given = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    let given = given.and_then(|value| value.split_at_checked("Bearer ".len()));
    let right = given.is_some_and(|(scheme, secret)| {
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(secret.ct_eq(token.expose().as_bytes()))
    });
    if right {
        Ok(())
    } else {
        Err(Problem::new(Kind::Unauthorized, "expected Authorization: Bearer and the run token"))
    }
}

impl RunRequest {
    pub(crate) fn parse(queue: &str, query: Option<&str>, config: &Config) -> Result<Self, Problem> {
        let unknown =
            || Problem::new(Kind::UnknownQueue, format!("no queue {queue:?} is configured")).with("queue", queue);
        let queue = config.queue(queue).ok_or_else(unknown)?.clone();
        let (mut seconds, mut batch) = (DEFAULT_SECONDS, None);
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("seconds", value)) => seconds = number("seconds", value, MAX_SECONDS)?,
                Some(("batch", value)) => batch = usize::try_from(number("batch", value, MAX_BATCH)?).ok(),
                _ => return Err(Problem::new(Kind::Malformed, "the query knows seconds and batch")),
            }
        }
        Ok(Self { length: Duration::from_secs(seconds), batch: batch.unwrap_or(queue.batch), queue })
    }
}

fn number(name: &str, value: &str, max: u64) -> Result<u64, Problem> {
    match value.parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(Problem::new(Kind::Malformed, format!("{name}: expected a whole number from 1 to {max}"))),
    }
}
