//! From the head of a request and its body to the answer.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{Response, header};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_core::config::{Config, ConfigError, QueueConfig};
use oncebus_core::id::uuid_v7;
use oncebus_core::ingest::access::{Access, Caller};
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::route::Route;
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::secret::Secret;
use oncebus_core::time::Instant;
use oncebus_core::trace::Trace;
use oncebus_runtime::broker::Broker;
use oncebus_runtime::platform::Platform;
use oncebus_runtime::records::Records;
use serde_json::json;

use crate::answer::{Answer, Refusal};
use crate::log::Line;
use crate::routed::{self, Routed};
use crate::{access, batch, handshake, health, messages, status, webhooks};

/// How long a request may take once its body is there. Twilio gives up after 15 s; others after 15 to 30.
const TIME: Duration = Duration::from_secs(10);

/// What the variables say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The document.
    pub config: Config,
    /// Service Bus, with the right to send.
    pub service_bus: ServiceBusConnection,
    /// Storage, to look at records.
    pub storage: StorageConnection,
    /// The secrets of the webhook that the request is for, if it is for one.
    pub webhook_secrets: Vec<Secret>,
    /// What clients sign with, by the names of the variables that the configuration names.
    pub access_secrets: BTreeMap<String, Secret>,
}

/// What a request is answered with: everything it needs but the request itself.
#[derive(Debug)]
pub struct Context<'a, P> {
    /// The outside world.
    pub platform: &'a P,
    /// What the variables say.
    pub settings: &'a Settings,
    /// Who has sent the request.
    pub caller: Caller,
    /// Where the rules sent the message, once they have: for the log.
    pub routed: OnceCell<Routed>,
}

impl<'a, P: Platform> Context<'a, P> {
    /// A configured queue that is the caller's business.
    ///
    /// # Errors
    /// It is not, or no such queue is configured.
    pub fn queue(&self, name: &str) -> Result<&'a QueueConfig, Problem> {
        self.caller.may_use(name)?;
        let unknown =
            || Problem::new(Kind::UnknownQueue, format!("no queue {name:?} is configured")).with("queue", name);
        self.settings.config.queue(name).ok_or_else(unknown)
    }

    /// Service Bus.
    #[must_use]
    pub fn broker(&self) -> Broker<'a, P> {
        Broker::new(self.platform, &self.settings.service_bus)
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> Records<'a, P> {
        Records::new(self.platform, &self.settings.storage, &self.settings.config.container)
    }

    /// The end of a request whose body is there now.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.platform.now().plus(TIME)
    }

    /// 128 bits that nobody can predict.
    #[must_use]
    pub fn random(&self) -> u128 {
        let mut random = [0; 16];
        self.platform.fill(&mut random);
        u128::from_le_bytes(random)
    }

    /// A fresh message id.
    #[must_use]
    pub fn fresh_id(&self) -> String {
        let mut random = [0; 10];
        self.platform.fill(&mut random);
        uuid_v7(self.platform.wall_millis(), random)
    }
}

/// Answers a request, and logs that. `settings` are read only for what needs them.
pub async fn serve<P, S, E>(
    platform: &P,
    settings: impl FnOnce(&Route) -> Result<Settings, ConfigError>,
    head: &Head,
    body: S,
) -> Response<Vec<u8>>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let start = platform.now();
    let route = Route::parse(head.path());
    let mut body = pin!(body.fuse());
    let Answered { answer, queue, routed } = match &route {
        Some(route) => answer(platform, settings, route, head, body.as_mut()).await,
        None => Problem::new(Kind::NotFound, "GET / lists the paths").into(),
    };
    let trace = Trace::of_request(head);
    let line = Line {
        method: &head.method,
        route: route.as_ref().map(Route::template),
        queue: queue.as_deref(),
        sends: route.as_ref().is_some_and(Route::sends),
        routed: routed.as_ref(),
        status: answer.status,
        problem: answer.problem,
        cause: answer.cause.as_deref(),
        took: platform.now().since(start),
        trace: trace.as_ref(),
    };
    println!("{}", line.to_json());
    crate::body::discard(platform, body, head.content_length()).await;
    answer.into_response(&head.method)
}

/// The answer, the configured queue that the request names, and where the rules sent it.
struct Answered {
    answer: Answer,
    queue: Option<String>,
    routed: Option<Routed>,
}

impl<T: Into<Refusal>> From<T> for Answered {
    fn from(refusal: T) -> Self {
        Self { answer: refusal.into().into(), queue: None, routed: None }
    }
}

async fn answer<P, S, E>(
    platform: &P,
    settings: impl FnOnce(&Route) -> Result<Settings, ConfigError>,
    route: &Route,
    head: &Head,
    body: S,
) -> Answered
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>> + Unpin,
{
    let alone = |answer| Answered { answer, queue: None, routed: None };
    if let Err(problem) = route.check(&head.method) {
        return alone(Answer::problem(&problem).header(header::ALLOW, route.allow()));
    }
    match route {
        Route::Index => return alone(index()),
        Route::Health => return alone(Answer::with_body(200, "text/plain; charset=utf-8", "ok\n")),
        _ => {}
    }
    let settings = match settings(route) {
        Ok(settings) => settings,
        Err(error) => return misconfigured(&error).into(),
    };
    // Who asks whether it may deliver has nothing to show yet, and is not told what queues there are.
    if head.method == "OPTIONS" {
        return alone(handshake::options(&settings.config.cloudevents, route, head).unwrap_or_else(Answer::from));
    }
    let (caller, body) = match access::admit(platform, &settings, route, head, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return alone(unadmitted(refusal, &settings.config.access)),
    };
    let context = Context { platform, settings: &settings, caller, routed: OnceCell::new() };
    let queue = match route {
        Route::Messages { queue } | Route::Batch { queue } | Route::Message { queue, .. } => Some(queue.as_str()),
        Route::Webhook { name } => settings.config.webhooks.get(name).and_then(|webhook| webhook.queue.as_deref()),
        Route::Index | Route::Health | Route::Ready | Route::Routed | Route::RoutesTest => None,
    };
    let answer = match route {
        Route::Messages { queue } => messages::post(&context, queue, head, body).await,
        Route::Batch { queue } => batch::post(&context, queue, head, body).await,
        Route::Routed => routed::post(&context, head, body).await,
        Route::RoutesTest => routed::test(&context, head, body).await,
        Route::Webhook { name } => webhooks::post(&context, name, head, body).await,
        Route::Message { queue, id } => status::get(&context, queue, id, head).await,
        Route::Ready => health::ready(&context).await,
        Route::Index | Route::Health => Ok(index()),
    };
    let queue = queue.filter(|queue| settings.config.queue(queue).is_some()).map(str::to_owned);
    Answered { answer: answer.unwrap_or_else(Answer::from), queue, routed: context.routed.into_inner() }
}

/// The answer to who may not come in; says what to show.
fn unadmitted(refusal: Refusal, access: &Access) -> Answer {
    let unauthorised = refusal.problem.kind == Kind::Unauthorized;
    let answer = Answer::from(refusal);
    match access.challenge().filter(|_| unauthorised) {
        Some(challenge) => answer.header(header::WWW_AUTHENTICATE, challenge),
        None => answer,
    }
}

/// A configuration that cannot be used. The error names the key and what was expected; both are for the operator, so the client
/// is told the key alone.
pub(crate) fn misconfigured(error: &ConfigError) -> Refusal {
    let problem =
        Problem::new(Kind::Configuration, format!("{} cannot be used", error.key)).with("key", error.key.as_str());
    Refusal { problem, cause: Some(error.to_string()) }
}

fn index() -> Answer {
    let routes = json!({ "name": "oncebus", "paths": {
        "POST /queues/{queue}/messages": "one message: any content type, any bytes; or a CloudEvent",
        "POST /queues/{queue}/batch": "many messages: a JSON array, NDJSON, or CloudEvents",
        "GET /queues/{queue}/messages/{id}": "what became of a message",
        "POST /messages": "one message, to the queue that the configured routes choose",
        "POST /routes/test": "where the same request to /messages would go, and why; sends nothing",
        "POST /webhooks/{name}": "what a configured webhook sends, signed",
        "GET /healthz": "whether this answers",
        "GET /readyz": "whether what is behind this answers",
    }});
    Answer::json(200, &routes)
}

/// Reads a body; see [`crate::body::read`].
pub(crate) async fn read_body<S, E>(head: &Head, body: S, limit: usize) -> Result<Bytes, Problem>
where
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    crate::body::read(body, head.content_length(), limit).await
}
