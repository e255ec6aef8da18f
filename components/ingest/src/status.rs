//! `GET /queues/{queue}/messages/{id}`: what became of a message, now or once it is over.

use http::header;
use oncebus_core::config::QueueConfig;
use oncebus_core::id::{check_logical_id, record_name};
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::status::{self, ASK_AGAIN};
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::record::Seen;
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal, Service};
use crate::serve::Context;

/// Looks at the record: one request to the storage, and more if the client waits.
///
/// # Errors
/// There is no record, or the storage does not say.
pub async fn get<P: Platform>(context: &Context<'_, P>, queue: &str, id: &str, head: &Head) -> Result<Answer, Refusal> {
    let queue = context.queue(queue)?;
    check_logical_id(id).map_err(|error| Problem::new(Kind::InvalidId, error.to_string()))?;
    let known = head.one("if-none-match")?;
    let unknown =
        || Problem::new(Kind::UnknownMessage, "unknown, or still waiting in the queue").retry_after(ASK_AGAIN);
    let seen = look(context, queue, id, head).await?.ok_or_else(unknown)?;
    let answer = if known.is_some_and(|known| status::is_known(known, &seen.etag)) {
        Answer::empty(304)
    } else {
        Answer::json(200, &status::to_json(&queue.name, id, &seen))
    };
    let answer = answer.header(header::ETAG, seen.etag.as_str()).header(header::CACHE_CONTROL, "no-cache");
    Ok(match status::ask_again_after(&seen) {
        Some(seconds) => answer.header(header::RETRY_AFTER, seconds.to_string()),
        None => answer,
    })
}

/// The record as it is now; or, for a client that waits, as soon as nothing will change any more, or when the time is up.
async fn look<P: Platform>(
    context: &Context<'_, P>,
    queue: &QueueConfig,
    id: &str,
    head: &Head,
) -> Result<Option<Seen>, Refusal> {
    let end = context.platform.now().plus(status::wait(head.query())?);
    let name = record_name(&queue.group, id);
    let mut looks = 0;
    loop {
        let (seen, _) = context.records().look(&name, context.deadline()).await;
        let seen = seen.map_err(|failure| Service::Storage.refusal(&failure))?;
        let rest = context.platform.now().until(end);
        if rest.is_zero() || seen.as_ref().is_some_and(status::is_final) {
            return Ok(seen);
        }
        context.platform.sleep(status::pause(looks).min(rest)).await;
        looks += 1;
    }
}
