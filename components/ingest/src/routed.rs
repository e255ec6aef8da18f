//! `POST /messages` and `POST /routes/test`: a message to whatever queue the rules say, and what they would say.

use std::time::Duration;

use futures::Stream;
use oncebus_core::config::DoorConfig;
use oncebus_core::ingest::entry::Entry;
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::routing::backlog::Backlog;
use oncebus_core::ingest::routing::{Choice, Chosen, Facts, Fallback, Found, Key, Routing, Target, explain};
use oncebus_core::ingest::size::Sizes;
use oncebus_core::message::property;
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::time::UnixTime;
use oncebus_runtime::backlog::Backlogs;
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal};
use crate::messages::{deliver, take};
use crate::serve::Context;

/// How long the backlog may take: what it is worth to a message is less than a second.
const BACKLOG_TIME: Duration = Duration::from_secs(1);

/// Where a message went, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// The queue.
    pub queue: String,
    /// The rule: its name, else its place.
    pub rule: String,
    /// Why the backlog was not gone by.
    pub fallback: Option<String>,
}

/// Takes a message as `POST /queues/{queue}/messages` does, and sends it where the rules say. `Location` names the queue.
///
/// # Errors
/// No rule takes it; or as [`crate::messages::post`].
pub async fn post<P, S, E>(context: &Context<'_, P>, head: &Head, body: S) -> Result<Answer, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let routing = routing(context)?;
    // The rules go by what the head says; the queue that they choose may name the message otherwise.
    let taken = take(context, &DoorConfig::default(), &Sizes::of_any(&context.settings.config), head, body).await?;
    let routed = route(context, routing, head, &taken.entry, None).await?;
    let queue = context.queue(&routed.queue)?;
    // Once per request: this is the only place that sets it.
    let _ = context.routed.set(routed);
    deliver(context, queue, &taken.for_queue(context, queue, head)?).await
}

/// Says where the same request would go if it were sent to `/messages`, and why. Sends nothing.
///
/// # Errors
/// The request would be refused before any rule is asked.
pub async fn test<P, S, E>(context: &Context<'_, P>, head: &Head, body: S) -> Result<Answer, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let routing = routing(context)?;
    let made_up = head.logical_id()?.is_none();
    let entry =
        take(context, &DoorConfig::default(), &Sizes::of_any(&context.settings.config), head, body).await?.entry;
    let facts = Facts::new(head, &entry.message, None);
    let Decision { found, choice, backlog } = decide(context, routing, &facts, &entry).await;
    let backlog = backlog.as_ref().ok().map(|(backlog, _)| backlog);
    Ok(Answer::json(200, &explain(&found, choice.as_ref(), backlog, made_up)))
}

/// The queue that the rules choose for a message; `source` is the webhook that it came in by.
///
/// # Errors
/// No rule takes it.
pub async fn route<P: Platform>(
    context: &Context<'_, P>,
    routing: &Routing,
    head: &Head,
    entry: &Entry,
    source: Option<&str>,
) -> Result<Routed, Problem> {
    let facts = Facts::new(head, &entry.message, source);
    let Decision { found, choice, .. } = decide(context, routing, &facts, entry).await;
    let no_route = || {
        let detail = format!("none of {} routes takes it; POST /routes/test says why", routing.rules.len());
        Problem::new(Kind::NoRoute, detail)
    };
    let (place, rule) = found.rule.ok_or_else(no_route)?;
    let fallback = match choice.as_ref().map(|choice| &choice.by) {
        Some(Chosen::IdWithoutBacklog(why)) => Some(why.to_string()),
        _ => None,
    };
    let queue = match (&rule.target, choice) {
        (Target::Queue(queue), _) => queue.clone(),
        (Target::Group(_), Some(choice)) => choice.queue.to_owned(),
        // The configuration allows no group without queues.
        (Target::Group(_), None) => return Err(no_route()),
    };
    Ok(Routed { queue, rule: rule.label(place), fallback })
}

/// The configured rules.
fn routing<'a, P: Platform>(context: &Context<'a, P>) -> Result<&'a Routing, Problem> {
    let routing = &context.settings.config.routing;
    if routing.rules.is_empty() {
        return Err(Problem::new(Kind::NotFound, "no routes are configured: send to /queues/{queue}/messages"));
    }
    Ok(routing)
}

struct Decision<'a> {
    found: Found<'a>,
    choice: Option<Choice<'a>>,
    backlog: Result<(Backlog, UnixTime), Fallback>,
}

async fn decide<'a, P: Platform>(
    context: &Context<'_, P>,
    routing: &'a Routing,
    facts: &Facts<'_>,
    entry: &Entry,
) -> Decision<'a> {
    let found = routing.find(facts);
    let Some((_, Target::Group(group))) = found.rule.map(|(place, rule)| (place, &rule.target)) else {
        return Decision { found, choice: None, backlog: Err(Fallback::Missing) };
    };
    let backlog = if group.needs_backlog() { read(context).await } else { Err(Fallback::Missing) };
    let key = Key { id: &entry.id, lock_key: entry.message.properties.text(property::KEY) };
    let known = backlog.as_ref().map(|(backlog, now)| (backlog, *now)).map_err(Clone::clone);
    let choice = group.choose(facts, key, known, routing.backlog_max_age);
    Decision { found, choice, backlog }
}

/// The backlog and the storage server's time.
async fn read<P: Platform>(context: &Context<'_, P>) -> Result<(Backlog, UnixTime), Fallback> {
    let settings = context.settings;
    let backlogs = Backlogs::new(context.platform, &settings.storage, &settings.config.container);
    let found = backlogs.read(context.platform.now().plus(BACKLOG_TIME)).await;
    let found = found.map_err(|failure| Fallback::Unreadable(failure.to_string()))?;
    match found.blob {
        None => Err(Fallback::Missing),
        Some((Ok(backlog), _)) => Ok((backlog, found.date)),
        Some((Err(error), _)) => Err(Fallback::Unreadable(error.to_string())),
    }
}
