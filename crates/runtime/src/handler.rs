//! Drives a [`Run`]: performs its effects, and tells it what came of them.
//!
//! All requests of a run are under way at once; the loop sleeps until one of them ends or the run wants to be woken. The
//! processor is called in between, synchronously: what was asked for before it is begun first, so that requests travel
//! while it works.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, LocalBoxFuture, poll_fn, select};
use futures::stream::{FuturesUnordered, Stream, StreamExt as _};
use oncebus_azure::blob::listing::DeleteOutcome;
use oncebus_core::message::{Delivery, LockRef};
use oncebus_core::record::Seen;
use oncebus_core::run::{
    Command, Copy, Effect, Event, Note, Reply, Run, Service, Step, Summary, Tag, Target, Trouble, Work,
};
use oncebus_core::time::{Instant, UnixTime};

use crate::broker::{Broker, Counted};
use crate::failure::Failure;
use crate::platform::Platform;
use crate::records::{Created, Records, Written};

/// What a run works with.
#[derive(Debug)]
pub struct Services<'p, P> {
    /// The clock, and the timers beside the requests.
    pub platform: &'p P,
    /// Service Bus with the right to listen.
    pub listen: Broker<'p, P>,
    /// Service Bus with the right to send: copies.
    pub send: Broker<'p, P>,
    /// The records.
    pub records: Records<'p, P>,
    /// The queue.
    pub queue: String,
}

/// How long a write waits when the storage is too busy and does not say for how long.
const THROTTLED_PAUSE: Duration = Duration::from_secs(1);

/// How often the loop looks up while nothing happens: a message is at most so much older than we think. Far below the
/// 10 s that a delivery has from receive to claim.
const LOOK_UP: Duration = Duration::from_secs(1);

/// A loop that looks up so late was not let run: stopped by a signal, or on a machine that was suspended.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// Runs to the end.
///
/// `process` is the processor: called with a batch, answers a step for each message. `note` gets what belongs into the log.
pub async fn run<P: Platform>(
    services: &Services<'_, P>,
    mut run: Run,
    mut process: impl FnMut(&str, Vec<Work>) -> Vec<Step>,
    mut note: impl FnMut(&Note),
) -> Summary {
    let clock = services.platform;
    let id = run.id().to_owned();
    let mut driver = Driver::new(services);
    let mut effects = run.start();
    loop {
        let mut batches = Vec::new();
        for effect in effects {
            match effect {
                Effect::Process(work) => batches.push(work),
                Effect::Note(said) => note(&said),
                other => driver.begin(other, &run),
            }
        }
        effects = Vec::new();
        for work in batches {
            // Requests begin when they are first polled: do that before the processor takes the only thread.
            for event in driver.poll_once().await {
                effects.extend(run.on(event, clock.now()));
            }
            let tags: Vec<Tag> = work.iter().map(|work| work.tag).collect();
            let began = clock.now();
            driver.lookout.behind = true;
            let steps = process(&id, work);
            let now = clock.now();
            effects.extend(run.on(Event::Processed { tags, steps, took: now.since(began) }, now));
        }
        if !effects.is_empty() {
            continue;
        }
        if run.is_over() {
            return run.into_summary();
        }
        effects = match driver.next(run.next_wake()).await {
            Some(event) => run.on(event, clock.now()),
            None => run.wake(clock.now()),
        };
    }
}

/// The requests under way.
struct Driver<'a, P> {
    services: &'a Services<'a, P>,
    pending: FuturesUnordered<LocalBoxFuture<'a, Ended>>,
    broker_clock: BrokerClock,
    lookout: Lookout,
}

/// Tells how old what the broker has just locked may be. One request that has ended is taken in at a time; after a call of the processor, or
/// after the whole instance stood still, the others may have ended as long ago.
#[derive(Debug)]
struct Lookout {
    /// Whatever had not ended by then was pending then.
    looked: Instant,
    /// When the loop last woke.
    woke: Instant,
    /// What has ended meanwhile is not all taken in yet.
    behind: bool,
}

impl Lookout {
    const fn new(now: Instant) -> Self {
        Self { looked: now, woke: now, behind: false }
    }

    /// The loop woke, because something had ended or because it was time to look up. After standing still that is no sign yet that
    /// nothing has ended: the timer may be noticed before what lies in the sockets.
    fn woke(&mut self, has_ended: bool, now: Instant) {
        let stood_still = now.since(self.woke) > STOOD_STILL;
        self.woke = now;
        self.behind = stood_still || (self.behind && has_ended);
        if !self.behind {
            self.looked = now;
        }
    }
}

/// A request that ended, before the loop has put it in its place.
enum Ended {
    Event(Event),
    Polled { result: Result<Option<Box<Delivery>>, Trouble>, began: Instant, calls: u32 },
}

impl<'a, P: Platform> Driver<'a, P> {
    fn new(services: &'a Services<'a, P>) -> Self {
        let lookout = Lookout::new(services.platform.now());
        Self { services, pending: FuturesUnordered::new(), broker_clock: BrokerClock::default(), lookout }
    }

    fn begin(&mut self, effect: Effect, run: &Run) {
        let (services, deadline) = (self.services, run.deadline());
        match effect {
            Effect::Probe => self.pending.push(Box::pin(async move {
                let answer = services.records.probe(deadline).await;
                Ended::Event(Event::Probed(answer.map_err(|failure| trouble(Service::Storage, &failure))))
            })),
            Effect::Poll { timeout_seconds } => self.pending.push(Box::pin(async move {
                let began = services.platform.now();
                let (answer, calls) = services.listen.peek_lock(&services.queue, timeout_seconds, deadline).await;
                let result = answer.map(|found| found.map(Box::new));
                let result = result.map_err(|failure| trouble(Service::ServiceBus, &failure));
                Ended::Polled { result, began, calls }
            })),
            Effect::Perform { tag, command } => {
                let Some(Target { lock, name }) = run.target(tag) else { return };
                let (lock, name) = (lock.cloned(), name.to_owned());
                let kind = command.kind();
                let broker_time = self.broker_clock.at(services.platform.now());
                self.pending.push(Box::pin(async move {
                    let (reply, calls) = perform(services, command, lock.as_ref(), &name, broker_time, deadline).await;
                    Ended::Event(Event::Replied { tag, kind, reply, calls })
                }));
            }
            Effect::Process(_) | Effect::Note(_) => {}
        }
    }

    /// Begins what has not begun, and takes what has already ended.
    async fn poll_once(&mut self) -> Vec<Event> {
        let pending = &mut self.pending;
        let ended = poll_fn(|context| {
            let mut ended = Vec::new();
            while let Poll::Ready(Some(one)) = Pin::new(&mut *pending).poll_next(context) {
                ended.push(one);
            }
            Poll::Ready(ended)
        });
        let ended = ended.await;
        ended.into_iter().map(|one| self.event(one)).collect()
    }

    /// The next event, or nothing when it is time to look up.
    async fn next(&mut self, wake: Instant) -> Option<Event> {
        let clock = self.services.platform;
        let sleep = pin!(clock.sleep(clock.now().until(wake).min(LOOK_UP)));
        let ended = match select(self.pending.next(), sleep).await {
            Either::Left((Some(ended), _)) => Some(ended),
            // Nothing is under way: only time can bring something.
            Either::Left((None, sleep)) => {
                sleep.await;
                None
            }
            Either::Right(((), _)) => None,
        };
        let event = ended.map(|ended| self.event(ended));
        self.lookout.woke(event.is_some(), clock.now());
        event
    }

    fn event(&mut self, ended: Ended) -> Event {
        match ended {
            Ended::Event(event) => event,
            Ended::Polled { result, began, calls } => {
                if let Ok(Some(delivery)) = &result {
                    self.broker_clock.observe(delivery.answered_at, self.services.platform.now());
                }
                Event::Polled { result, pending_since: began.max(self.lookout.looked), calls }
            }
        }
    }
}

/// The broker's clock, as its last answer told it. Copies are scheduled by it: a client's clock decides nothing.
#[derive(Debug, Default)]
struct BrokerClock(Option<(UnixTime, Instant)>);

impl BrokerClock {
    fn observe(&mut self, date: Option<UnixTime>, now: Instant) {
        // An answer may be read long after it was given: only what is ahead of what we know tells something.
        if let Some(date) = date.filter(|date| self.at(now).is_none_or(|known| known < *date)) {
            self.0 = Some((date, now));
        }
    }

    fn at(&self, now: Instant) -> Option<UnixTime> {
        self.0.map(|(date, seen)| UnixTime(date.0.saturating_add(now.since(seen).as_secs())))
    }
}

/// Performs one command of a delivery or, without a `lock`, of a lock key, and says how many requests it took. `broker_time` is the
/// broker's clock, for copies with a delay.
pub async fn perform<P: Platform>(
    services: &Services<'_, P>,
    command: Command,
    lock: Option<&LockRef>,
    name: &str,
    broker_time: Option<UnixTime>,
    deadline: Instant,
) -> (Reply, u32) {
    let Services { listen, send, records, queue, .. } = services;
    match command {
        Command::Create(record) => {
            let (result, calls) = records.create(name, &record, deadline).await;
            let result = result.map(|created| match created {
                Created::New(etag) => Reply::Stored(etag),
                Created::Exists => Reply::Exists,
            });
            (written(services.platform, result, deadline).await, calls)
        }
        Command::Write { etag, record } => {
            let (result, calls) = records.write(name, &etag, &record, deadline).await;
            let result = result.map(|written| match written {
                Written::Now(etag) => Reply::Stored(etag),
                Written::Refused => Reply::Refused,
            });
            (written(services.platform, result, deadline).await, calls)
        }
        Command::Look => looked(records.look(name, deadline).await),
        Command::LookAt { name } => looked(records.look(&name, deadline).await),
        Command::Store { name, content } => {
            let (result, calls) = records.store(&name, content, deadline).await;
            let result = result.map(|created| match created {
                Created::New(etag) => Reply::Stored(etag),
                Created::Exists => Reply::Exists,
            });
            (result.unwrap_or_else(|failure| read_failed(&failure)), calls)
        }
        Command::Load { name } => {
            let (result, calls) = records.load(&name, deadline).await;
            let reply = result.map(|found| found.map_or(Reply::Missing, Reply::Loaded));
            (reply.unwrap_or_else(|failure| read_failed(&failure)), calls)
        }
        Command::Renew => match lock {
            Some(lock) => settled(listen.renew(queue, lock, deadline).await),
            None => no_lock(),
        },
        Command::Delete { etag } => {
            let (result, calls) = records.delete(name, &etag, deadline).await;
            let reply = result.map(|outcome| match outcome {
                DeleteOutcome::Deleted => Reply::Settled,
                DeleteOutcome::Refused => Reply::Refused,
            });
            (reply.unwrap_or_else(|failure| read_failed(&failure)), calls)
        }
        Command::Discard { name } => {
            let (result, calls) = records.discard(&name, deadline).await;
            (result.map_or_else(|failure| read_failed(&failure), |()| Reply::Settled), calls)
        }
        Command::Complete => match lock {
            Some(lock) => settled(listen.complete(queue, lock, deadline).await),
            None => no_lock(),
        },
        Command::Abandon => match lock {
            Some(lock) => settled(listen.abandon(queue, lock, deadline).await),
            None => no_lock(),
        },
        Command::Send(copy) => {
            let Copy { queue, mut message, delay } = *copy;
            if !delay.is_zero() {
                let Some(now) = broker_time else {
                    return (Reply::Failed("the broker does not tell the time".to_owned()), 0);
                };
                message.scheduled_for = Some(now.plus(delay));
            }
            settled(send.send(&queue, &message, deadline, true).await)
        }
    }
}

/// A lock key has nothing to settle.
fn no_lock() -> (Reply, u32) {
    (Reply::Failed("there is no delivery to settle".to_owned()), 0)
}

fn looked((result, calls): Counted<Option<Seen>>) -> (Reply, u32) {
    let reply = result.map(|found| found.map_or(Reply::Missing, |seen| Reply::Found(Box::new(seen))));
    (reply.unwrap_or_else(|failure| read_failed(&failure)), calls)
}

/// A conditional write: what has no clear answer is for the record protocol to look into, after the pause that the
/// service asked for.
async fn written<P: Platform>(platform: &P, result: Result<Reply, Failure>, deadline: Instant) -> Reply {
    match result {
        Ok(reply) => reply,
        Err(Failure::Ambiguous(_)) => Reply::Unknown,
        Err(Failure::Throttled { retry_after, .. }) => {
            let pause = retry_after.unwrap_or(THROTTLED_PAUSE);
            platform.sleep(pause.min(platform.now().until(deadline))).await;
            Reply::Unknown
        }
        Err(other) => read_failed(&other),
    }
}

/// A look or a read has changed nothing, whatever became of it; and nothing rests on a checkpoint that no record names.
fn read_failed(failure: &Failure) -> Reply {
    let text = failure.to_string();
    match failure {
        Failure::Denied(_) => Reply::Denied(text),
        Failure::LockLost => Reply::LockLost,
        Failure::Refused(_) | Failure::TooLargeOrFull(_) => Reply::Failed(text),
        Failure::Missing(_) => Reply::NotThere(text),
        Failure::Throttled { .. } | Failure::Unreachable(_) | Failure::Ambiguous(_) => Reply::Unavailable(text),
    }
}

/// A call to the broker that was repeated as long as it helped.
fn settled((result, calls): (Result<(), Failure>, u32)) -> (Reply, u32) {
    (result.map_or_else(|failure| read_failed(&failure), |()| Reply::Settled), calls)
}

fn trouble(service: Service, failure: &Failure) -> Trouble {
    let text = failure.to_string();
    match failure {
        Failure::Denied(_) => Trouble::Denied(service, text),
        Failure::Missing(_) => Trouble::Missing(service, text),
        _ => Trouble::Unavailable(service, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each awakening its second, and whether something had ended; then since when what ended next was pending.
    fn pending_since(course: &[(u64, bool)]) -> u64 {
        let second = |second| Instant(Duration::from_secs(second));
        let mut lookout = Lookout::new(second(0));
        for (at, has_ended) in course {
            lookout.woke(*has_ended, second(*at));
        }
        lookout.looked.0.as_secs()
    }

    #[test]
    fn what_ends_while_the_loop_looks_up_was_pending_a_moment_ago() {
        assert_eq!(pending_since(&[(1, false), (2, true), (2, true)]), 2);
    }

    #[test]
    fn what_ended_while_the_instance_stood_still_may_be_as_old_as_that() {
        assert_eq!(pending_since(&[(1, false), (31, true)]), 1, "siblings of the first that is taken in");
        assert_eq!(pending_since(&[(1, false), (31, true), (31, true)]), 1);
        assert_eq!(pending_since(&[(1, false), (31, false), (31, true)]), 1, "the timer was noticed first");
        assert_eq!(pending_since(&[(1, false), (31, true), (32, false)]), 32, "all is taken in");
    }
}
