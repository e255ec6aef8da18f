//! `POST /queues/{queue}/batch`: many messages, in as few sends as they fit into.
//!
//! # What it promises
//!
//! 1. **The broker takes a send whole or not at all**, so its fate is the fate of each item in it, and the answer is exact: an item is accepted, or
//!    it is not, or, where the broker's answer never came, it is said that nobody knows.
//! 2. **Ids are set before anything is sent.** A send whose answer is lost is repeated as it was, within the deadline; what arrives twice is one message.
//! 3. **Lines are sent while the body is still being read.** In memory are the line that is arriving, a batch for each partition key that is being
//!    filled, the sends under way, and for each item its id and what became of it.
//! 4. **Order is kept for each lock key and each partition key**: a send waits for an earlier one that shares a key with it. Others go side by side, at
//!    most `max_sends_in_flight`.
//! 5. **A broker that refuses is spared.** Once it throttles, is out of reach, does not answer, or refuses credential or queue, no more is
//!    sent, and what was not sent is told so. Nothing is queued here.
//!
//! # How
//!
//! [`source`] gives items one at a time, [`packer`] fills sends with them, [`sender`] has them under way; the loop in [`run`] reads on only
//! while there is room for what it would read.

pub mod packer;
pub mod sender;
pub mod source;

use std::pin::pin;

use futures::future::{Either, select};
use futures::{Stream, StreamExt as _};
use http::header;
use oncebus_core::config::{Idempotency, QueueConfig};
use oncebus_core::id::{check_logical_id, derived_id};
use oncebus_core::ingest::batch::{BadItem, Form, Item};
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::report::{Outcome, Refused, Report};
use oncebus_core::ingest::size::Sizes;
use oncebus_core::problem::{CONTENT_TYPE, Kind, Problem};
use oncebus_core::trace::Trace;
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal};
use crate::serve::Context;
use packer::Packer;
use sender::Sender;
use source::{Limits, Source};

/// What the broker adds to each message counts too, in a way that it does not document: of the limit, one part in so many is
/// left for that, which is 16 of 256 KB.
const RESERVE: usize = 16;

/// Sends every good item, and answers for each.
///
/// # Errors
/// The body as a whole cannot be taken, and nothing of it was sent.
pub async fn post<P, S, E>(context: &Context<'_, P>, queue: &str, head: &Head, body: S) -> Result<Answer, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let config = &context.settings.config;
    let queue = context.queue(queue)?;
    let form = Form::of(head.content_type()?)?;
    let key = head.idempotency_key()?.map(|key| own(context, queue, key)).transpose()?;
    let sizes = Sizes::of(config, queue);
    let limits = Limits { items: config.max_batch_items, bytes: config.max_batch_bytes, item_bytes: sizes.most_json() };
    let mut source = Source::open(form, limits, head.content_length())?;
    let packer = Packer::new(config.max_message_bytes - config.max_message_bytes / RESERVE, sizes);
    let (broker, records) = (context.broker(), context.records());
    let sender = Sender::new(context, &broker, &records, &queue.name);
    let id = |index| key.as_deref().map_or_else(|| context.fresh_id(), |key| derived_id(key, index));
    let trace = Trace::of_request(head);
    let (report, cause) = run(&mut source, packer, sender, body, id, trace.as_ref()).await?;
    let answered = report.answer(&queue.name);
    let content_type = if answered.problem.is_some() { CONTENT_TYPE } else { "application/json" };
    let mut answer = Answer::with_body(answered.status, content_type, answered.body);
    if let Some(seconds) = answered.retry_after_seconds {
        answer = answer.header(header::RETRY_AFTER, seconds.to_string());
    }
    Ok(Answer { problem: answered.worst, cause, ..answer })
}

/// The batch's key, as a client's own where keys are.
fn own<P: Platform>(context: &Context<'_, P>, queue: &QueueConfig, key: String) -> Result<String, Problem> {
    let Some(client) = context.caller.name().filter(|_| queue.door.idempotency == Idempotency::Record) else {
        return Ok(key);
    };
    let key = format!("{client}:{key}");
    check_logical_id(&key).map_err(|error| Problem::new(Kind::InvalidId, format!("client and key: {error}")))?;
    Ok(key)
}

/// Reads, packs and sends until all is read and every send has ended. Fails only where nothing was sent.
async fn run<P, S, E>(
    source: &mut Source,
    mut packer: Packer,
    mut sender: Sender<'_, P>,
    body: S,
    id: impl Fn(usize) -> String,
    trace: Option<&Trace>,
) -> Result<(Report, Option<String>), Problem>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let mut body = pin!(body.fuse());
    let mut report = Report::default();
    let mut packed = false;
    loop {
        while sender.has_room() {
            let index = report.outcomes.len();
            match source.next_item(|| id(index)) {
                Ok(Some(item)) => {
                    let item = item.map(|entry| entry.traced(trace));
                    report.outcomes.push(take(item, index, &mut packer, &mut sender));
                }
                Ok(None) => break,
                Err(problem) => cut_short(problem, &mut sender, &mut report)?,
            }
        }
        if source.is_at_end() && !packed && sender.has_room() {
            packed = true;
            sender.body_has_ended();
            packer.finish().into_iter().for_each(|load| sender.push(load));
        }
        sender.start(&mut report.outcomes);
        let wants_more = !source.is_at_end() && sender.has_room();
        let read = match (wants_more, sender.is_idle()) {
            (false, true) if packed => break,
            (false, _) => {
                sender.ended(&mut report.outcomes).await;
                continue;
            }
            (true, true) => body.next().await,
            // The sends come first: a body that is always there must not keep them from beginning.
            (true, false) => match select(pin!(sender.ended(&mut report.outcomes)), body.next()).await {
                Either::Left(((), _)) => continue,
                Either::Right((read, _)) => read,
            },
        };
        if let Err(problem) = source.take(read) {
            cut_short(problem, &mut sender, &mut report)?;
        }
    }
    Ok((report, sender.into_cause()))
}

/// The body cannot be read to its end. What was begun is waited for, what was not is not begun; where nothing was begun, nothing is accepted.
fn cut_short<P: Platform>(problem: Problem, sender: &mut Sender<'_, P>, report: &mut Report) -> Result<(), Problem> {
    if !sender.has_sent() {
        return Err(problem);
    }
    sender.stop(Refused::new(problem.clone()));
    report.cut_short = Some(problem);
    Ok(())
}

/// What is known of an item once it is packed: a good one counts as refused by its send until that has ended.
fn take<P: Platform>(item: Item, index: usize, packer: &mut Packer, sender: &mut Sender<'_, P>) -> Outcome {
    let entry = match item {
        Ok(entry) => entry,
        Err(BadItem { id, problem }) => return Outcome { id, result: Err(Refused::new(problem)) },
    };
    let id = Some(entry.id.clone());
    if let Some(refused) = sender.stopped() {
        return Outcome { id, result: Err(refused) };
    }
    match packer.add(index, entry) {
        Ok(loads) => {
            loads.into_iter().for_each(|load| sender.push(load));
            Outcome { id, result: Ok(()) }
        }
        Err(problem) => Outcome { id, result: Err(Refused::new(problem)) },
    }
}
