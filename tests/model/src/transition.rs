//! What happens when something happens: core is told, and what it asks for next is under way.

mod operator;
mod processor;
mod requests;

use oncebus_core::id::Names;
use oncebus_core::record::State as Stage;
use oncebus_core::run::delivery::Handling;
use oncebus_core::run::{Command, Context, Next, Outcome};
use oncebus_core::time::Instant;

use crate::TICK;
use crate::broker::DeliveryId;
use crate::model::{Action, ProtocolModel};
use crate::rules::Event;
use crate::shared::Shared;
use crate::state::{Doing, State, Worker};
use crate::switch::Switch;

/// One transition, under way.
pub(crate) struct Transition<'a> {
    pub(crate) model: &'a ProtocolModel,
    pub(crate) state: &'a mut State,
}

impl ProtocolModel {
    /// What a worker's monotonic clock shows.
    fn now(&self, state: &State) -> Instant {
        let ticks = if self.switch == Some(Switch::StoppedClock) { 0 } else { state.clock };
        Instant(TICK * u32::from(ticks))
    }

    /// Whether a call of the processor may begin: what `Run` asks before each, but that it wants the time of the longest call.
    pub(crate) fn has_time(&self, state: &State, worker: &Worker) -> bool {
        let ends = worker.handling.held().map(|held| held.since.plus(self.queue.working_time()));
        ends.is_some_and(|ends| self.now(state) < ends)
    }
}

impl Transition<'_> {
    /// Does it. `None` where it cannot happen.
    pub(crate) fn take(mut self, action: Action) -> Option<()> {
        match action {
            Action::Receive(sequence) => self.receive(sequence)?,
            Action::Perform(id) => self.with(id, Self::perform)?,
            Action::Unanswered(id) => self.with(id, Self::unanswered)?,
            Action::Begin(id) => self.with(id, Self::begin)?,
            Action::Answer(id, answer) => self.with(id, |this, worker| this.answer(worker, answer))?,
            Action::Deadline(id) => self.with(id, Self::deadline)?,
            Action::Renew(id) => self.with(id, Self::renew)?,
            Action::Resume(id) => self.with(id, Self::resume)?,
            Action::Crash(id) => self.crash(id)?,
            Action::Land(index) => self.land(index)?,
            Action::Lapse(sequence) => {
                self.state.left.lapses -= 1;
                self.state.broker.lapse(sequence)?;
            }
            Action::Tick => self.tick(),
            Action::TakeUp(sequence) => self.take_up(sequence)?,
            Action::Operate(id) => self.operate(id)?,
            Action::OperateUnanswered(id) => self.operate_unanswered(id)?,
            Action::OperatorCrash(id) => self.operator_crash(id)?,
            Action::List => self.list()?,
            Action::Sweep => self.sweep()?,
        }
        self.forget_what_cannot_land();
        self.state.put_in_order();
        Some(())
    }

    /// Lets a worker do something; it is put back if it goes on.
    fn with(&mut self, id: DeliveryId, act: impl FnOnce(&mut Self, &mut Worker) -> Option<GoesOn>) -> Option<()> {
        let mut worker = self.state.take_worker(id)?;
        if act(self, &mut worker)? == GoesOn::Yes {
            self.state.put_worker(worker);
        }
        Some(())
    }

    /// Where records are swept, no request is as old as what is swept: of whoever has not got on since the last tick, nothing more
    /// is heard.
    fn tick(&mut self) {
        self.state.left.ticks -= 1;
        self.state.broker.tick();
        if self.model.bounds.retention.is_some() {
            let clock = self.state.clock;
            let gets_on = |worker: &Shared<Worker>| !matches!(worker.doing, Doing::Asking(_)) || worker.asked == clock;
            self.state.workers.retain(gets_on);
        }
        self.state.clock += 1;
    }

    fn receive(&mut self, sequence: i64) -> Option<()> {
        let (id, delivery) = self.state.broker.receive(sequence)?;
        let now = self.model.now(self.state);
        let mut worker = Worker {
            id,
            handling: Handling::new(delivery, now, &self.model.queue),
            names: Names::new(u128::from(id.sequence.unsigned_abs()) << 8 | u128::from(id.count)),
            doing: Doing::Ready,
            claim: None,
            unanswered: None,
            asked: 0,
        };
        if self.step(&mut worker, false, Handling::begin) == GoesOn::Yes {
            self.state.put_worker(worker);
        }
        Some(())
    }

    /// Lets core take one step, and follows what it asks for.
    fn step(
        &mut self,
        worker: &mut Worker,
        ending: bool,
        act: impl FnOnce(&mut Handling, &mut Context<'_>) -> Next,
    ) -> GoesOn {
        let mut context = Context {
            queue: &self.model.queue,
            names: &mut worker.names,
            now: self.model.now(self.state),
            ending,
            last_look: self.state.left.waits == 0,
        };
        let next = act(&mut worker.handling, &mut context);
        worker.doing = match next {
            Next::Do(command) => self.asks(worker, command),
            Next::Ready => Doing::Ready,
            // After the renewal of a lock without a claim, which is not modelled: a lock lapses when the checker likes.
            Next::Stay => worker.doing.clone(),
            Next::Wait(_) => {
                self.state.left.waits -= 1;
                self.happens(Event::Waited);
                Doing::Waiting
            }
            Next::Alone => {
                self.happens(Event::Apart);
                Doing::Apart
            }
            Next::Over(outcome) => {
                self.ends(&outcome);
                return GoesOn::No;
            }
        };
        worker.asked = if self.model.bounds.retention.is_some() { self.state.clock } else { 0 };
        if !matches!(worker.doing, Doing::Asking(_)) {
            worker.unanswered = None;
        }
        GoesOn::Yes
    }

    fn asks(&self, worker: &mut Worker, command: Command) -> Doing {
        if let Command::Create(record) | Command::Write { record, .. } = &command {
            worker.unanswered.take_if(|mark| *mark != record.mark);
        }
        let too_early = match (&command, self.model.switch) {
            (Command::Write { record, .. }, Some(Switch::SettleBeforeDone)) => record.state == Stage::Done,
            (Command::Send(_), Some(Switch::SettleBeforeCopy)) => true,
            _ => false,
        };
        if too_early { Doing::SettlingFirst(command) } else { Doing::Asking(command) }
    }

    fn ends(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Duplicate => self.happens(Event::Duplicate),
            Outcome::Busy { .. } => self.happens(Event::Busy),
            Outcome::Deferred => self.happens(Event::Deferred),
            Outcome::Retried => self.happens(Event::Retried),
            Outcome::Parked => self.happens(Event::Parked),
            Outcome::Mismatched => self.happens(Event::Mismatched),
            Outcome::Released => self.happens(Event::HandedOn),
            _ => {}
        }
    }

    fn happens(&self, event: Event) {
        self.model.watch.note(event);
    }

    fn deadline(&mut self, worker: &mut Worker) -> Option<GoesOn> {
        if self.model.has_time(self.state, worker) {
            self.state.left.deadlines -= 1;
        }
        Some(self.step(worker, true, Handling::on_deadline))
    }

    fn renew(&mut self, worker: &mut Worker) -> Option<GoesOn> {
        self.state.left.renewals -= 1;
        Some(self.step(worker, false, Handling::keep))
    }

    fn resume(&mut self, worker: &mut Worker) -> Option<GoesOn> {
        let act = match worker.doing {
            Doing::Waiting => Handling::on_waited,
            Doing::Apart => Handling::on_alone,
            _ => return None,
        };
        Some(self.step(worker, false, act))
    }
}

/// Whether a worker still has its delivery in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoesOn {
    Yes,
    No,
}
