//! `POST /queues/{queue}/batch`: many messages, in as few sends as they fit into.
//!
//! The broker takes a batch whole or not at all, so its fate is the fate of each item in it. A few are under way at once. Once the
//! broker has refused one for a reason that holds for all (credential, queue, throttling, out of reach), no more are sent:
//! it is spared, and the items left over are told the same.

use std::cell::RefCell;

use futures::{Stream, StreamExt as _, stream};
use oncebus_azure::batch::{Batch, PushError};
use oncebus_core::ingest::batch::{BadItem, Form, Item, Limits, items};
use oncebus_core::ingest::entry::Entry;
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::report::{Outcome, Report};
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::time::Instant;
use oncebus_core::trace::Trace;
use oncebus_runtime::broker::Broker;
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal, Service};
use crate::serve::{Context, read_body};

/// How many sends of one request are under way at once.
const AT_ONCE: usize = 4;

/// What the broker adds to each message counts too, in a way that it does not document: of the limit, one part in so many is
/// left for that, which is 16 of 256 KB.
const RESERVE: usize = 16;

/// Sends every good item, and answers for each.
///
/// # Errors
/// The body as a whole cannot be taken, or nothing was accepted and all for one reason of ours.
pub async fn post<P, S, E>(context: &Context<'_, P>, queue: &str, head: &Head, body: S) -> Result<Answer, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let config = &context.settings.config;
    let queue = &context.queue(queue)?.name;
    let form = Form::of(head.content_type()?)?;
    let body = read_body(head, body, config.max_batch_bytes).await?;
    let limits = Limits { items: config.max_batch_items, message_bytes: config.max_message_bytes };
    let trace = Trace::of_request(head);
    let items = items(form, &body, limits, || context.fresh_id())?;
    let items: Vec<Item> = items.into_iter().map(|item| traced(item?, trace.as_ref(), limits.message_bytes)).collect();
    let sender = Sender {
        broker: context.broker(),
        queue,
        deadline: context.deadline(),
        stopped: RefCell::default(),
        cause: RefCell::default(),
    };
    let limit = config.max_message_bytes - config.max_message_bytes / RESERVE;
    let results = sender.send_all(&items, limit).await;
    let outcomes = items.into_iter().zip(results).map(|(item, result)| outcome(item, result)).collect();
    let report = Report { outcomes };
    let cause = sender.cause.into_inner();
    match report.failure(queue) {
        Some(problem) => Err(Refusal { problem, cause }),
        None => {
            let answer = Answer::json(report.status(), &report.to_json(queue));
            Ok(Answer { problem: report.worst(), cause, ..answer })
        }
    }
}

/// The item as a part of the request's trace; with that it may be too large.
fn traced(entry: Entry, trace: Option<&Trace>, limit: usize) -> Item {
    let entry = entry.traced(trace);
    match entry.check_size(limit) {
        Ok(()) => Ok(entry),
        Err(problem) => Err(BadItem { id: Some(entry.id), problem }),
    }
}

fn outcome(item: Item, sent: Result<(), Problem>) -> Outcome {
    match item {
        Ok(entry) => Outcome { id: Some(entry.id), result: sent },
        Err(BadItem { id, problem }) => Outcome { id, result: Err(problem) },
    }
}

/// Items by their index, and how they go.
enum Load<'a> {
    /// Together.
    Batch(Batch, Vec<usize>),
    /// By itself: in a batch, where every quote of a body is escaped, it would be too large.
    Alone(usize, &'a Entry),
    /// Not at all: REST cannot carry it.
    Refused(usize, Problem),
}

/// Packs items into as few batches as they fit into, keeping their order, one at a time as they are asked for.
struct Packer<'a, I> {
    items: I,
    limit: usize,
    open: (Batch, Vec<usize>),
    /// What did not fit into the batch that was just handed out.
    held: Option<(usize, &'a Entry)>,
}

impl<'a, I: Iterator<Item = (usize, &'a Entry)>> Packer<'a, I> {
    fn new(items: I, limit: usize) -> Self {
        Self { items, limit, open: (Batch::with_limit(limit), Vec::new()), held: None }
    }

    fn close(&mut self) -> Load<'a> {
        let (batch, indexes) = std::mem::replace(&mut self.open, (Batch::with_limit(self.limit), Vec::new()));
        Load::Batch(batch, indexes)
    }
}

impl<'a, I: Iterator<Item = (usize, &'a Entry)>> Iterator for Packer<'a, I> {
    type Item = Load<'a>;

    fn next(&mut self) -> Option<Load<'a>> {
        loop {
            let Some((index, entry)) = self.held.take().or_else(|| self.items.next()) else {
                return (!self.open.1.is_empty()).then(|| self.close());
            };
            match self.open.0.push(&entry.message) {
                Ok(()) => self.open.1.push(index),
                Err(PushError::Full) => {
                    self.held = Some((index, entry));
                    return Some(self.close());
                }
                Err(PushError::TooLarge { .. } | PushError::NotText) => return Some(Load::Alone(index, entry)),
                Err(PushError::Encode(error)) => {
                    return Some(Load::Refused(index, Problem::new(Kind::Malformed, error.to_string())));
                }
            }
        }
    }
}

struct Sender<'a, P> {
    broker: Broker<'a, P>,
    queue: &'a str,
    deadline: Instant,
    /// Why no more is sent.
    stopped: RefCell<Option<Failure>>,
    /// What the broker said first: for the log.
    cause: RefCell<Option<String>>,
}

impl<P: Platform> Sender<'_, P> {
    /// What became of each item, in order. Bad items are passed over, and count as accepted here.
    async fn send_all(&self, items: &[Item], limit: usize) -> Vec<Result<(), Problem>> {
        let good = items.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_ref().ok()?)));
        let mut results = vec![Ok(()); items.len()];
        let mut sent = stream::iter(Packer::new(good, limit)).map(|load| self.send(load)).buffer_unordered(AT_ONCE);
        while let Some((indexes, result)) = sent.next().await {
            for index in indexes {
                if let Some(slot) = results.get_mut(index) {
                    slot.clone_from(&result);
                }
            }
        }
        results
    }

    async fn send(&self, load: Load<'_>) -> (Vec<usize>, Result<(), Problem>) {
        match load {
            Load::Refused(index, problem) => (vec![index], Err(problem)),
            Load::Batch(batch, indexes) => {
                let result = match self.stopped() {
                    Some(failure) => Err(failure),
                    None => self.broker.send_batch(self.queue, &batch, self.deadline, false).await.0,
                };
                (indexes, self.learn(result))
            }
            Load::Alone(index, entry) => {
                let result = match self.stopped() {
                    Some(failure) => Err(failure),
                    None => self.broker.send(self.queue, &entry.message, self.deadline, false).await.0,
                };
                (vec![index], self.learn(result))
            }
        }
    }

    fn stopped(&self) -> Option<Failure> {
        self.stopped.borrow().clone()
    }

    fn learn(&self, result: Result<(), Failure>) -> Result<(), Problem> {
        let Err(failure) = result else { return Ok(()) };
        let holds_for_all = match &failure {
            Failure::Denied(_) | Failure::Missing(_) | Failure::Throttled { .. } | Failure::Unreachable(_) => true,
            Failure::Ambiguous(_) | Failure::TooLargeOrFull(_) | Failure::Refused(_) | Failure::LockLost => false,
        };
        let problem = Service::ServiceBus.problem(&failure);
        self.cause.borrow_mut().get_or_insert_with(|| format!("{}: {failure}", Service::ServiceBus.name()));
        if holds_for_all {
            *self.stopped.borrow_mut() = Some(failure);
        }
        Err(problem)
    }
}
