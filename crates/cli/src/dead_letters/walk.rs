//! A pass over a queue: receives on several long polls at once, until the queue is empty, or enough was seen.
//!
//! Whatever the visitor does not take away is **held** until the end, its lock renewed once half of it is gone, and then given back.
//! Giving it back at once would bring it straight up again, once for each letter behind it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, join_all, select};
use futures::{StreamExt as _, stream};
use oncebus_azure::connection::ServiceBusConnection;
use oncebus_core::message::{Delivery, LockRef};
use oncebus_core::time::{Instant, UnixTime};
use oncebus_runtime::broker::Broker;
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;

use super::source::Source;
use crate::operator::{PATIENCE, failed};
use crate::signals::Signals;

/// How long a poll waits for a letter before the queue counts as empty. A partitioned queue may have one all the same.
const WAIT_SECONDS: u32 = 2;

/// The shortest lock that the broker knows, for a letter that does not say how long its own is.
const SHORTEST_LOCK: Duration = Duration::from_secs(5);

/// How often it looks for locks that are to be renewed.
const LOOK_UP: Duration = Duration::from_secs(1);

/// Renewals, and letters given back, at once.
const AT_ONCE: usize = 32;

/// How many polls may fail one after the other, and the pause after each.
const MAX_FAILED_POLLS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// What a visitor has done with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is completed.
    Gone,
    /// It is to be given back.
    Kept,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// Ended early: a letter that was given back has too few deliveries left.
    pub(super) used_up: bool,
    /// Letters without a delivery left that were given back all the same: the broker has moved them.
    pub(super) moved: u64,
    /// Letters that came after the pass began.
    pub(super) newer: u64,
    /// Polls without an answer, which may have locked a letter.
    pub(super) unanswered: u64,
    /// Ended by a signal.
    pub(super) interrupted: bool,
}

/// A pass over a queue.
pub(super) struct Walk<'a> {
    platform: &'a Native,
    listen: &'a ServiceBusConnection,
    source: &'a Source,
    workers: usize,
    /// How many deliveries must be left to what is given back, or the pass ends.
    spare: u32,
    /// Set by whoever has seen enough.
    enough: Cell<bool>,
    hands: RefCell<Hands>,
}

/// What is in hand.
#[derive(Debug, Default)]
struct Hands {
    held: BTreeMap<i64, Held>,
    /// Sequence numbers of what was visited: what comes again has lost its lock, and is only held.
    visited: BTreeSet<i64>,
    /// When the pass began, by the broker's clock.
    began: Option<UnixTime>,
    failed_polls: u32,
    walked: Walked,
}

#[derive(Debug, Clone)]
struct Held {
    lock: LockRef,
    deliveries: u32,
    /// Before the request that locked or renewed it was sent, or answered: its lock ends no earlier than so much later.
    since: Instant,
    lasts: Duration,
}

/// Whether there may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    More,
    Empty,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        platform: &'a Native,
        listen: &'a ServiceBusConnection,
        source: &'a Source,
        workers: usize,
    ) -> Self {
        Self { platform, listen, source, workers, spare: 0, enough: Cell::new(false), hands: RefCell::default() }
    }

    /// A pass that only looks leaves each letter the delivery that a redrive needs.
    pub(super) fn that_only_looks(self) -> Self {
        Self { spare: 1, ..self }
    }

    /// No further letter is visited.
    pub(super) fn enough(&self) {
        self.enough.set(true);
    }

    /// Shows each letter to `visit`, several at once, and gives back what it keeps. An error of the visitor ends the pass.
    pub(super) async fn run(&self, visit: impl AsyncFn(Delivery) -> anyhow::Result<Fate>) -> anyhow::Result<Walked> {
        let mut signals = Signals::new()?;
        let result = {
            let mut work = pin!(self.visit_all(&visit));
            let mut renew = pin!(self.keep_renewing());
            loop {
                let both = select(work.as_mut(), renew.as_mut());
                let signal = pin!(signals.next());
                match select(both, signal).await {
                    Either::Left((Either::Left((result, _)), _)) => break result,
                    Either::Left((Either::Right(((), _)), _)) => {}
                    Either::Right(((), _)) => {
                        // What is being done is finished: it takes moments, and is what a kill would leave half done.
                        self.hands.borrow_mut().walked.interrupted = true;
                        self.enough();
                    }
                }
            }
        };
        self.give_back().await;
        result?;
        Ok(self.hands.borrow().walked)
    }

    async fn visit_all(&self, visit: &impl AsyncFn(Delivery) -> anyhow::Result<Fate>) -> anyhow::Result<()> {
        // The first one alone: it may tell that no other should be touched.
        if self.turn(visit).await? == Turn::Empty {
            return Ok(());
        }
        let workers = (0..self.workers).map(async |_| {
            while self.turn(visit).await? == Turn::More {}
            anyhow::Ok(())
        });
        join_all(workers).await.into_iter().collect()
    }

    /// One poll, and one visit where it brings a letter.
    async fn turn(&self, visit: &impl AsyncFn(Delivery) -> anyhow::Result<Fate>) -> anyhow::Result<Turn> {
        if self.enough.get() {
            return Ok(Turn::Empty);
        }
        let asked = self.platform.now();
        let broker = Broker::new(self.platform, self.listen);
        let polled = broker.peek_lock(&self.source.entity, WAIT_SECONDS, asked.plus(PATIENCE)).await.0;
        let delivery = match polled {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Ok(Turn::Empty),
            Err(failure) => return self.poll_failed(failure).await,
        };
        let sequence = delivery.lock.sequence_number;
        if !self.take(&delivery) || self.enough.get() {
            return Ok(Turn::More);
        }
        if self.came_later(&delivery) {
            self.hands.borrow_mut().walked.newer += 1;
            // What is behind it came later, too.
            return Ok(Turn::Empty);
        }
        let deliveries = delivery.delivery_count;
        let fate = visit(delivery).await.inspect_err(|_| self.enough())?;
        match fate {
            Fate::Gone => drop(self.hands.borrow_mut().held.remove(&sequence)),
            Fate::Kept
                if self.source.max_delivery_count.is_some_and(|max| deliveries.saturating_add(self.spare) >= max) =>
            {
                self.hands.borrow_mut().walked.used_up = true;
                self.enough();
            }
            Fate::Kept => {}
        }
        Ok(Turn::More)
    }

    /// Takes a letter into the hands. Whether it was not visited before.
    fn take(&self, delivery: &Delivery) -> bool {
        let mut hands = self.hands.borrow_mut();
        let hands = &mut *hands;
        hands.failed_polls = 0;
        hands.began = hands.began.or(delivery.answered_at);
        let held = Held {
            lock: delivery.lock.clone(),
            deliveries: delivery.delivery_count,
            since: self.platform.now(),
            lasts: delivery.lock_duration().unwrap_or_default().max(SHORTEST_LOCK),
        };
        hands.held.insert(delivery.lock.sequence_number, held);
        hands.visited.insert(delivery.lock.sequence_number)
    }

    /// Whether it was put there after the pass began. On the broker's queues it keeps the time of before.
    fn came_later(&self, delivery: &Delivery) -> bool {
        let began = self.hands.borrow().began;
        !self.source.is_brokers && delivery.enqueued_at.zip(began).is_some_and(|(enqueued, began)| enqueued > began)
    }

    async fn poll_failed(&self, failure: Failure) -> anyhow::Result<Turn> {
        let failures = {
            let mut hands = self.hands.borrow_mut();
            hands.walked.unanswered += u64::from(matches!(failure, Failure::Ambiguous(_)));
            hands.failed_polls += 1;
            hands.failed_polls
        };
        let pause = match &failure {
            Failure::Ambiguous(_) | Failure::Unreachable(_) => Some(PAUSE),
            Failure::Throttled { retry_after, .. } => Some(retry_after.unwrap_or(PAUSE)),
            _ => None,
        };
        match pause.filter(|_| failures <= MAX_FAILED_POLLS) {
            Some(pause) => {
                self.platform.sleep(pause).await;
                Ok(Turn::More)
            }
            None => {
                self.enough();
                Err(failed(&failure, &format!("cannot receive from {}", self.source.entity), "Listen there"))
            }
        }
    }

    /// Never ends by itself.
    async fn keep_renewing(&self) {
        loop {
            self.platform.sleep(LOOK_UP).await;
            let now = self.platform.now();
            let aging = |held: &&Held| now.since(held.since) >= held.lasts / 2;
            let due: Vec<LockRef> =
                self.hands.borrow().held.values().filter(aging).map(|held| held.lock.clone()).collect();
            stream::iter(due).for_each_concurrent(AT_ONCE, |lock| async move { self.renew(&lock).await }).await;
        }
    }

    async fn renew(&self, lock: &LockRef) {
        let asked = self.platform.now();
        let broker = Broker::new(self.platform, self.listen);
        let (renewed, _) = broker.renew(&self.source.entity, lock, asked.plus(PATIENCE)).await;
        let mut hands = self.hands.borrow_mut();
        match renewed {
            Ok(()) => {
                if let Some(held) = hands.held.get_mut(&lock.sequence_number) {
                    held.since = asked;
                }
            }
            // It comes again, if it was not completed meanwhile, and is held again.
            Err(Failure::LockLost) => drop(hands.held.remove(&lock.sequence_number)),
            Err(_) => {}
        }
    }

    /// Gives back whatever is held. What cannot be given back comes back by itself.
    async fn give_back(&self) {
        let held: Vec<Held> = std::mem::take(&mut self.hands.borrow_mut().held).into_values().collect();
        let max = self.source.max_delivery_count;
        let moved = held.iter().filter(|held| max.is_some_and(|max| held.deliveries >= max)).count();
        self.hands.borrow_mut().walked.moved = u64::try_from(moved).unwrap_or(u64::MAX);
        let deadline = self.platform.now().plus(PATIENCE);
        let given = stream::iter(held).for_each_concurrent(AT_ONCE, |held| async move {
            let broker = Broker::new(self.platform, self.listen);
            let _ = broker.abandon(&self.source.entity, &held.lock, deadline).await;
        });
        given.await;
    }
}
