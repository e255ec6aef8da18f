//! Requests: performed and answered, or not answered, or landing when nobody waits for them any more.

use oncebus_core::id::Mark;
use oncebus_core::record::State as Stage;
use oncebus_core::run::{Command, Reply};

use super::{GoesOn, Transition};
use crate::broker::DeliveryId;
use crate::model::ProtocolModel;
use crate::rules::{Event, Rule};
use crate::shared::Shared;
use crate::state::{Doing, Late, State, Worker};
use crate::storage::{Claim, Request};
use crate::switch::Switch;

impl ProtocolModel {
    pub(super) fn request(&self, state: &State, claim: Option<Claim>) -> Request<'_> {
        let swept = self.bounds.retention.is_some();
        Request { clock: state.clock, queue: &self.queue, switch: self.switch, claim, swept }
    }
}

impl Transition<'_> {
    pub(super) fn perform(&mut self, worker: &mut Worker) -> Option<GoesOn> {
        let command = match worker.doing.clone() {
            Doing::Asking(command) => command,
            Doing::SettlingFirst(command) => {
                self.complete(worker.id);
                worker.doing = Doing::Asking(command);
                return Some(GoesOn::Yes);
            }
            _ => return None,
        };
        let reply = match command {
            Command::Create(_) | Command::Write { .. } => self.write(worker, &command),
            Command::Look => self.look(worker),
            Command::Store { .. } => self.state.storage.store(&command),
            Command::Load { name } => self.state.storage.load(&name),
            Command::Renew => self.state.broker.renew(worker.id),
            Command::Send(copy) => {
                let State { broker, storage, broken, .. } = &mut *self.state;
                broker.send(worker.id, *copy, &self.model.queue, storage, broken);
                Reply::Settled
            }
            Command::Complete => self.complete(worker.id),
            // No delivery is given back here, none has a lock key, and records are kept.
            Command::Abandon | Command::LookAt { .. } | Command::Delete { .. } | Command::Discard { .. } => {
                return None;
            }
        };
        if reply == Reply::LockLost {
            self.happens(Event::LockLost);
        }
        Some(self.step(worker, false, |handling, context| handling.on_reply(reply, context)))
    }

    pub(super) fn complete(&mut self, id: DeliveryId) -> Reply {
        let State { broker, storage, broken, .. } = &mut *self.state;
        broker.complete(id, storage, broken)
    }

    fn write(&mut self, worker: &mut Worker, command: &Command) -> Reply {
        let request = self.model.request(self.state, worker.claim_held());
        let written = self.state.storage.write(command, &request, &mut self.state.broken);
        worker.claim = written.claimed.or(worker.claim);
        self.tell_written(command, written.claimed);
        if matches!(written.reply, Reply::Exists | Reply::Refused) {
            let mark = mark_of(command);
            if mark.is_some() && mark == worker.unanswered.as_ref() {
                self.happens(Event::LandedTwice);
            } else if worker.claim_held().is_some() {
                self.happens(Event::Fenced);
            }
        }
        written.reply
    }

    /// What the record has come to, where it has.
    fn tell_written(&mut self, command: &Command, claimed: Option<Claim>) {
        let (Command::Create(record) | Command::Write { record, .. }) = command else { return };
        let now_done =
            self.state.storage.record().is_some_and(|now| now.mark == record.mark && now.state == Stage::Done);
        if claimed.is_some_and(|claim| claim > 1) {
            self.happens(Event::TakenOver);
        }
        if now_done {
            self.happens(Event::Finished);
            let complete = self.state.effects.are_complete();
            self.state.broken.unless(complete, Rule::DoneIsComplete);
        }
    }

    fn look(&mut self, worker: &Worker) -> Reply {
        let reply = self.state.storage.look(&self.model.request(self.state, worker.claim_held()));
        let (Reply::Found(mut seen), Some(mark)) = (reply.clone(), &worker.unanswered) else { return reply };
        if self.model.switch == Some(Switch::RetryWithoutMark) && seen.record.state == Stage::Processing {
            seen.record.mark = mark.clone();
        } else if seen.record.mark == *mark {
            self.happens(Event::FoundLanded);
        }
        Reply::Found(seen)
    }

    pub(super) fn unanswered(&mut self, worker: &mut Worker) -> Option<GoesOn> {
        let Doing::Asking(command) = worker.doing.clone() else { return None };
        self.state.left.unanswered -= 1;
        worker.unanswered = mark_of(&command).cloned();
        self.goes_late(worker, command);
        Some(self.step(worker, false, |handling, context| handling.on_reply(Reply::Unknown, context)))
    }

    pub(super) fn crash(&mut self, id: DeliveryId) -> Option<()> {
        self.state.left.crashes -= 1;
        let worker = self.state.take_worker(id)?;
        match worker.doing.clone() {
            Doing::Asking(command) => self.goes_late(&worker, command),
            Doing::Calling(effect) => self.state.late.push(Shared::new(Late::Effect(effect))),
            Doing::SettlingFirst(_) => self.goes_late(&worker, Command::Complete),
            Doing::Ready | Doing::Waiting | Doing::Apart => {}
        }
        Some(())
    }

    /// A request goes on without its author. Of a look or a renewal nothing would come.
    fn goes_late(&mut self, worker: &Worker, command: Command) {
        if !matches!(command, Command::Look | Command::Load { .. } | Command::Renew) {
            let request = Late::Request { from: worker.id, claim: worker.claim_held(), command };
            self.state.late.push(Shared::new(request));
        }
    }

    pub(super) fn land(&mut self, index: usize) -> Option<()> {
        if index >= self.state.late.len() {
            return None;
        }
        match Late::clone(&self.state.late.remove(index)) {
            Late::Effect(effect) => {
                self.takes_effect(&effect);
            }
            Late::Request { from, command: Command::Complete, .. } => {
                self.complete(from);
            }
            Late::Request { from, command: Command::Send(copy), .. } => {
                let State { broker, storage, broken, .. } = &mut *self.state;
                broker.send(from, *copy, &self.model.queue, storage, broken);
            }
            Late::Request { command: command @ Command::Store { .. }, .. } => {
                self.state.storage.store(&command);
            }
            Late::Request { from, claim, command } => self.land_write(from, claim, &command),
        }
        Some(())
    }

    fn land_write(&mut self, from: DeliveryId, claim: Option<Claim>, command: &Command) {
        let request = self.model.request(self.state, claim);
        let written = self.state.storage.write(command, &request, &mut self.state.broken);
        self.tell_written(command, written.claimed);
        if written.claimed.is_none() {
            return;
        }
        // If its author lives, it has the claim, and will learn it.
        if let Some(mut worker) = self.state.take_worker(from) {
            worker.claim = written.claimed;
            self.state.put_worker(worker);
        }
    }

    /// A request that would be refused from now on, whatever happens, is as good as lost.
    pub(super) fn forget_what_cannot_land(&mut self) {
        let mut late = std::mem::take(&mut self.state.late);
        late.retain(|late| match &**late {
            Late::Effect(effect) => self.state.effects.may_take(effect),
            Late::Request { from, command: Command::Complete, .. } => self.state.broker.holds(*from),
            Late::Request { claim, command: command @ (Command::Create(_) | Command::Write { .. }), .. } => {
                // A record that is deleted lets a create land that was refused before.
                self.model.switch == Some(Switch::DeleteOnRelease)
                    || self.state.storage.accepts(command, &self.model.request(self.state, *claim))
            }
            Late::Request { .. } => true,
        });
        self.state.late = late;
    }
}

fn mark_of(command: &Command) -> Option<&Mark> {
    match command {
        Command::Create(record) | Command::Write { record, .. } => Some(&record.mark),
        _ => None,
    }
}
