//! What becomes of a claimed message: the processor's answer, the write that records it, the copy, the completion.

use std::time::Duration;

use super::{After, AfterCopy, Handling, MAX_ATTEMPTS, REJECTED, Stage};
use crate::config::OnDone;
use crate::record::checkpoint::MAX_CHECKPOINT;
use crate::record::retention::LONGEST_RETRY;
use crate::record::{Checkpoint, ETag, Record, Release};
use crate::retry::full_jitter;
use crate::run::command::{Context, Held, Next, Reply};
use crate::run::copies::{self, Copy, Poison};
use crate::run::writing::{Resolved, Write};
use crate::run::{Outcome, Step};

impl Handling {
    /// What the processor said of this message, and how long its call took.
    pub fn on_step(&mut self, step: Step, took: Duration, context: &mut Context<'_>) -> Next {
        let Some(held) = self.held.clone() else { return self.over(Outcome::Lost) };
        if context.now >= held.since.plus(context.queue.working_time()) {
            // The call overran its claim. Another may have begun: nothing it did is settled.
            return self.over(Outcome::Lost);
        }
        match step {
            Step::Done(result) => {
                let record = held.record.finish(result, took, context.author());
                self.write(Write::new(record, Some(held.etag), context.now), After::Complete(Outcome::Done))
            }
            Step::More(checkpoint) if checkpoint.len() > MAX_CHECKPOINT => {
                let reason = format!("checkpoint of {} bytes, at most {MAX_CHECKPOINT} are stored", checkpoint.len());
                self.reject(&held, &reason, context)
            }
            Step::More(checkpoint) => self.on_more(&held, checkpoint, took, context),
            Step::Retry { reason, after } => self.fail(&held, reason, after, took, context),
            Step::Reject(reason) => self.reject(&held, &reason, context),
        }
    }

    /// A step is done, and its checkpoint is where it stays.
    pub(super) fn advance(
        &mut self,
        held: &Held,
        checkpoint: Checkpoint,
        took: Duration,
        context: &mut Context<'_>,
    ) -> Next {
        let record = held.record.checkpoint(checkpoint, took, context.author());
        if record.executed > context.queue.max_execution {
            // The step is kept, and so is the count: work that never ends must run out of attempts.
            let record = Record { failures: held.record.failures, ..record };
            let stored = Held { record, ..held.clone() };
            return self.fail(&stored, "execution-timeout".to_owned(), None, Duration::ZERO, context);
        }
        if context.ending {
            return self.hand_on(&Held { record, ..held.clone() }, Duration::ZERO, context);
        }
        self.write(Write::new(record, Some(held.etag.clone()), context.now), After::Go)
    }

    /// The run ends before this message's next step: give the claim back, send the message on, complete it. So that long
    /// work burns neither deliveries nor attempts.
    pub fn on_deadline(&mut self, context: &mut Context<'_>) -> Next {
        match self.held.clone() {
            Some(held) => self.hand_on(&held, Duration::ZERO, context),
            None => self.over(Outcome::Unsettled("the run ended before the claim".to_owned())),
        }
    }

    /// The lock of its key is lost: it stops before its next step.
    pub fn lose(&mut self, context: &mut Context<'_>) -> Next {
        self.let_go(Outcome::Lost, context)
    }

    /// The call has overrun the lock of its key. Another message of the key may have begun: nothing is settled.
    pub fn overrun(&mut self) -> Next {
        self.over(Outcome::Lost)
    }

    /// It cannot go on here, and nobody has died: the next delivery need not wait for the claim to run out.
    pub(super) fn let_go(&mut self, outcome: Outcome, context: &mut Context<'_>) -> Next {
        let Some(held) = self.held.clone() else { return self.over(outcome) };
        let record = held.record.release(Release::Deadline, Duration::ZERO, context.author());
        self.write(Write::new(record, Some(held.etag), context.now), After::Leave(outcome))
    }

    fn hand_on(&mut self, held: &Held, took: Duration, context: &mut Context<'_>) -> Next {
        let record = held.record.release(Release::Deadline, took, context.author());
        let copy = self.delayed_copy(record.epoch, Duration::ZERO, context);
        let after = After::Copy(Box::new(copy), Outcome::Released);
        self.write(Write::new(record, Some(held.etag.clone()), context.now), after)
    }

    fn fail(
        &mut self,
        held: &Held,
        reason: String,
        after: Option<Duration>,
        took: Duration,
        context: &mut Context<'_>,
    ) -> Next {
        let failures = held.record.failures.saturating_add(1);
        if failures >= context.queue.max_attempts {
            return self.park(&held.record, &held.etag, MAX_ATTEMPTS, &reason, context);
        }
        let draw = context.names.draw();
        let not_before = after
            .map(|after| after.min(LONGEST_RETRY))
            .unwrap_or_else(|| full_jitter(failures, context.queue.retry_base, context.queue.retry_cap, draw));
        let record = held.record.release(Release::Failure { reason, not_before }, took, context.author());
        let copy = self.delayed_copy(record.epoch, not_before, context);
        let after = After::Copy(Box::new(copy), Outcome::Retried);
        self.write(Write::new(record, Some(held.etag.clone()), context.now), after)
    }

    fn reject(&mut self, held: &Held, reason: &str, context: &mut Context<'_>) -> Next {
        self.park(&held.record, &held.etag, REJECTED, reason, context)
    }

    /// T9: park the record, then copy the message to the poison queue, then mark the copy, then complete.
    pub(super) fn park(
        &mut self,
        record: &Record,
        etag: &ETag,
        code: &str,
        reason: &str,
        context: &mut Context<'_>,
    ) -> Next {
        let parked = record.park(format!("{code}: {reason}"), context.author());
        self.write(Write::new(parked, Some(etag.clone()), context.now), After::Poison)
    }

    /// The poison copy of a record that is parked; then the mark that it is made.
    pub(super) fn send_to_poison(&mut self, parked: Record, etag: ETag, context: &mut Context<'_>) -> Next {
        let result = parked.result.as_deref().unwrap_or_default();
        let (reason, description) = result.split_once(": ").unwrap_or((REJECTED, result));
        let copy = self.poison_copy(Some(parked.epoch), &Poison { reason, description }, context);
        self.send(copy, AfterCopy::MarkCopied(Box::new(parked), etag))
    }

    pub(super) fn delayed_copy(&self, epoch: u64, delay: Duration, context: &mut Context<'_>) -> Copy {
        copies::delayed(&self.delivery, &self.id, epoch, delay, context.queue, &context.names.fresh())
    }

    pub(super) fn poison_copy(&self, epoch: Option<u64>, why: &Poison<'_>, context: &mut Context<'_>) -> Copy {
        copies::poison(&self.delivery, &self.id, epoch, why, context.queue, &context.names.fresh())
    }

    pub(super) fn write(&mut self, write: Write, after: After) -> Next {
        self.rewrite(write, |write| Stage::Writing(write, after))
    }

    pub(super) fn on_written(
        &mut self,
        mut write: Write,
        after: After,
        reply: Reply,
        context: &mut Context<'_>,
    ) -> Next {
        match write.on_reply(reply) {
            Resolved::Landed(etag) => self.landed(write, etag, after, context),
            Resolved::Look => self.resolve(write, |write| Stage::Writing(write, after)),
            Resolved::Again => self.rewrite(write, |write| Stage::Writing(write, after)),
            Resolved::Theirs(_) => match after {
                // The poison copy is made; whoever wrote meanwhile found `x` and marked it, or redrove it.
                After::Complete(Outcome::Parked) => self.complete(Outcome::Parked),
                _ => self.over(Outcome::Lost),
            },
            Resolved::GaveUp(outcome) => match after {
                After::Complete(Outcome::Parked) => self.complete(Outcome::Parked),
                _ => self.over(outcome),
            },
        }
    }

    fn landed(&mut self, write: Write, etag: ETag, after: After, context: &mut Context<'_>) -> Next {
        match after {
            After::Complete(outcome) => {
                let forget = outcome == Outcome::Done && context.queue.on_done == OnDone::Delete;
                self.delete = forget.then_some(etag);
                self.complete(outcome)
            }
            After::Leave(outcome) => self.over(outcome),
            After::Poison => self.send_to_poison(write.into_parts().0, etag, context),
            After::Copy(copy, outcome) => self.send(*copy, AfterCopy::Complete(outcome)),
            After::Go | After::Kept if write.is_ambiguous() => {
                // It landed, at an unknown time: write once more before trusting the claim.
                let record = write.into_parts().0.renew(context.author());
                self.write(Write::new(record, Some(etag), context.now), after)
            }
            After::Go => {
                let (record, since) = write.into_parts();
                self.held = Some(Held { record, etag, since });
                self.renew_lock(Stage::Renewing, context)
            }
            After::Kept => self.hold(write, etag, context),
        }
    }
}
