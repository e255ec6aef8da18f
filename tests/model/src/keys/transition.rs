//! What happens when something happens: a run is told, and what it asks for next is under way.

use std::time::Duration;

use oncebus_core::message::property;
use oncebus_core::record::State as Stage;
use oncebus_core::record::key::{KeyFinding, examine_key};
use oncebus_core::run::{Command, Effect, Event as RunEvent, Outcome, Reply, Run, Step, Tag, Work};
use oncebus_core::time::Instant;

use super::state::{About, Asked, Call, Instance, Late, State};
use super::turns::KeyedEffect;
use super::{KeyAction, KeyAnswer, KeyModel, LOCK};
use crate::TICK;
use crate::broker::DeliveryId;
use crate::effects;
use crate::rules::{Event, Rule};
use crate::shared::Shared;
use crate::storage::{Claim, Request, Storage};
use crate::switch::Switch;

/// Longer than anything here goes on: no run comes to its end.
const LENGTH: Duration = Duration::from_secs(100_000);

/// How long a failed step asks to wait: not yet over when no tick has passed, over when one has.
const BACK_OFF: Duration = Duration::from_secs(30);

/// One transition, under way.
pub(super) struct Transition<'a> {
    pub(super) model: &'a KeyModel,
    pub(super) state: &'a mut State,
}

impl KeyModel {
    /// What an instance's monotonic clock shows.
    pub(super) fn now(&self, state: &State) -> Instant {
        if self.switch == Some(Switch::StoppedClock) { Instant::default() } else { true_time(state) }
    }

    fn request(&self, state: &State, claim: Option<Claim>) -> Request<'_> {
        Request { clock: state.clock, queue: &self.queue, switch: self.switch, claim, swept: false }
    }
}

fn true_time(state: &State) -> Instant {
    Instant(TICK * u32::from(state.clock))
}

impl Transition<'_> {
    /// Does it. `None` where it cannot happen.
    pub(super) fn take(mut self, action: KeyAction) -> Option<()> {
        match action {
            KeyAction::Receive(number, sequence) => self.receive(number, sequence)?,
            KeyAction::Perform(number, request) => self.perform(number, request)?,
            KeyAction::Unanswered(number, request) => self.unanswered(number, request)?,
            KeyAction::Answer(number, answer) => self.answer(number, answer)?,
            KeyAction::Wake(number) => {
                let mut instance = self.state.take_instance(number)?;
                let effects = instance.run.wake(self.model.now(self.state));
                self.follow(instance, effects)?;
            }
            KeyAction::Crash(number) => self.crash(number)?,
            KeyAction::Land(index) => self.land(index)?,
            KeyAction::Lapse(sequence) => {
                self.state.left.lapses -= 1;
                self.state.broker.lapse(sequence)?;
            }
            KeyAction::Tick => {
                self.state.left.ticks -= 1;
                self.state.clock += 1;
            }
            KeyAction::Rest => self.rest()?,
        }
        self.forget_what_cannot_land();
        self.state.put_in_order();
        Some(())
    }

    fn receive(&mut self, number: u8, sequence: i64) -> Option<()> {
        let now = self.model.now(self.state);
        let mut instance = match self.state.take_instance(number) {
            Some(instance) => instance,
            None => {
                self.state.begun = number;
                let mut run =
                    Run::new(self.model.queue.clone(), self.model.queue.batch, LENGTH, now, u128::from(number));
                run.start();
                let claims = vec![None; self.model.names.len()];
                let mut instance = Instance { number, run, polls: 0, requests: Vec::new(), call: None, claims };
                let effects = instance.run.on(RunEvent::Probed(Ok(())), now);
                self.follow(instance, effects)?;
                self.state.take_instance(number)?
            }
        };
        instance.polls = instance.polls.checked_sub(1)?;
        let (_, delivery) = self.state.broker.receive(sequence)?;
        let event = RunEvent::Polled { result: Ok(Some(Box::new(delivery))), pending_since: now, calls: 1 };
        let effects = instance.run.on(event, now);
        self.follow(instance, effects)
    }

    /// Does what a run asks for, and puts its instance back, unless the run is over.
    fn follow(&mut self, mut instance: Instance, effects: Vec<Effect>) -> Option<()> {
        for effect in effects {
            match effect {
                Effect::Probe => return None,
                Effect::Poll { .. } => instance.polls += 1,
                Effect::Perform { tag, command } => {
                    let target = instance.run.target(tag)?;
                    let blob = self.blob(target.name)?;
                    let delivery = target.lock.and_then(DeliveryId::of_lock);
                    instance.requests.push(Asked { tag, command, about: About { blob, delivery } });
                }
                Effect::Process(work) => self.begin(&mut instance, &work)?,
                Effect::Note(note) => self.ends(&note.outcome),
            }
        }
        instance.requests.sort_unstable_by_key(|asked| asked.tag);
        if !instance.run.is_over() {
            self.state.put_instance(instance);
        }
        Some(())
    }

    fn blob(&self, name: &str) -> Option<usize> {
        self.model.names.iter().position(|known| known == name)
    }

    fn begin(&mut self, instance: &mut Instance, works: &[Work]) -> Option<()> {
        let mut effects: Vec<KeyedEffect> = Vec::new();
        let now = true_time(self.state);
        let mut ends = Instant(Duration::MAX);
        for work in works {
            let id = self.model.bounds.sent.iter().position(|id| *id == work.id)?;
            let blob = id + 1;
            let claim = *instance.claims.get(blob)?;
            let no_epochs = self.model.switch == Some(Switch::NoEpoch);
            let effect = effects::Effect {
                step: work.step,
                epoch: if no_epochs { 1 } else { work.epoch },
                claim: claim.unwrap_or_default(),
            };
            let key_epoch = if no_epochs { work.key_epoch.and(Some(1)) } else { work.key_epoch };
            let keyed = KeyedEffect { blob, effect, key_epoch, key_claim: *instance.claims.get(LOCK)? };
            let claimed = self.state.blobs.get(blob)?.is_claimed_by(claim);
            self.state.broken.unless(claimed, Rule::StepsBeginClaimed);
            self.state.judge_turn(&keyed, &effects, now, self.model.bounds.hold);
            effects.push(keyed);
            ends = ends.min(now.plus(work.time_left));
        }
        instance.call = Some(Call { tags: works.iter().map(|work| work.tag).collect(), effects, ends });
        Some(())
    }

    fn ends(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Duplicate => self.happens(Event::Duplicate),
            Outcome::Busy { .. } => self.happens(Event::Busy),
            Outcome::HeldBack => self.happens(Event::HeldBack),
            Outcome::Retried => self.happens(Event::Retried),
            Outcome::Parked => self.happens(Event::Parked),
            _ => {}
        }
    }

    fn happens(&self, event: Event) {
        self.model.watch.note(event);
    }

    fn perform(&mut self, number: u8, request: usize) -> Option<()> {
        let mut instance = self.state.take_instance(number)?;
        let Asked { tag, command, about } = take(&mut instance.requests, request)?;
        let kind = command.kind();
        let reply = self.reply(&mut instance, command, about)?;
        self.replied(instance, RunEvent::Replied { tag, kind, reply, calls: 1 })
    }

    fn replied(&mut self, mut instance: Instance, event: RunEvent) -> Option<()> {
        let effects = instance.run.on(event, self.model.now(self.state));
        self.follow(instance, effects)
    }

    fn reply(&mut self, instance: &mut Instance, command: Command, about: About) -> Option<Reply> {
        Some(match command {
            Command::Create(_) | Command::Write { .. } => {
                let claim = instance.claims.get_mut(about.blob)?;
                let (reply, made) = self.write(*claim, &command, about)?;
                *claim = made.or(*claim);
                reply
            }
            Command::Look => {
                let reply = self.look(about.blob)?;
                self.tell_busy(&reply, about, instance.run.id());
                reply
            }
            Command::LookAt { name } => self.look_at_block(&name)?,
            Command::Renew => self.state.broker.renew(about.delivery?),
            Command::Send(_) | Command::Complete => self.settle(command, about)?,
            // No run ends here, no checkpoint is large, and records are kept.
            Command::Abandon | Command::Store { .. } | Command::Load { .. } => return None,
            Command::Delete { .. } | Command::Discard { .. } => return None,
        })
    }

    fn settle(&mut self, command: Command, about: About) -> Option<Reply> {
        let State { broker, blobs, broken, .. } = &mut *self.state;
        let (delivery, record) = (about.delivery?, blobs.get(about.blob)?);
        match command {
            Command::Send(mut copy) => {
                if self.model.switch == Some(Switch::KeylessCopies) {
                    copy.message.properties.remove(property::KEY);
                }
                broker.send(delivery, *copy, &self.model.queue, record, broken);
                Some(Reply::Settled)
            }
            _ => Some(broker.complete(delivery, record, broken)),
        }
    }

    fn look(&self, blob: usize) -> Option<Reply> {
        Some(self.state.blobs.get(blob)?.look(&self.model.request(self.state, None)))
    }

    fn tell_busy(&self, reply: &Reply, about: About, who: &str) {
        let Reply::Found(seen) = reply else { return };
        let held = matches!(examine_key(seen, self.model.queue.claim_margin), KeyFinding::Held { .. });
        if about.blob == LOCK && held && seen.record.owner != who {
            self.happens(Event::KeyBusy);
        }
    }

    /// Looks at the record of whom a lock names.
    fn look_at_block(&self, name: &str) -> Option<Reply> {
        let mut reply = self.look(self.blob(name)?)?;
        if let Reply::Found(seen) = &mut reply {
            if self.model.switch == Some(Switch::StaleBlock) {
                seen.record.state = Stage::Released;
            }
            if matches!(seen.record.state, Stage::Done | Stage::Parked) {
                self.happens(Event::Healed);
            }
        }
        Some(reply)
    }

    /// A create or a write arrives, of whoever made this claim of the blob last. Answers with the claim that it makes, if it does.
    fn write(&mut self, claim: Option<Claim>, command: &Command, about: About) -> Option<(Reply, Option<Claim>)> {
        let former = self.state.blobs.get(about.blob)?;
        let claim = claim_of(claim, command, former);
        let was_held = former.record().is_some_and(|record| record.state == Stage::Processing);
        let request = self.model.request(self.state, claim);
        let broken = &mut self.state.broken;
        let blob = self.state.blobs.get_mut(about.blob)?;
        let written = blob.edit(|blob| blob.write(command, &request, broken));
        self.tell_written(command, about, written.claimed.is_some(), was_held, &written.reply);
        Some((written.reply, written.claimed))
    }

    fn tell_written(&self, command: &Command, about: About, claimed: bool, was_held: bool, reply: &Reply) {
        let (Command::Create(record) | Command::Write { record, .. }) = command else { return };
        let refused = matches!(reply, Reply::Refused);
        match (about.blob == LOCK, claimed && was_held) {
            (true, true) => self.happens(Event::KeyTakenOver),
            (false, true) => self.happens(Event::TakenOver),
            (true, false) if refused && record.state == Stage::Released => self.happens(Event::KeyFenced),
            (false, false) if record.state == Stage::Done && !refused => self.happens(Event::Finished),
            (false, false) if refused => self.happens(Event::Fenced),
            _ => {}
        }
    }

    fn unanswered(&mut self, number: u8, request: usize) -> Option<()> {
        let mut instance = self.state.take_instance(number)?;
        let Asked { tag, command, about } = take(&mut instance.requests, request)?;
        self.state.left.unanswered -= 1;
        let kind = command.kind();
        let claim = *instance.claims.get(about.blob)?;
        self.state.late.push(Shared::new(Late::Request { from: number, claim, command, about }));
        self.replied(instance, RunEvent::Replied { tag, kind, reply: Reply::Unknown, calls: 1 })
    }

    fn crash(&mut self, number: u8) -> Option<()> {
        self.state.left.crashes -= 1;
        let instance = self.state.take_instance(number)?;
        for Asked { command, about, .. } in instance.requests {
            if !matches!(command, Command::Look | Command::LookAt { .. } | Command::Renew) {
                let claim = *instance.claims.get(about.blob)?;
                self.state.late.push(Shared::new(Late::Request { from: number, claim, command, about }));
            }
        }
        let effects = instance.call.into_iter().flat_map(|call| call.effects);
        self.state.late.extend(effects.map(|effect| Shared::new(Late::Effect(effect))));
        Some(())
    }

    fn land(&mut self, index: usize) -> Option<()> {
        if index >= self.state.late.len() {
            return None;
        }
        match Late::clone(&self.state.late.remove(index)) {
            Late::Effect(effect) => {
                self.takes_effect(&effect);
            }
            Late::Request { from, claim, command: command @ (Command::Create(_) | Command::Write { .. }), about } => {
                let (_, made) = self.write(claim, &command, about)?;
                // If its author lives, it has the claim, and will learn it.
                if let (Some(made), Some(mut author)) = (made, self.state.take_instance(from)) {
                    *author.claims.get_mut(about.blob)? = Some(made);
                    self.state.put_instance(author);
                }
            }
            Late::Request { command, about, .. } => {
                self.settle(command, about)?;
            }
        }
        Some(())
    }

    fn forget_what_cannot_land(&mut self) {
        let mut late = std::mem::take(&mut self.state.late);
        let state = &*self.state;
        late.retain(|late| match &**late {
            Late::Effect(of) => {
                let missing = state.effects.get(of.blob.saturating_sub(1));
                missing.is_some_and(|effects| effects.may_take(&of.effect)) || state.turns.may_take(of)
            }
            Late::Request { command: Command::Complete, about, .. } => {
                about.delivery.is_some_and(|delivery| state.broker.holds(delivery))
            }
            Late::Request { claim, command: command @ (Command::Create(_) | Command::Write { .. }), about, .. } => {
                let request = |blob: &Storage| self.model.request(state, claim_of(*claim, command, blob));
                state.blobs.get(about.blob).is_some_and(|blob| blob.accepts(command, &request(blob)))
            }
            Late::Request { .. } => true,
        });
        self.state.late = late;
    }

    /// A call of the processor ends: its steps have their effects, and answer.
    fn answer(&mut self, number: u8, answer: KeyAnswer) -> Option<()> {
        let mut instance = self.state.take_instance(number)?;
        let Call { tags, effects, ends } = instance.call.take()?;
        let in_time = true_time(self.state) < ends;
        let mut steps = Vec::new();
        for effect in &effects {
            let step = self.step(effect, answer);
            self.state.turns.answered(effect, in_time && matches!(step, Step::More(_)));
            steps.push(step);
        }
        match answer {
            KeyAnswer::Success => {}
            KeyAnswer::Failure => self.state.left.failures -= 1,
            KeyAnswer::Rejection => self.state.left.rejections -= 1,
        }
        self.processed(instance, tags, steps)
    }

    fn processed(&mut self, instance: Instance, tags: Vec<Tag>, steps: Vec<Step>) -> Option<()> {
        self.replied(instance, RunEvent::Processed { tags, steps, took: Duration::ZERO })
    }

    fn step(&mut self, of: &KeyedEffect, answer: KeyAnswer) -> Step {
        let failed = |reason: &str| Step::Retry { reason: reason.to_owned(), after: Some(BACK_OFF) };
        let more = of.effect.step + 1 < u32::from(self.model.bounds.steps);
        match answer {
            KeyAnswer::Rejection => Step::Reject("never".to_owned()),
            KeyAnswer::Failure => {
                self.takes_effect(of);
                failed("after the effect")
            }
            KeyAnswer::Success if !self.takes_effect(of) => failed("an older epoch"),
            KeyAnswer::Success if more => Step::More(vec![1]),
            KeyAnswer::Success => Step::Done(None),
        }
    }

    /// An effect arrives at the stores. Whether they took it.
    fn takes_effect(&mut self, of: &KeyedEffect) -> bool {
        let excused = self.state.clock > 0 || self.state.left.failures < self.model.bounds.budget.failures;
        let done = self.state.blobs.get(of.blob).is_some_and(|record| record.is_done());
        let State { effects, turns, broken, .. } = &mut *self.state;
        let by_key = turns.apply(of, broken);
        let of_record = of.blob.checked_sub(1).and_then(|index| effects.get_mut(index));
        let by_record = of_record.and_then(|effects| effects.apply(&of.effect, done, excused, broken));
        for event in by_key.into_iter().chain(by_record) {
            self.happens(event);
        }
        by_key.is_none() && by_record != Some(Event::EffectRefused)
    }

    /// Nothing can happen, so time passes.
    fn rest(&mut self) -> Option<()> {
        self.state.rests += 1;
        self.state.clock += 1;
        let runs = self.state.instances.iter().flat_map(|instance| instance.run.in_hand());
        let in_hand: Vec<i64> = runs.map(|lock| lock.sequence_number).collect();
        let left: Vec<i64> = self.state.broker.locked().filter(|sequence| !in_hand.contains(sequence)).collect();
        for sequence in left {
            self.state.broker.lapse(sequence)?;
        }
        self.state.broken.unless(self.state.rests < super::MOST_RESTS, Rule::BlocksHeal);
        Some(())
    }
}

fn take(requests: &mut Vec<Asked>, index: usize) -> Option<Asked> {
    (index < requests.len()).then(|| requests.remove(index))
}

/// The claim under which a write is made, of the one that its author made last: none, where it takes over, or parks what
/// another has left.
fn claim_of(last: Option<Claim>, command: &Command, former: &Storage) -> Option<Claim> {
    match (command, former.record()) {
        (Command::Write { record, .. }, Some(former)) => {
            let holds = former.state == Stage::Processing && former.owner == record.owner;
            last.filter(|_| holds && record.epoch <= former.epoch)
        }
        _ => None,
    }
}
