//! `POST /queues/{queue}/messages`: one message.

use bytes::Bytes;
use futures::Stream;
use http::header;
use oncebus_core::ingest::entry::{Entry, location};
use oncebus_core::ingest::head::Head;
use oncebus_core::message::Properties;
use oncebus_core::trace::Trace;
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal, Service};
use crate::serve::{Context, read_body};

/// Takes the body as opaque bytes, and answers 202 without a body once the broker has said 201.
///
/// # Errors
/// Nothing was accepted; or no answer came, and a repetition under the same id is harmless.
pub async fn post<P, S, E>(context: &Context<'_, P>, queue: &str, head: &Head, body: S) -> Result<Answer, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let queue = context.queue(queue)?;
    let entry = take(context, head, body).await?;
    deliver(context, &queue.name, &entry).await
}

/// Makes a message of a request.
///
/// # Errors
/// It cannot be one.
pub async fn take<P, S, E>(context: &Context<'_, P>, head: &Head, body: S) -> Result<Entry, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let id = head.logical_id()?;
    let key = head.lock_key()?;
    let content_type = head.content_type()?;
    let id = id.unwrap_or_else(|| context.fresh_id());
    let entry = Entry::new(id, key.as_deref(), content_type, Bytes::new(), Properties::new());
    let entry = entry.traced(Trace::of_request(head).as_ref());
    let limit = entry.body_limit(context.settings.config.max_message_bytes)?;
    Ok(entry.with_body(read_body(head, body, limit).await?))
}

/// Sends a message to a queue, and answers 202 once the broker has it.
///
/// # Errors
/// As [`send`].
pub async fn deliver<P: Platform>(context: &Context<'_, P>, queue: &str, entry: &Entry) -> Result<Answer, Refusal> {
    send(context, queue, entry).await?;
    Ok(Answer::empty(202).header(header::LOCATION, location(queue, &entry.id)))
}

/// Sends one message, by itself.
///
/// # Errors
/// The broker did not say that it has it.
pub async fn send<P: Platform>(context: &Context<'_, P>, queue: &str, entry: &Entry) -> Result<(), Refusal> {
    let (sent, _) = context.broker().send(queue, &entry.message, context.deadline(), false).await;
    sent.map_err(|failure| Service::ServiceBus.refusal(&failure))
}
