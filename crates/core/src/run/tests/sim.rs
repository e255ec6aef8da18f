//! A broker, a storage, and workers that run the real machine against them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::claim::Claim;
use crate::config::{Config, OnDone, OnKeyFailure, QueueConfig};
use crate::id::Mark;
use crate::message::{Addressing, Delivery, LockRef, Outgoing, Properties, property};
use crate::record::{Author, ETag, Record, Release, Seen, State};
use crate::run::{Command, CommandKind, Copy, Effect, Event, Reply, Run, Step, Summary, Tag, Target, Work};
use crate::time::{Instant, UnixTime};

/// The queue of all tests.
pub(super) fn queue() -> QueueConfig {
    Config::parse("[defaults]\nbatch = 4\n[queues.q]").unwrap().queue("q").unwrap().clone()
}

#[derive(Debug, Clone)]
struct Stored {
    record: Record,
    version: u64,
    last_modified: Duration,
}

#[derive(Debug, Clone)]
struct Queued {
    sequence: i64,
    message: Outgoing,
    deliveries: u32,
    visible_at: Duration,
    lock: Option<String>,
}

/// What the outside does to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Done, and answered.
    Answered,
    /// Done, and the answer lost.
    ReplyLost,
    /// Not done, and nobody knows.
    Swallowed,
    /// Done later, or never, and nobody knows.
    Late,
}

/// What takes so long may end a claim. The run and its claim last for far longer.
const LONG: Duration = Duration::from_secs(5);

/// How wrong each clock is, in seconds. They have nothing in common but that they go on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clocks {
    /// The monotonic clock of the workers.
    pub(super) worker: i64,
    pub(super) broker: i64,
    pub(super) storage: i64,
    /// By how many seconds an hour the broker's gains on the storage's.
    pub(super) broker_gains: u32,
}

/// What the clocks show at the beginning, so that one may be behind.
const NOON: i64 = 12 * 3_600;

impl Clocks {
    fn shifted(now: Duration, by: i64) -> Duration {
        now + Duration::from_secs(u64::try_from(NOON + by).expect("wrong by less than half a day"))
    }

    fn worker(self, now: Duration) -> Instant {
        Instant(Self::shifted(now, self.worker))
    }

    fn broker(self, now: Duration) -> Duration {
        Self::shifted(now + now * self.broker_gains / 3_600, self.broker)
    }

    fn storage(self, now: Duration) -> Duration {
        Self::shifted(now, self.storage)
    }
}

/// Both services.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) now: Duration,
    /// Whether a message that fails holds back the others of its key.
    hold: bool,
    /// Whether the record of what is done is deleted.
    forget: bool,
    clocks: Clocks,
    /// In place of the queue's.
    max_attempts: Option<u32>,
    /// In place of the queue's.
    shorter_lock: Option<Duration>,
    /// Of each key, the messages that were begun with their lives and epochs, in order.
    begun: BTreeMap<String, Vec<(String, usize, u64)>>,
    /// How often each record was created: more than once only where records are deleted.
    lives: BTreeMap<String, usize>,
    /// How many messages of each id there were, copies among them.
    pub(super) sent: BTreeMap<String, usize>,
    /// How long each call of the processor takes.
    pub(super) call_takes: Duration,
    records: BTreeMap<String, Stored>,
    /// Large checkpoints and large bodies.
    pub(super) blobs: BTreeMap<String, Bytes>,
    queue: Vec<Queued>,
    pub(super) poison: Vec<Outgoing>,
    /// The broker's own dead-letter queue.
    pub(super) dead: Vec<Outgoing>,
    /// Requests that are still on their way, and whoever sent them knows nothing of it.
    late: Vec<(Command, Option<LockRef>, String)>,
    /// Of each record, what has befallen its message from outside that may have ended a claim.
    strikes: BTreeMap<String, u32>,
    next_sequence: i64,
    next_lock: u64,
    next_version: u64,
    /// Ids whose record went to `d`, in order: each must be here once.
    pub(super) finished: Vec<String>,
    /// What must never happen and did.
    pub(super) violations: Vec<String>,
    /// Sequence numbers of deliveries that a copy stands for.
    copied: Vec<i64>,
}

impl World {
    pub(super) fn with_calls_of(call_takes: Duration) -> Self {
        Self { call_takes, ..Self::default() }
    }

    pub(super) fn holding_back(hold: bool) -> Self {
        Self { hold, ..Self::default() }
    }

    /// With a queue whose locks are not as long as the configuration says.
    pub(super) fn with_locks_of(lock: Duration) -> Self {
        Self { shorter_lock: Some(lock), ..Self::default() }
    }

    fn lock_duration(&self) -> Duration {
        self.shorter_lock.unwrap_or(queue().lock_duration)
    }

    pub(super) fn with_attempts(max_attempts: u32) -> Self {
        Self { max_attempts: Some(max_attempts), ..Self::default() }
    }

    /// With records that are deleted when their messages are completed.
    pub(super) fn forgetting() -> Self {
        Self::default().that_forgets(true)
    }

    /// The same, or not.
    pub(super) fn that_forgets(self, forget: bool) -> Self {
        Self { forget, ..self }
    }

    pub(super) fn with_clocks(clocks: Clocks) -> Self {
        Self { clocks, ..Self::default() }
    }

    pub(super) fn send(&mut self, id: &str, body: &str) {
        self.send_with(id, body, None);
    }

    pub(super) fn send_keyed(&mut self, id: &str, key: &str) {
        self.send_with(id, "body", Some(key));
    }

    /// As ingest sends what is too large for the broker.
    pub(super) fn send_claimed(&mut self, id: &str, body: &str) {
        let claim = Claim::new("q", id, body.as_bytes());
        self.blobs.insert(claim.blob.clone(), Bytes::copy_from_slice(body.as_bytes()));
        self.send(id, "");
        if let Some(queued) = self.queue.last_mut() {
            claim.write(&mut queued.message.properties);
        }
    }

    /// Makes a message that waits name another blob.
    pub(super) fn point_at(&mut self, id: &str, blob: &str) {
        for queued in &mut self.queue {
            if queued.message.properties.text(property::ID) == Some(id) {
                queued.message.properties.set(property::CLAIM, blob);
            }
        }
    }

    pub(super) fn send_with(&mut self, id: &str, body: &str, key: Option<&str>) {
        let key = key.map(|key| (property::KEY, key));
        let properties: Properties = [(property::ID, id)].into_iter().chain(key).collect();
        self.enqueue(
            Outgoing {
                message_id: Some(id.to_owned()),
                body: Bytes::copy_from_slice(body.as_bytes()),
                properties,
                ..Outgoing::default()
            },
            Duration::ZERO,
        );
    }

    fn enqueue(&mut self, message: Outgoing, delay: Duration) {
        self.next_sequence += 1;
        let id = message.properties.text(property::ID).unwrap_or_default().to_owned();
        *self.sent.entry(id).or_default() += 1;
        let visible_at = self.clocks.broker(self.now) + delay;
        self.queue.push(Queued { sequence: self.next_sequence, message, deliveries: 0, visible_at, lock: None });
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn record(&self, id: &str) -> Option<&Record> {
        self.records.get(&crate::id::record_name("q", id)).map(|stored| &stored.record)
    }

    fn receive(&mut self) -> Option<Delivery> {
        let now = self.clocks.broker(self.now);
        let used_up = |queued: &mut Queued| queued.visible_at <= now && queued.deliveries >= queue().max_delivery_count;
        self.dead.extend(self.queue.extract_if(.., used_up).map(|queued| queued.message));
        let locked_until = now + self.lock_duration();
        let next = self.queue.iter_mut().find(|queued| queued.visible_at <= now)?;
        self.next_lock += 1;
        let lock_token = format!("lock-{}", self.next_lock);
        next.lock = Some(lock_token.clone());
        next.visible_at = locked_until;
        next.deliveries += 1;
        Some(Delivery {
            lock: LockRef { sequence_number: next.sequence, lock_token },
            message_id: next.message.message_id.clone().unwrap_or_default(),
            delivery_count: next.deliveries,
            enqueued_at: Some(UnixTime(0)),
            locked_until: Some(UnixTime(locked_until.as_secs())),
            answered_at: Some(UnixTime(now.as_secs())),
            content_type: next.message.content_type.clone(),
            body: next.message.body.clone(),
            properties: next.message.properties.clone(),
            addressing: Addressing::default(),
            time_to_live: None,
        })
    }

    /// A processor begins a step: under a claim that stands.
    fn begins(&mut self, work: &Work) {
        let claimed = |record: &Record| record.epoch == work.epoch && record.state == State::Processing;
        if !self.record(&work.id).is_some_and(claimed) {
            self.violations.push(format!("{}: begun at epoch {}, which was over", work.id, work.epoch));
        }
        if let Some(key) = &work.key {
            self.begins_with_key(work, key);
        }
    }

    /// It holds the key's lock, comes between no two steps of another, and after none that must end first.
    fn begins_with_key(&mut self, work: &Work, key: &str) {
        let (id, epoch) = (&work.id, work.epoch);
        let lock = self.lock(key).filter(|lock| lock.state == State::Processing).map(|lock| lock.epoch);
        if lock.is_none() || lock != work.key_epoch {
            self.violations
                .push(format!("{id}: begun under epoch {:?} of its key, which has {lock:?}", work.key_epoch));
        }
        let line = self.begun.get(key).cloned().unwrap_or_default();
        let this = (id.clone(), self.lives.get(id).copied().unwrap_or_default(), epoch);
        if line.last() != Some(&this) && line.contains(&this) {
            self.violations.push(format!("{id}: another of its key came between two of its steps"));
        }
        for (other, ..) in line.iter().filter(|(other, ..)| self.hold && other != id) {
            let open = self.record(other).is_some_and(|record| !matches!(record.state, State::Done | State::Parked));
            if open {
                self.violations.push(format!("{id}: begun though {other} of its key has not ended"));
            }
        }
        if line.last() != Some(&this) {
            self.begun.entry(key.to_owned()).or_default().push(this);
        }
    }

    /// What befalls a message, or a lock key and so all that are claimed under it.
    fn strike(&mut self, name: &str) {
        if name.starts_with("keys/") {
            return self.strike_all();
        }
        *self.strikes.entry(name.to_owned()).or_default() += 1;
    }

    /// What befalls all that are claimed.
    pub(super) fn strike_all(&mut self) {
        for (name, stored) in &self.records {
            if stored.record.state == State::Processing && !name.starts_with("keys/") {
                *self.strikes.entry(name.clone()).or_default() += 1;
            }
        }
    }

    /// How often something has befallen a message.
    pub(super) fn strikes(&self, id: &str) -> u32 {
        self.strikes.get(&crate::id::record_name("q", id)).copied().unwrap_or(0)
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        if time >= LONG {
            self.strike_all();
        }
    }

    /// One of the requests on their way arrives.
    pub(super) fn land(&mut self, index: usize) {
        if !self.late.is_empty() {
            let (command, lock, name) = self.late.remove(index % self.late.len());
            self.perform(command, lock.as_ref(), &name);
        }
    }

    /// How many requests are on their way.
    pub(super) fn on_their_way(&self) -> usize {
        self.late.len()
    }

    /// Somebody has taken over the claim on a message, and given it back at the end of a run.
    pub(super) fn give_back(&mut self, id: &str) {
        let author = Author { owner: "somebody".to_owned(), mark: Mark::parse("theirs") };
        let claim = self.record(id).expect("it has a record").take_over(queue().claim_ttl, author.clone());
        let released = claim.release(Release::Deadline, Duration::ZERO, author);
        self.store(&crate::id::record_name("q", id), released);
    }

    /// All there is of a message leaves the queue, and no record hears of it.
    pub(super) fn lose(&mut self, id: &str) {
        self.queue.retain(|queued| queued.message.properties.text(property::ID) != Some(id));
    }

    /// The next delivery of the first message is its n-th.
    pub(super) fn deliver_next_for_the(&mut self, n: u32) {
        self.queue[0].deliveries = n - 1;
    }

    /// Somebody unknown has taken the lock of a key, now.
    pub(super) fn hold_lock(&mut self, key: &str) {
        let author = Author { owner: "somebody".to_owned(), mark: Mark::parse("theirs") };
        let record = Record::first_key(key, queue().claim_ttl, None, author);
        self.store(&crate::id::key_name("q", key), record);
    }

    /// The lock of a key.
    pub(super) fn lock(&self, key: &str) -> Option<&Record> {
        self.records.get(&crate::id::key_name("q", key)).map(|stored| &stored.record)
    }

    fn locked(&mut self, lock: &LockRef) -> Option<usize> {
        let now = self.clocks.broker(self.now);
        self.queue
            .iter()
            .position(|queued| queued.lock.as_deref() == Some(lock.lock_token.as_str()) && queued.visible_at > now)
    }

    fn etag(version: u64) -> ETag {
        ETag::parse(&format!("\"{version}\"")).unwrap()
    }

    fn store(&mut self, name: &str, record: Record) -> Reply {
        if record.state == State::Done {
            self.finished.push(record.id.clone());
        }
        self.next_version += 1;
        let version = self.next_version;
        self.records.insert(name.to_owned(), Stored { record, version, last_modified: self.clocks.storage(self.now) });
        Reply::Stored(Self::etag(version))
    }

    fn perform(&mut self, command: Command, lock: Option<&LockRef>, name: &str) -> Reply {
        let nothing = LockRef { sequence_number: 0, lock_token: String::new() };
        let lock = lock.unwrap_or(&nothing);
        match command {
            Command::Create(_) if self.records.contains_key(name) => Reply::Exists,
            Command::Create(record) => {
                *self.lives.entry(record.id.clone()).or_default() += 1;
                self.store(name, record)
            }
            Command::Write { etag, record } => match self.records.get(name) {
                Some(stored) if Self::etag(stored.version) == etag => {
                    if stored.record.state == State::Done {
                        self.violations.push(format!("{name}: written after done"));
                    }
                    if record.step < stored.record.step {
                        self.violations.push(format!("{name}: the checkpoint went back"));
                    }
                    if record.epoch < stored.record.epoch {
                        self.violations.push(format!("{name}: the epoch went back"));
                    }
                    self.store(name, record)
                }
                _ => Reply::Refused,
            },
            Command::Look => self.look(name),
            Command::LookAt { name } => self.look(&name),
            Command::Store { name, .. } if self.blobs.contains_key(&name) => Reply::Exists,
            Command::Store { name, content } => {
                self.blobs.insert(name, content);
                Reply::Stored(Self::etag(0))
            }
            Command::Load { name } => self.blobs.get(&name).cloned().map_or(Reply::Missing, Reply::Loaded),
            Command::Delete { etag } => match self.records.get(name) {
                Some(stored) if Self::etag(stored.version) == etag => {
                    if stored.record.state != State::Done {
                        self.violations.push(format!("{name}: deleted and not done"));
                    }
                    self.records.remove(name);
                    Reply::Settled
                }
                _ => Reply::Refused,
            },
            Command::Discard { name } => {
                self.blobs.remove(&name);
                Reply::Settled
            }
            Command::Renew => match self.locked(lock) {
                Some(index) => {
                    self.queue[index].visible_at = self.clocks.broker(self.now) + self.lock_duration();
                    Reply::Settled
                }
                None => Reply::LockLost,
            },
            Command::Complete => self.complete(lock, name),
            Command::Abandon => match self.locked(lock) {
                Some(index) => {
                    self.queue[index].visible_at = self.clocks.broker(self.now);
                    self.queue[index].lock = None;
                    Reply::Settled
                }
                None => Reply::LockLost,
            },
            Command::Send(copy) => {
                let Copy { queue, message, delay } = *copy;
                self.copied.push(lock.sequence_number);
                if queue == "q" {
                    self.enqueue(message, delay);
                } else {
                    self.poison.push(message);
                }
                Reply::Settled
            }
        }
    }

    fn look(&self, name: &str) -> Reply {
        self.records.get(name).map_or(Reply::Missing, |stored| {
            Reply::Found(Box::new(Seen {
                record: stored.record.clone(),
                etag: Self::etag(stored.version),
                last_modified: UnixTime(stored.last_modified.as_secs()),
                date: UnixTime(self.clocks.storage(self.now).as_secs()),
            }))
        })
    }

    fn complete(&mut self, lock: &LockRef, name: &str) -> Reply {
        let Some(index) = self.locked(lock) else { return Reply::LockLost };
        let gone = self.queue.remove(index);
        let settled = self.records.get(name).is_some_and(|stored| match stored.record.state {
            State::Done => true,
            State::Parked => stored.record.copied,
            State::Processing | State::Released => false,
        });
        // A duplicate's record may have been deleted since it was looked at.
        let was_done = || self.finished.iter().any(|id| gone.message.properties.text(property::ID) == Some(id));
        let settled = settled || (self.forget && was_done());
        if !settled && !self.copied.contains(&gone.sequence) {
            self.violations.push(format!("{name}: completed without a record or a copy that stands for it"));
        }
        Reply::Settled
    }
}

/// One request under way.
#[derive(Debug)]
enum Request {
    Probe,
    /// Waits for a message until then.
    Poll(Duration),
    Command(Tag, Box<Command>, Option<LockRef>, String),
}

/// An instance of the handler: the real machine, and its requests under way.
#[derive(Debug)]
pub(super) struct Worker {
    run: Option<Run>,
    requests: VecDeque<Request>,
    pub(super) summary: Option<Summary>,
    /// How many deliveries it got.
    pub(super) received: usize,
    /// What it gave the processor: id, epoch, step.
    pub(super) processed: Vec<(String, u64, u32)>,
}

/// What the processor of the simulation answers to one message.
pub(super) type Processor<'a> = dyn FnMut(&Work) -> Step + 'a;

impl Worker {
    pub(super) fn start(world: &mut World, length: Duration, random: u128) -> Self {
        Self::start_with_batch(world, length, random, 4)
    }

    pub(super) fn start_with_batch(world: &mut World, length: Duration, random: u128, batch: usize) -> Self {
        let on_key_failure = if world.hold { OnKeyFailure::Hold } else { OnKeyFailure::Continue };
        let on_done = if world.forget { OnDone::Delete } else { OnDone::Keep };
        let max_attempts = world.max_attempts.unwrap_or(queue().max_attempts);
        let queue = QueueConfig { on_key_failure, on_done, max_attempts, ..queue() };
        let mut run = Run::new(queue, batch, length, world.clocks.worker(world.now), random);
        let effects = run.start();
        let mut worker =
            Self { run: Some(run), requests: VecDeque::new(), summary: None, received: 0, processed: Vec::new() };
        worker.take(effects, world, &mut |_| Step::Done(None));
        worker
    }

    pub(super) fn is_alive(&self) -> bool {
        self.run.is_some()
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Where in its requests the first of this kind is.
    pub(super) fn position(&self, kind: CommandKind) -> Option<usize> {
        let fits = |request: &Request| matches!(request, Request::Command(_, command, ..) if command.kind() == kind);
        self.requests.iter().position(fits)
    }

    /// It dies: nothing of it happens any more.
    pub(super) fn die(&mut self) {
        self.run = None;
        self.requests.clear();
    }

    fn take(&mut self, effects: Vec<Effect>, world: &mut World, processor: &mut Processor<'_>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let Some(run) = self.run.as_mut() else { return };
            match effect {
                Effect::Probe => self.requests.push_back(Request::Probe),
                Effect::Poll { timeout_seconds } => {
                    let until = world.now + Duration::from_secs(u64::from(timeout_seconds));
                    self.requests.push_back(Request::Poll(until));
                }
                Effect::Perform { tag, command } => {
                    // The run may have ended meanwhile: a call of the processor took its time.
                    let Some(Target { lock, name }) = run.target(tag) else { continue };
                    let (lock, name) = (lock.cloned(), name.to_owned());
                    self.requests.push_back(Request::Command(tag, Box::new(command), lock, name));
                }
                Effect::Process(work) => {
                    let tags = work.iter().map(|work| work.tag).collect();
                    self.processed.extend(work.iter().map(|work| (work.id.clone(), work.epoch, work.step)));
                    for work in &work {
                        world.begins(work);
                    }
                    let steps = work.iter().map(&mut *processor).collect();
                    let took = world.call_takes;
                    world.pass(took);
                    effects.extend(run.on(Event::Processed { tags, steps, took }, world.clocks.worker(world.now)));
                }
                Effect::Note(_) => {}
            }
        }
        if self.run.as_ref().is_some_and(Run::is_over) {
            self.summary = self.run.take().map(Run::into_summary);
            self.requests.clear();
        }
    }

    /// Performs one of its requests, and lets it have the reply, if there is one.
    pub(super) fn perform(&mut self, world: &mut World, index: usize, fate: Fate, processor: &mut Processor<'_>) {
        let Some(request) = self.requests.remove(index) else { return };
        let now = world.clocks.worker(world.now);
        let event = match request {
            Request::Probe => Event::Probed(Ok(())),
            Request::Poll(_) => {
                let result = if matches!(fate, Fate::Swallowed | Fate::Late) { None } else { world.receive() };
                let result = if fate == Fate::Answered { result } else { None };
                self.received += usize::from(result.is_some());
                Event::Polled { result: Ok(result.map(Box::new)), pending_since: now, calls: 1 }
            }
            Request::Command(tag, command, lock, name) => {
                let kind = command.kind();
                let writes = matches!(*command, Command::Create(_) | Command::Write { .. });
                if fate != Fate::Answered {
                    world.strike(&name);
                }
                let reply = match fate {
                    Fate::Swallowed => None,
                    Fate::Late => {
                        world.late.push((*command, lock, name));
                        None
                    }
                    Fate::Answered | Fate::ReplyLost => Some(world.perform(*command, lock.as_ref(), &name)),
                };
                let lost = if writes { Reply::Unknown } else { Reply::Unavailable("lost".to_owned()) };
                let reply = reply.filter(|_| fate == Fate::Answered).unwrap_or(lost);
                Event::Replied { tag, kind, reply, calls: 1 }
            }
        };
        if let Some(run) = self.run.as_mut() {
            let effects = run.on(event, now);
            self.take(effects, world, processor);
        }
    }

    /// Lets it notice the time.
    pub(super) fn wake(&mut self, world: &mut World, processor: &mut Processor<'_>) {
        if let Some(run) = self.run.as_mut() {
            let effects = run.wake(world.clocks.worker(world.now));
            self.take(effects, world, processor);
        }
    }

    /// Runs alone to its end, everything answered in order. Idle time is skipped.
    pub(super) fn finish(&mut self, world: &mut World, processor: &mut Processor<'_>) -> Summary {
        for _ in 0..10_000 {
            match self.next_request(world) {
                Some(index) => self.perform(world, index, Fate::Answered, processor),
                None => match self.run.as_ref() {
                    Some(run) => {
                        let wake = world.now + world.clocks.worker(world.now).until(run.next_wake());
                        world.now = self.next_poll_end(wake).max(world.now + Duration::from_millis(1));
                    }
                    None => break,
                },
            }
            self.wake(world, processor);
        }
        self.summary.clone().expect("a run ends")
    }

    fn next_poll_end(&self, wake: Duration) -> Duration {
        let ends = self.requests.iter().filter_map(|request| match request {
            Request::Poll(until) => Some(*until),
            Request::Probe | Request::Command(..) => None,
        });
        ends.chain([wake]).min().unwrap_or_default()
    }

    /// The next request that can be answered: a long poll waits while the queue is empty, until its end.
    fn next_request(&self, world: &World) -> Option<usize> {
        let broker_now = world.clocks.broker(world.now);
        let empty = !world.queue.iter().any(|queued| queued.visible_at <= broker_now);
        let waits = |request: &Request| match request {
            Request::Poll(until) => empty && world.now < *until,
            Request::Probe | Request::Command(..) => false,
        };
        self.requests.iter().position(|request| !waits(request))
    }
}

/// A run to its end with a processor.
pub(super) fn run(world: &mut World, random: u128, processor: &mut Processor<'_>) -> Summary {
    let mut worker = Worker::start(world, Duration::from_secs(20), random);
    worker.finish(world, processor)
}
