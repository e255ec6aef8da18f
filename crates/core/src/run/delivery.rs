//! One delivery: from the peek-lock to its end.
//!
//! A [`Handling`] is told what happened and says what to do next, one command at a time:
//!
//! 1. [`Handling::begin`] once, then [`Handling::on_reply`] with the reply to each [`Command`] it asked for;
//! 2. when it answers [`Next::Ready`], it holds a claim: give it to the processor and pass what came back to
//!    [`Handling::on_step`];
//! 3. when it answers [`Next::Wait`], call [`Handling::on_waited`] after that time;
//! 4. while it has nothing under way it ages: call [`Handling::keep`] when [`Handling::renew_at`] has come;
//! 5. [`Next::Over`] is the end. Nothing is asked for after that.
//!
//! **A delivery is completed only when the record is `d`, is `x` with its poison copy made, or after our own copy of it
//! got its 201.** In every other case it is left alone, and the peek-lock lapses: a later delivery finds the record and goes on
//! from there. No reply can make it guess: an ambiguous write is looked at ([`super::writing`]).

mod bodies;
mod checkpoints;
mod keeping;
mod settling;

use std::time::Duration;

use bytes::Bytes;

use super::command::{Command, Context, Held, Next, Reply, give_up};
use super::copies::{Copy, NO_EPOCH, Poison};
use super::writing::{Resolved, Write};
use super::{LOOK_AGAIN, Outcome, Tag, Work};
use crate::claim::{Claim, ClaimError};
use crate::config::QueueConfig;
use crate::id::record_name;
use crate::message::{Delivery, property};
use crate::record::finding::{Arrival, Finding, examine};
use crate::record::{Checkpoint, CheckpointBlob, ETag, Record, Seen};
use crate::time::Instant;

/// Codes of what the poison queue gets, as `DeadLetterReason`; the record keeps them in front of the reason.
const MAX_ATTEMPTS: &str = "max-attempts";
const REJECTED: &str = "rejected";
const PAYLOAD_MISMATCH: &str = "payload-mismatch";
const CHECKPOINT_LOST: &str = "checkpoint-lost";
const CLAIM_LOST: &str = "claim-lost";

/// How often a record may vanish between a refused create and the look after it.
const MAX_VANISHED: u8 = 2;

/// Whether a claim begins with a look at the record.
#[derive(Debug, Clone, Copy, PartialEq, Hash)]
struct LookFirst(bool);

/// In hand, with nothing under way for it. It ages, and is renewed ([`keeping`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Idle {
    /// Only received.
    New,
    /// Has killed instances: waits until nothing else is claimed.
    Apart,
    /// Another holds the record: waits for the next look.
    Waiting,
    /// Claimed: waits for the processor.
    Ready,
}

#[derive(Debug, Clone, PartialEq, Hash)]
enum Stage {
    Idle(Idle),
    /// Renews the broker's lock of what is idle.
    Keeping(Idle),
    /// Renews the broker's lock before it claims; then looks first, or not.
    RenewingFirst(LookFirst),
    Creating(Write),
    Looking,
    TakingOver(Write),
    /// Reads the body that lies in a blob.
    Fetching(Claim),
    /// Reads the checkpoint that the claimed record names.
    Loading(CheckpointBlob),
    /// The processor has it.
    Working,
    /// Stores a checkpoint before the record names it. The step that it ends took so long.
    Storing(CheckpointBlob, Duration),
    Writing(Write, After),
    Renewing,
    Sending(AfterCopy),
    Completing(Outcome),
    /// Completed; its record goes.
    Deleting(Outcome),
    /// The record is gone; the blob of the body goes.
    Discarding(Outcome),
    GivingBack,
    Over,
}

/// What follows when a write of a held record has landed.
#[derive(Debug, Clone, PartialEq, Hash)]
enum After {
    /// A checkpoint: renew the broker's lock, and go on.
    Go,
    /// The claim is renewed, and the broker's lock was before.
    Kept,
    /// Let go, and left to come back.
    Leave(Outcome),
    Complete(Outcome),
    /// The record is parked: the poison copy.
    Poison,
    Copy(Box<Copy>, Outcome),
}

/// What follows when a copy got its 201.
#[derive(Debug, Clone, PartialEq, Hash)]
enum AfterCopy {
    Complete(Outcome),
    MarkCopied(Box<Record>, ETag),
}

/// The handling of one delivery.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Handling {
    delivery: Delivery,
    id: String,
    name: String,
    payload: String,
    /// The broker locked it, or renewed its lock, no earlier than this: the last instant at which its poll was seen pending, or
    /// the one before a renewal was asked for.
    locked_since: Instant,
    /// When the renewal under way was asked for.
    renewal_asked: Instant,
    stage: Stage,
    held: Option<Held>,
    /// Where the body lies, of a message that does not carry it.
    claim: Option<Result<Claim, ClaimError>>,
    /// That body, once it is here.
    body: Option<Bytes>,
    /// The content of the record's checkpoint, where that is in a blob of its own.
    checkpoint: Option<Bytes>,
    /// The record that is to be deleted when the delivery is completed.
    delete: Option<ETag>,
    vanished: u8,
    looks: usize,
    alone: bool,
}

impl Handling {
    /// The handling of a delivery of this queue.
    #[must_use]
    pub fn new(delivery: Delivery, pending_since: Instant, queue: &QueueConfig) -> Self {
        let id = delivery.logical_id().to_owned();
        let name = record_name(&queue.group, &id);
        let payload = delivery.payload_hash();
        let claim = Claim::of(&delivery.properties);
        Self {
            delivery,
            claim,
            body: None,
            id,
            name,
            payload,
            locked_since: pending_since,
            renewal_asked: pending_since,
            stage: Stage::Idle(Idle::New),
            held: None,
            checkpoint: None,
            delete: None,
            vanished: 0,
            looks: 0,
            alone: false,
        }
    }

    /// The delivery.
    #[must_use]
    pub const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The logical id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name of the record.
    #[must_use]
    pub fn record_name(&self) -> &str {
        &self.name
    }

    /// The claim, while one is held.
    #[must_use]
    pub const fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// The bytes it holds in memory, or will when its body is read.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.delivery.body.len() + self.claimed_bytes() + self.checkpoint.as_ref().map_or(0, Bytes::len)
    }

    /// Whether it will be ready for the processor in a moment: on its way to a claim, or to the renewal of one. Neither
    /// waiting for others nor past that.
    #[must_use]
    pub const fn is_getting_ready(&self) -> bool {
        match self.stage {
            Stage::RenewingFirst(_) | Stage::Creating(_) | Stage::Looking | Stage::TakingOver(_) => self.looks == 0,
            Stage::Keeping(Idle::Ready) | Stage::Writing(_, After::Go | After::Kept) | Stage::Renewing => true,
            Stage::Fetching(_) | Stage::Loading(_) | Stage::Storing(..) => true,
            _ => false,
        }
    }

    /// Whether the processor has done with it, and only its end is to be written down and settled.
    #[must_use]
    pub const fn is_settling(&self) -> bool {
        match self.stage {
            Stage::Writing(_, After::Go | After::Kept) => false,
            Stage::Writing(..) | Stage::Sending(_) | Stage::Completing(_) => true,
            Stage::Deleting(_) | Stage::Discarding(_) | Stage::GivingBack | Stage::Over => true,
            _ => false,
        }
    }

    /// What the processor is given, of a message that is ready. From now on it is with the processor.
    #[must_use]
    pub fn work(&mut self, tag: Tag, queue: &QueueConfig, time_left: Duration, key_epoch: Option<u64>) -> Option<Work> {
        let record = &self.held.as_ref()?.record;
        self.stage = Stage::Working;
        let own = self.delivery.properties.iter().filter(|(name, _)| !property::is_ours(name));
        Some(Work {
            tag,
            id: self.id.clone(),
            queue: queue.name.clone(),
            group: queue.group.clone(),
            key: self.delivery.key().map(str::to_owned),
            content_type: self.delivery.sent_content_type().map(str::to_owned),
            body: self.body.as_ref().unwrap_or(&self.delivery.body).clone(),
            properties: own.map(|(name, value)| (name.to_owned(), value.to_string())).collect(),
            enqueued_at: self.delivery.enqueued_at.unwrap_or_default(),
            delivery_count: self.delivery.delivery_count,
            attempt: record.attempt(),
            epoch: record.epoch,
            key_epoch,
            step: record.step,
            checkpoint: match &record.checkpoint {
                Some(Checkpoint::Inline(bytes)) => Some(bytes.clone()),
                Some(Checkpoint::Blob(_)) => self.checkpoint.as_ref().map(|content| content.to_vec()),
                None => None,
            },
            time_left,
        })
    }

    /// Begins. A first delivery writes first (2 storage calls for a message); any other looks first, since a refused
    /// create costs more than a look.
    pub fn begin(&mut self, context: &mut Context<'_>) -> Next {
        let first = self.delivery.delivery_count <= 1 && self.copy_of_epoch().is_none();
        self.renew_then_claim(LookFirst(!first), context)
    }

    /// A twin waited for this one's outcome: look at what it left.
    pub fn begin_after_twin(&mut self, context: &mut Context<'_>) -> Next {
        self.renew_then_claim(LookFirst(true), context)
    }

    /// A delivery that has aged is renewed at the broker first: its claim must not outlive its peek-lock.
    fn renew_then_claim(&mut self, look_first: LookFirst, context: &mut Context<'_>) -> Next {
        if context.now.since(self.locked_since) > context.queue.renew_before_claim_after() {
            return self.renew_lock(Stage::RenewingFirst(look_first), context);
        }
        self.claim(look_first, context)
    }

    fn renew_lock(&mut self, stage: Stage, context: &Context<'_>) -> Next {
        self.stage = stage;
        self.renewal_asked = context.now;
        Next::Do(Command::Renew)
    }

    fn claim(&mut self, LookFirst(look_first): LookFirst, context: &mut Context<'_>) -> Next {
        if look_first { self.look() } else { self.create(context) }
    }

    fn copy_of_epoch(&self) -> Option<u64> {
        self.delivery.properties.get(property::EPOCH)?.to_string().parse().ok()
    }

    fn create(&mut self, context: &mut Context<'_>) -> Next {
        let record = Record::first(&self.id, &self.payload, context.queue.claim_ttl, context.author());
        self.stage = Stage::Creating(Write::new(record.clone(), None, context.now));
        Next::Do(Command::Create(record))
    }

    fn look(&mut self) -> Next {
        self.stage = Stage::Looking;
        Next::Do(Command::Look)
    }

    /// What came of the last command.
    pub fn on_reply(&mut self, reply: Reply, context: &mut Context<'_>) -> Next {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::RenewingFirst(look_first) => match self.on_renewed(reply) {
                Ok(()) => self.claim(look_first, context),
                Err(reply) => self.over(give_up(reply)),
            },
            Stage::Keeping(idle) => self.on_kept(idle, reply, context),
            Stage::Creating(write) => self.on_create(write, reply, context),
            Stage::Looking => self.on_look(reply, context),
            Stage::TakingOver(write) => self.on_taken_over(write, reply, context),
            Stage::Fetching(claim) => self.on_fetched(&claim, reply, context),
            Stage::Loading(blob) => self.on_loaded(&blob, reply, context),
            Stage::Storing(blob, took) => self.on_stored(blob, took, reply, context),
            Stage::Writing(write, after) => self.on_written(write, after, reply, context),
            Stage::Renewing => match self.on_renewed(reply) {
                Ok(()) => self.ready(),
                Err(_) => self.let_go(Outcome::Lost, context),
            },
            Stage::Sending(after) => match (reply, after) {
                (Reply::Settled, AfterCopy::Complete(outcome)) => self.complete(outcome),
                (Reply::Settled, AfterCopy::MarkCopied(record, etag)) => {
                    let record = record.copied(context.author());
                    let write = Write::new(record, Some(etag), context.now);
                    self.write(write, After::Complete(Outcome::Parked))
                }
                (other, _) => self.over(give_up(other)),
            },
            Stage::GivingBack => self.over(Outcome::Returned),
            Stage::Completing(outcome) => match (reply, self.delete.take()) {
                (Reply::Settled, Some(etag)) => {
                    self.stage = Stage::Deleting(outcome);
                    Next::Do(Command::Delete { etag })
                }
                // Whether the broker answered or not, the record is final: what comes back is a duplicate.
                _ => self.over(outcome),
            },
            Stage::Deleting(outcome) => self.discard(outcome),
            // What could not be deleted is known for longer, and swept.
            Stage::Discarding(outcome) => self.over(outcome),
            stage @ (Stage::Idle(_) | Stage::Working | Stage::Over) => {
                self.stage = stage;
                Next::Over(Outcome::Unsettled("a reply came that nothing had asked for".to_owned()))
            }
        }
    }

    fn on_create(&mut self, mut write: Write, reply: Reply, context: &mut Context<'_>) -> Next {
        match write.on_reply(reply) {
            Resolved::Landed(etag) => self.hold(write, etag, context),
            Resolved::Look => self.resolve(write, Stage::Creating),
            Resolved::Again => self.rewrite(write, Stage::Creating),
            Resolved::Theirs(Some(seen)) => self.found(&seen, context),
            Resolved::Theirs(None) => self.look(),
            Resolved::GaveUp(outcome) => self.over(outcome),
        }
    }

    /// Looks at the record to learn what became of a write; the stage keeps the write meanwhile.
    fn resolve(&mut self, write: Write, stage: impl FnOnce(Write) -> Stage) -> Next {
        self.stage = stage(write);
        Next::Do(Command::Look)
    }

    fn on_look(&mut self, reply: Reply, context: &mut Context<'_>) -> Next {
        match reply {
            Reply::Found(seen) => self.found(&seen, context),
            Reply::Missing if self.vanished < MAX_VANISHED => {
                self.vanished += 1;
                self.create(context)
            }
            other => self.over(give_up(other)),
        }
    }

    fn found(&mut self, seen: &Seen, context: &mut Context<'_>) -> Next {
        let arrival = Arrival { payload: &self.payload, copy_of_epoch: self.copy_of_epoch() };
        match examine(seen, &arrival, context.queue.claim_margin) {
            Finding::Done | Finding::Parked => self.complete(Outcome::Duplicate),
            Finding::Busy { until, remaining } => self.busy(
                Outcome::Busy { until, epoch: seen.record.epoch, owner: seen.record.owner.clone() },
                remaining,
                context,
            ),
            Finding::TakeOver { died } => {
                let max_attempts = context.queue.max_attempts;
                let next = seen.record.take_over(context.queue.claim_ttl, context.author());
                let next = if died { next.spared(&seen.record, max_attempts) } else { next };
                if next.failures >= max_attempts {
                    let last = seen.record.result.as_deref().unwrap_or("no reason is known");
                    let reason = if died { "the instance died" } else { last };
                    return self.park(&seen.record, &seen.etag, MAX_ATTEMPTS, reason, context);
                }
                if next.goes_alone(max_attempts) && !self.alone {
                    self.stage = Stage::Idle(Idle::Apart);
                    return Next::Alone;
                }
                self.stage = Stage::TakingOver(Write::new(next.clone(), Some(seen.etag.clone()), context.now));
                Next::Do(Command::Write { etag: seen.etag.clone(), record: next })
            }
            Finding::NotDue { wait } => {
                let copy = self.delayed_copy(seen.record.epoch, wait, context);
                self.send(copy, AfterCopy::Complete(Outcome::Deferred))
            }
            Finding::ParkedWithoutCopy => self.send_to_poison(seen.record.clone(), seen.etag.clone(), context),
            Finding::PayloadMismatch => {
                let poison = Poison {
                    reason: PAYLOAD_MISMATCH,
                    description: "another payload under the id of an earlier message",
                };
                let copy = self.poison_copy(None, &poison, context);
                self.send(copy, AfterCopy::Complete(Outcome::Mismatched))
            }
        }
    }

    /// Another holds the record. Neither abandoned (it would come straight back and burn a delivery) nor completed: waited for
    /// a moment, else left to lapse; from half of the broker's deliveries on, sent on as a copy for when the claim ends.
    fn busy(&mut self, outcome: Outcome, remaining: Duration, context: &mut Context<'_>) -> Next {
        if !context.last_look
            && let Some(wait) = LOOK_AGAIN.get(self.looks)
        {
            self.looks += 1;
            self.stage = Stage::Idle(Idle::Waiting);
            return Next::Wait(*wait);
        }
        self.leave(outcome, remaining, context)
    }

    /// Its lock key cannot be had: as busy as if its record were held.
    pub fn key_busy(&mut self, outcome: Outcome, remaining: Duration, context: &mut Context<'_>) -> Next {
        self.leave(outcome, remaining, context)
    }

    /// Left to lapse, or sent on as a copy.
    fn leave(&mut self, outcome: Outcome, remaining: Duration, context: &mut Context<'_>) -> Next {
        if self.delivery.delivery_count.saturating_mul(2) < context.queue.max_delivery_count {
            return self.over(outcome);
        }
        // It stands for no epoch: a back-off that the holder sets meanwhile must not look as if this copy had kept it.
        let copy = self.delayed_copy(NO_EPOCH, remaining, context);
        self.send(copy, AfterCopy::Complete(outcome))
    }

    /// Whether it was only received.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        matches!(self.stage, Stage::Idle(Idle::New))
    }

    /// Whether nothing has been done about it yet: no claim made, none under way.
    #[must_use]
    pub const fn is_unbegun(&self) -> bool {
        matches!(self.stage, Stage::Idle(Idle::New | Idle::Apart))
    }

    /// There is no time to begin it: back to the broker at once, which costs a delivery and no waiting.
    pub fn give_back(&mut self) -> Next {
        self.stage = Stage::GivingBack;
        Next::Do(Command::Abandon)
    }

    /// Nothing else is claimed: look again, and go on.
    pub fn on_alone(&mut self, context: &mut Context<'_>) -> Next {
        self.alone = true;
        self.renew_then_claim(LookFirst(true), context)
    }

    /// The wait is over, or the run is ending and cuts it short: look again.
    pub fn on_waited(&mut self, context: &mut Context<'_>) -> Next {
        self.renew_then_claim(LookFirst(true), context)
    }

    fn on_taken_over(&mut self, mut write: Write, reply: Reply, context: &mut Context<'_>) -> Next {
        match write.on_reply(reply) {
            Resolved::Landed(etag) => self.hold(write, etag, context),
            Resolved::Look => self.resolve(write, Stage::TakingOver),
            Resolved::Again => self.rewrite(write, Stage::TakingOver),
            Resolved::Theirs(Some(seen)) => self.found(&seen, context),
            // Lost the race: the winner is busy with it.
            Resolved::Theirs(None) => self.look(),
            Resolved::GaveUp(outcome) => self.over(outcome),
        }
    }

    fn rewrite(&mut self, write: Write, stage: impl FnOnce(Write) -> Stage) -> Next {
        let command = write.command();
        self.stage = stage(write);
        Next::Do(command)
    }

    fn hold(&mut self, write: Write, etag: ETag, context: &mut Context<'_>) -> Next {
        let (record, since) = write.into_parts();
        self.held = Some(Held { record, etag, since });
        self.gather_or_be_ready(context)
    }

    /// A claim is held: the processor can have it as soon as its body and its checkpoint are here.
    fn gather_or_be_ready(&mut self, context: &mut Context<'_>) -> Next {
        if let Some(next) = self.fetch(context) {
            return next;
        }
        self.load().unwrap_or_else(|| self.ready())
    }

    fn ready(&mut self) -> Next {
        self.stage = Stage::Idle(Idle::Ready);
        Next::Ready
    }

    fn send(&mut self, copy: Copy, after: AfterCopy) -> Next {
        self.stage = Stage::Sending(after);
        Next::Do(Command::Send(Box::new(copy)))
    }

    fn complete(&mut self, outcome: Outcome) -> Next {
        self.stage = Stage::Completing(outcome);
        Next::Do(Command::Complete)
    }

    fn over(&mut self, outcome: Outcome) -> Next {
        self.stage = Stage::Over;
        self.held = None;
        Next::Over(outcome)
    }
}
