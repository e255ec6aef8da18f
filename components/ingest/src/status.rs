//! `GET /queues/{queue}/messages/{id}`: what became of a message.

use http::header;
use oncebus_core::id::{check_logical_id, record_name};
use oncebus_core::ingest::status;
use oncebus_core::problem::{Kind, Problem};
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal, Service};
use crate::serve::Context;

/// Looks at the record: one request to the storage.
///
/// # Errors
/// There is no record, or the storage does not say.
pub async fn get<P: Platform>(context: &Context<'_, P>, queue: &str, id: &str) -> Result<Answer, Refusal> {
    let queue = context.queue(queue)?;
    check_logical_id(id).map_err(|error| Problem::new(Kind::InvalidId, error.to_string()))?;
    let (seen, _) = context.records().look(&record_name(&queue.group, id), context.deadline()).await;
    let seen = seen.map_err(|failure| Service::Storage.refusal(&failure))?;
    let unknown = || Problem::new(Kind::UnknownMessage, "unknown, or still waiting in the queue");
    let seen = seen.ok_or_else(unknown)?;
    let answer = Answer::json(200, &status::to_json(&queue.name, id, &seen))
        .header(header::ETAG, seen.etag.as_str())
        .header(header::CACHE_CONTROL, "no-cache");
    Ok(match status::ask_again_after(&seen) {
        Some(seconds) => answer.header(header::RETRY_AFTER, seconds.to_string()),
        None => answer,
    })
}
