//! Has sends under way: so many at once, those that share a key one after the other, and none once the broker refuses.

use std::collections::VecDeque;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use oncebus_core::ingest::report::{Outcome, Refused};
use oncebus_core::time::Instant;
use oncebus_runtime::broker::Broker;
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Platform;
use oncebus_runtime::records::Records;

use super::packer::{Freight, Keys, Load};
use crate::answer::Service;
use crate::serve::Context;

/// The sends of one request.
pub struct Sender<'a, P> {
    context: &'a Context<'a, P>,
    broker: &'a Broker<'a, P>,
    records: &'a Records<'a, P>,
    queue: &'a str,
    most: usize,
    /// The end of the request, once its body is there. Until then each send has its own.
    deadline: Option<Instant>,
    under_way: FuturesUnordered<LocalBoxFuture<'a, Ended>>,
    /// The keys of what is under way, by the number of its send.
    busy: Vec<(usize, Keys)>,
    waiting: VecDeque<Load>,
    /// How many were begun.
    begun: usize,
    /// Why no more is sent.
    stopped: Option<Rc<Refused>>,
    /// What a service said first: for the log.
    cause: Option<String>,
}

/// A send that has ended.
struct Ended {
    number: usize,
    items: Vec<usize>,
    result: Result<(), (Service, Failure)>,
}

impl<'a, P: Platform> Sender<'a, P> {
    /// For a queue.
    #[must_use]
    pub fn new(
        context: &'a Context<'a, P>,
        broker: &'a Broker<'a, P>,
        records: &'a Records<'a, P>,
        queue: &'a str,
    ) -> Self {
        Self {
            context,
            broker,
            records,
            queue,
            most: context.settings.config.max_sends_in_flight,
            deadline: None,
            under_way: FuturesUnordered::new(),
            busy: Vec::new(),
            waiting: VecDeque::new(),
            begun: 0,
            stopped: None,
            cause: None,
        }
    }

    /// Whether it takes more: what cannot be sent yet waits in memory. Once it has stopped it takes everything, and sends nothing.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.stopped.is_some() || self.waiting.len() < self.most
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether anything was begun.
    #[must_use]
    pub const fn has_sent(&self) -> bool {
        self.begun > 0
    }

    /// Why no more is sent.
    #[must_use]
    pub fn stopped(&self) -> Option<Rc<Refused>> {
        self.stopped.clone()
    }

    /// Sends no more.
    pub fn stop(&mut self, why: Rc<Refused>) {
        self.stopped.get_or_insert(why);
    }

    /// All of the body is there: the time runs.
    pub fn body_has_ended(&mut self) {
        self.deadline = Some(self.context.deadline());
    }

    /// Takes a load. It goes in its turn.
    pub fn push(&mut self, load: Load) {
        self.waiting.push_back(load);
    }

    /// Begins what may begin; once it has stopped, tells what waits that it will not.
    pub fn start(&mut self, outcomes: &mut [Outcome]) {
        if let Some(why) = &self.stopped {
            for load in self.waiting.drain(..) {
                tell(outcomes, &load.items, &Err(Rc::clone(why)));
            }
            return;
        }
        let mut passed: Vec<Keys> = Vec::new();
        let mut at = 0;
        while at < self.waiting.len() && self.under_way.len() < self.most {
            let Some(load) = self.waiting.get(at) else { break };
            let before = passed.iter().chain(self.busy.iter().map(|(_, keys)| keys));
            if before.into_iter().any(|keys| keys.meet(&load.keys)) {
                passed.push(load.keys.clone());
                at += 1;
            } else if let Some(load) = self.waiting.remove(at) {
                self.begin(load);
            }
        }
    }

    fn begin(&mut self, load: Load) {
        let number = self.begun;
        self.begun += 1;
        self.busy.push((number, load.keys));
        let (broker, records, queue) = (self.broker, self.records, self.queue);
        let deadline = self.deadline.unwrap_or_else(|| self.context.deadline());
        let send = async move {
            let result = send(broker, records, queue, load.freight, deadline).await;
            Ended { number, items: load.items, result }
        };
        self.under_way.push(send.boxed_local());
    }

    /// Waits for the next send to end, and notes what came of it. Can be dropped while it waits.
    pub async fn ended(&mut self, outcomes: &mut [Outcome]) {
        let Some(Ended { number, items, result }) = self.under_way.next().await else { return };
        self.busy.retain(|(busy, _)| *busy != number);
        let result = result.map_err(|(service, failure)| {
            self.cause.get_or_insert_with(|| format!("{}: {failure}", service.name()));
            if holds_for_all(&failure) {
                self.stop(Refused::new(service.problem_of_unsent(&failure)));
            }
            Refused::new(service.problem(&failure))
        });
        tell(outcomes, &items, &result);
    }

    /// What a service said first.
    #[must_use]
    pub fn into_cause(self) -> Option<String> {
        self.cause
    }
}

async fn send<P: Platform>(
    broker: &Broker<'_, P>,
    records: &Records<'_, P>,
    queue: &str,
    freight: Freight,
    deadline: Instant,
) -> Result<(), (Service, Failure)> {
    let (sent, _) = match freight {
        Freight::Batch(batch) => broker.send_batch(queue, batch, deadline, false).await,
        Freight::Alone(entry) => broker.send(queue, &entry.message, deadline, false).await,
        Freight::Claimed { entry, blob, body } => {
            let (stored, _) = records.store(&blob, body, deadline).await;
            stored.map_err(|failure| (Service::Storage, failure))?;
            broker.send(queue, &entry.message, deadline, false).await
        }
    };
    sent.map_err(|failure| (Service::ServiceBus, failure))
}

/// Whether the next send would fail for the same reason.
const fn holds_for_all(failure: &Failure) -> bool {
    match failure {
        Failure::Denied(_) | Failure::Missing(_) => true,
        Failure::Throttled { .. } | Failure::Unreachable(_) | Failure::Ambiguous(_) => true,
        Failure::TooLargeOrFull(_) | Failure::Refused(_) | Failure::LockLost => false,
    }
}

fn tell(outcomes: &mut [Outcome], items: &[usize], result: &Result<(), Rc<Refused>>) {
    for index in items {
        if let Some(outcome) = outcomes.get_mut(*index) {
            outcome.result.clone_from(result);
        }
    }
}
