//! The processor: each step has its effect, and then answers.

use std::time::Duration;

use oncebus_core::run::{Step, Tag};

use super::{GoesOn, Transition};
use crate::effects::Effect;
use crate::model::Answer;
use crate::rules::{Event, Rule};
use crate::shared::Shared;
use crate::state::{Doing, Late, Worker};
use crate::switch::Switch;

/// How long a failed step asks to wait: not yet over when no tick has passed, over when one has.
const BACK_OFF: Duration = Duration::from_secs(30);

impl Transition<'_> {
    pub(super) fn begin(&mut self, worker: &mut Worker) -> Option<GoesOn> {
        let work = worker.handling.work(Tag(0), &self.model.queue, Duration::ZERO, None)?;
        let claimed = self.state.storage.is_claimed_by(worker.claim_held());
        self.state.broken.unless(claimed, Rule::StepsBeginClaimed);
        self.state.broken.unless(work.checkpoint == self.model.bounds.checkpoint(work.step), Rule::CheckpointsStay);
        let epoch = if self.model.switch == Some(Switch::NoEpoch) { 1 } else { work.epoch };
        worker.doing =
            Doing::Calling(Effect { step: work.step, epoch, claim: worker.claim_held().unwrap_or_default() });
        Some(GoesOn::Yes)
    }

    pub(super) fn answer(&mut self, worker: &mut Worker, answer: Answer) -> Option<GoesOn> {
        let Doing::Calling(effect) = worker.doing else { return None };
        let failed = |reason: &str| Step::Retry { reason: reason.to_owned(), after: Some(BACK_OFF) };
        let next = effect.step + 1;
        let success = if next < u32::from(self.model.bounds.steps) {
            Step::More(self.model.bounds.checkpoint(next).unwrap_or_default())
        } else {
            Step::Done(None)
        };
        let switch = self.model.switch;
        let step = match answer {
            Answer::Success | Answer::SuccessAtTheEnd if !self.takes_effect(&effect) => failed("an older epoch"),
            Answer::Success => success,
            Answer::SuccessAtTheEnd => {
                self.state.left.deadlines -= 1;
                success
            }
            Answer::FailureAfterEffect => {
                self.state.left.failures -= 1;
                self.takes_effect(&effect);
                if switch == Some(Switch::RetryInPlace) {
                    return Some(GoesOn::Yes);
                }
                failed("after the effect")
            }
            Answer::EffectUnanswered => {
                self.state.left.failures -= 1;
                self.state.late.push(Shared::new(Late::Effect(effect)));
                if switch == Some(Switch::AssumedEffect) { success } else { failed("no answer") }
            }
            Answer::Rejection => {
                self.state.left.rejections -= 1;
                Step::Reject("never".to_owned())
            }
        };
        let ending = answer == Answer::SuccessAtTheEnd;
        let goes_on = self.step(worker, ending, |handling, context| handling.on_step(step, Duration::ZERO, context));
        if goes_on == GoesOn::No {
            self.happens(Event::Overran);
        }
        Some(goes_on)
    }

    /// An effect arrives at the stores. Whether they took it.
    pub(super) fn takes_effect(&mut self, effect: &Effect) -> bool {
        let failed = self.state.left.failures < self.model.bounds.budget.failures;
        let excused = failed || self.state.clock > 0;
        let done = self.state.storage.is_done();
        let event = self.state.effects.apply(effect, done, excused, &mut self.state.broken);
        if let Some(event) = event {
            self.happens(event);
        }
        event != Some(Event::EffectRefused)
    }
}
