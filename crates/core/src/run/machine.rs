//! The machine of a run: which polls, which claims, which call of the processor, and when to end.

mod keeping;
mod keys;
mod progress;
mod sameness;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::command::{Command, CommandKind, Context, Next};
use super::delivery::Handling;
use super::measures::RetryClass;
use super::summary::Summary;
use super::{Effect, Event, Note, Outcome, Reply, Service, Step, Tag, Target, Trouble};
use crate::config::QueueConfig;
use crate::id::Names;
use crate::message::{Delivery, LockRef, property};
use crate::time::Instant;
use crate::trace::Trace;
use keys::{KeyLine, Place, Remembered};

/// How long claimed messages wait for the claims of others, before the processor is called without those.
/// Only a storage that stalls makes anyone wait so long. Decided, not measured.
const WAIT_FOR_CLAIMS: Duration = Duration::from_secs(1);

/// Bounds of what a run keeps free at its end before it has seen how long a message takes: a fifth of the run within
/// them, and never more than half of it.
const LEAST_REST: Duration = Duration::from_millis(500);
const MOST_REST: Duration = Duration::from_secs(5);

/// One delivery in hand.
#[derive(Debug, Clone, PartialEq, Hash)]
struct Slot {
    handling: Handling,
    received: Instant,
    /// Its place in the line of its lock key.
    place: Option<Place>,
    /// Waited for a twin.
    after_twin: bool,
    /// The command under way, for counting.
    command: Option<CommandKind>,
    /// When to look again, while another holds the record.
    wait_until: Option<Instant>,
    /// Why it is tried again, should it be: the class that the processor's last answer would make it.
    retry_class: Option<RetryClass>,
    /// The code with which it was given up, once its poison copy is asked for.
    dead_letter: Option<String>,
}

/// A run of one queue. See the [module](super) for how to drive it.
#[derive(Debug, Clone)]
pub struct Run {
    queue: QueueConfig,
    batch: usize,
    names: Names,
    /// Nothing is waited for after this.
    deadline: Instant,
    /// What is kept free before the deadline, to settle what is in hand: at least, and at the most.
    rest: (Duration, Duration),
    /// The longest that a message took from its receipt to being done.
    slowest: Duration,
    /// The longest call of the processor.
    longest_call: Duration,
    /// A call of the processor is asked for, and its answers have not come.
    processing: bool,
    /// Why the last poll failed, where one failure may pass.
    failed_poll: Option<Trouble>,
    /// The time of the last event: timers up to it have been acted upon.
    seen: Instant,
    probing: bool,
    receiving: bool,
    /// The queue was found empty when no time was left for another long poll.
    drained: bool,
    polls: usize,
    /// How many polls to keep going: doubled by each message, halved by each empty answer.
    window: usize,
    slots: BTreeMap<Tag, Slot>,
    next_tag: u64,
    /// Received, not begun: gathered for a batch.
    gathered: Vec<Tag>,
    gather_until: Option<Instant>,
    /// Claimed, waiting for a call of the processor.
    ready: VecDeque<Tag>,
    ready_since: Instant,
    /// Have killed instances: each waits until nothing else is claimed, and nothing else is begun until it is over.
    apart: VecDeque<Tag>,
    alone: Option<Tag>,
    /// The deliveries of each record in hand, in order: the first works, the others wait for its outcome.
    same_record: BTreeMap<String, VecDeque<Tag>>,
    /// Waited for a twin whose outcome is there: each looks what it has left.
    after_twin: Vec<Tag>,
    /// The lock keys in use, each with its line.
    keys: BTreeMap<String, KeyLine>,
    key_tags: BTreeMap<Tag, String>,
    /// Keys that were let go.
    remembered: BTreeMap<String, Remembered>,
    over: bool,
    summary: Summary,
}

impl Run {
    /// A run that ends `length` from now. `batch` bounds a call of the processor; `random` makes its names unique.
    #[must_use]
    pub fn new(queue: QueueConfig, batch: usize, length: Duration, now: Instant, random: u128) -> Self {
        let rest = (length / 5).clamp(LEAST_REST, MOST_REST).min(length / 2);
        let deadline = now.plus(length);
        let names = Names::new(random);
        let summary = Summary { queue: queue.name.clone(), run: names.run().to_owned(), ..Summary::default() };
        Self {
            queue,
            batch: batch.max(1),
            names,
            deadline,
            rest: (rest, length / 2),
            slowest: Duration::ZERO,
            longest_call: Duration::ZERO,
            processing: false,
            failed_poll: None,
            seen: now,
            probing: true,
            receiving: true,
            drained: false,
            polls: 0,
            window: 1,
            slots: BTreeMap::new(),
            next_tag: 0,
            gathered: Vec::new(),
            gather_until: None,
            ready: VecDeque::new(),
            ready_since: now,
            apart: VecDeque::new(),
            alone: None,
            same_record: BTreeMap::new(),
            after_twin: Vec::new(),
            keys: BTreeMap::new(),
            key_tags: BTreeMap::new(),
            remembered: BTreeMap::new(),
            over: false,
            summary,
        }
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.names.run()
    }

    /// When the run ends, whatever is still under way.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether nothing is left to do, or no time to do it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// No poll may end after this. Twice the slowest message so far is kept free: a
    /// slow storage is not met with a run that drops what it holds.
    fn receive_until(&self) -> Instant {
        let (least, most) = self.rest;
        let rest = self.slowest.saturating_mul(2).clamp(least, most);
        Instant(self.deadline.0.saturating_sub(rest))
    }

    /// No step and no claim begins after this, and no message waits for another: the half of what is kept free is for settling.
    fn release_at(&self) -> Instant {
        let until_deadline = self.receive_until().until(self.deadline);
        Instant(self.deadline.0.saturating_sub(until_deadline / 2))
    }

    /// What a command under this tag is about.
    #[must_use]
    pub fn target(&self, tag: Tag) -> Option<Target<'_>> {
        match self.slots.get(&tag) {
            Some(Slot { handling, .. }) => {
                Some(Target { lock: Some(&handling.delivery().lock), name: handling.record_name() })
            }
            None => Some(Target { lock: None, name: self.key_target(tag)? }),
        }
    }

    /// The locks of the deliveries that are in its hands.
    pub fn in_hand(&self) -> impl Iterator<Item = &LockRef> {
        self.slots.values().map(|slot| &slot.handling.delivery().lock)
    }

    fn fresh_tag(&mut self) -> Tag {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        tag
    }

    /// What it did.
    #[must_use]
    pub fn into_summary(mut self) -> Summary {
        if let Some(trouble) = &self.failed_poll {
            self.summary.trouble(trouble);
        }
        self.summary
    }

    /// Begins: with a look whether the storage answers.
    pub fn start(&mut self) -> Vec<Effect> {
        vec![Effect::Probe]
    }

    /// When [`Run::wake`] must be called, if no event comes before.
    #[must_use]
    pub fn next_wake(&self) -> Instant {
        let waits = self.slots.values().filter_map(|slot| slot.wait_until);
        let claims = (!self.ready.is_empty()).then(|| self.ready_since.plus(WAIT_FOR_CLAIMS));
        let timers = waits.chain(self.gather_until).chain(claims).chain(self.renewals());
        let timers = timers.chain(self.key_timers()).chain([self.receive_until(), self.release_at()]);
        timers.filter(|timer| *timer > self.seen).min().unwrap_or(self.deadline).min(self.deadline)
    }

    /// Takes an event.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Probed(result) => self.on_probed(result),
            Event::Polled { result, pending_since, calls } => self.on_polled(result, pending_since, calls, now),
            Event::Replied { tag, kind, reply, calls } => self.on_replied(tag, kind, reply, calls, now, &mut effects),
            Event::Processed { tags, steps, took } => self.on_processed(&tags, steps, took, now, &mut effects),
        }
        self.advance(now, &mut effects);
        effects
    }

    /// Time has passed.
    pub fn wake(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.advance(now, &mut effects);
        effects
    }

    fn on_probed(&mut self, result: Result<(), Trouble>) {
        self.probing = false;
        self.summary.calls.look += 1;
        if let Err(trouble) = result {
            self.stop_receiving(&trouble);
        }
    }

    fn stop_receiving(&mut self, trouble: &Trouble) {
        self.receiving = false;
        self.summary.trouble(trouble);
    }

    fn on_polled(
        &mut self,
        result: Result<Option<Box<Delivery>>, Trouble>,
        pending_since: Instant,
        calls: u32,
        now: Instant,
    ) {
        self.polls = self.polls.saturating_sub(1);
        self.summary.calls.receive_empty += u64::from(calls);
        match result {
            Ok(Some(delivery)) => {
                self.failed_poll = None;
                self.window = self.window.saturating_mul(2).min(self.batch);
                self.receive(*delivery, pending_since, now);
            }
            Ok(None) => {
                self.failed_poll = None;
                self.window = (self.window / 2).max(1);
                self.summary.backlog = false;
                self.drained |= self.poll_seconds(now) == 0;
            }
            // One may be an idle connection that the broker closed. What it may have locked comes back by itself.
            Err(trouble @ Trouble::Unavailable(..)) if self.failed_poll.is_none() => self.failed_poll = Some(trouble),
            Err(trouble) => self.stop_receiving(&trouble),
        }
    }

    fn receive(&mut self, delivery: Delivery, pending_since: Instant, now: Instant) {
        self.summary.polled(&delivery, delivery.key().is_some());
        self.summary.compare_lock(&delivery, self.queue.lock_duration);
        let tag = self.fresh_tag();
        let handling = Handling::new(delivery, pending_since, &self.queue);
        let line = self.same_record.entry(handling.record_name().to_owned()).or_default();
        line.push_back(tag);
        if line.len() == 1 {
            self.gathered.push(tag);
            self.gather_until.get_or_insert(now.plus(self.queue.gather));
        }
        let place = Place::of(&handling);
        let slot = Slot {
            handling,
            received: now,
            place,
            after_twin: false,
            command: None,
            wait_until: None,
            retry_class: None,
            dead_letter: None,
        };
        self.slots.insert(tag, slot);
    }

    fn on_replied(
        &mut self,
        tag: Tag,
        kind: CommandKind,
        reply: Reply,
        calls: u32,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let for_key = match self.slots.get_mut(&tag) {
            Some(slot) => {
                if slot.command.take_if(|asked| *asked == kind).is_none() {
                    return;
                }
                if kind == CommandKind::Write && reply == Reply::Refused && slot.handling.held().is_some() {
                    self.summary.measures.fence_rejections += 1;
                }
                self.summary.called(kind, calls, slot.place.is_some());
                false
            }
            None => self.key_target(tag).is_some(),
        };
        if for_key {
            self.summary.called_for_key(kind, calls);
        }
        // A service that cannot be used for one message cannot be used for the next: each further delivery would
        // burn one of the broker's.
        match &reply {
            Reply::Denied(why) => self.stop_receiving(&Trouble::Denied(kind.service(), why.clone())),
            Reply::Unavailable(why) => self.stop_receiving(&Trouble::Unavailable(kind.service(), why.clone())),
            Reply::NotThere(why) => self.stop_receiving(&Trouble::Missing(kind.service(), why.clone())),
            _ => {}
        }
        if for_key {
            return self.on_key_replied(tag, kind, reply, now, effects);
        }
        self.step(tag, now, effects, |handling, context| handling.on_reply(reply, context));
    }

    fn on_processed(
        &mut self,
        tags: &[Tag],
        steps: Vec<Step>,
        took: Duration,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.summary.processed(tags.len(), steps.len(), took);
        self.processing = false;
        self.longest_call = self.longest_call.max(took);
        // A call that outlasted the run has not lost its claims by that: there is time to write down what it did.
        self.deadline = self.deadline.max(now.plus(self.rest.0));
        let wrong = (steps.len() != tags.len()).then(|| Step::Retry {
            reason: format!("the processor answered {} steps for {} messages", steps.len(), tags.len()),
            after: None,
        });
        let mut steps = steps.into_iter();
        for tag in tags {
            let Some(step) = wrong.clone().or_else(|| steps.next()) else { return };
            if let Some(slot) = self.slots.get_mut(tag) {
                slot.retry_class = match &step {
                    Step::Retry { .. } if wrong.is_some() => Some(RetryClass::StepCount),
                    Step::Retry { .. } => Some(RetryClass::Processor),
                    Step::More(_) => Some(RetryClass::ExecutionTimeout),
                    Step::Done(_) | Step::Reject(_) => None,
                };
            }
            if self.key_ends(*tag).is_some_and(|ends| now >= ends) {
                self.step(*tag, now, effects, |handling, _| handling.overrun());
                continue;
            }
            self.step(*tag, now, effects, |handling, context| handling.on_step(step, took, context));
        }
    }

    /// Lets a handling take one step, and follows what it asks for.
    fn step(
        &mut self,
        tag: Tag,
        now: Instant,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Handling, &mut Context<'_>) -> Next,
    ) {
        // While somebody waits to be alone, what goes from step to step is handed on too.
        let ending = now >= self.receive_until() || !self.apart.is_empty();
        let last_look = now >= self.release_at();
        let Some(slot) = self.slots.get_mut(&tag) else { return };
        let mut context = Context { queue: &self.queue, names: &mut self.names, now, ending, last_look };
        let before = slot.handling.held().map(|held| held.record.step);
        let next = act(&mut slot.handling, &mut context);
        if let Some(record) = slot.handling.held().map(|held| &held.record) {
            match before {
                None => self.summary.measures.claimed(record.epoch),
                Some(step) => self.summary.measures.checkpoints += u64::from(record.step > step),
            }
        }
        match next {
            Next::Do(command) => {
                if let Command::Send(copy) = &command {
                    slot.dead_letter = copy.message.properties.text(property::DEAD_LETTER_REASON).map(str::to_owned);
                }
                slot.command = Some(command.kind());
                effects.push(Effect::Perform { tag, command });
            }
            Next::Ready => {
                if self.ready.is_empty() {
                    self.ready_since = now;
                }
                self.ready.push_back(tag);
            }
            Next::Stay => {}
            Next::Alone => self.apart.push_back(tag),
            Next::Wait(time) => slot.wait_until = Some(now.plus(time)),
            Next::Over(outcome) => self.finish(tag, outcome, now, effects),
        }
    }

    fn measure(&mut self, slot: &Slot, outcome: &Outcome) {
        match outcome {
            Outcome::Retried => {
                slot.retry_class.into_iter().for_each(|class| self.summary.measures.retried(class));
            }
            Outcome::Parked | Outcome::Mismatched => {
                slot.dead_letter.iter().for_each(|code| self.summary.measures.gave_up(code));
            }
            _ => {}
        }
    }

    fn finish(&mut self, tag: Tag, outcome: Outcome, now: Instant, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.remove(&tag) else { return };
        self.alone.take_if(|alone| *alone == tag);
        self.leave_line(tag, &slot, &outcome);
        let trace = Trace::of_message(&slot.handling.delivery().properties);
        let note = Note { id: slot.handling.id().to_owned(), outcome, trace };
        self.measure(&slot, &note.outcome);
        if note.outcome == Outcome::Unanswered {
            let why = "writes go unanswered".to_owned();
            self.stop_receiving(&Trouble::Unavailable(Service::Storage, why));
        }
        if note.outcome == Outcome::Done {
            self.slowest = self.slowest.max(now.since(slot.received));
        }
        self.summary.count(&note, now.since(slot.received));
        if note.is_notable() {
            effects.push(Effect::Note(note));
        }
        let name = slot.handling.record_name();
        let Some(line) = self.same_record.get_mut(name) else { return };
        line.retain(|waiting| *waiting != tag);
        let Some(next) = line.front().copied() else {
            self.same_record.remove(name);
            return;
        };
        if let Some(twin) = self.slots.get_mut(&next) {
            twin.after_twin = true;
            self.after_twin.push(next);
        }
    }
}
