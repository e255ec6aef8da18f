//! What may happen in a state.

use oncebus_core::config::{ConfigError, QueueConfig};
use oncebus_core::record::Record;
use oncebus_core::run::Command;
use stateright::{Model, Property};

use crate::bounds::Bounds;
use crate::broker::DeliveryId;
use crate::effects::Effects;
use crate::rules::{Broken, Event, properties};
use crate::state::{Doing, State, Worker};
use crate::storage::Storage;
use crate::switch::Switch;
use crate::transition::Transition;
use crate::watch::{Watch, Watched, World};

/// The protocol within bounds, with one of its rules broken or none.
#[derive(Debug)]
pub struct ProtocolModel {
    pub(crate) bounds: Bounds,
    pub(crate) queue: QueueConfig,
    pub(crate) switch: Option<Switch>,
    pub(crate) watch: Watch,
}

/// One thing that may happen. Workers are named by the deliveries they have in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A free worker receives this message, and begins.
    Receive(i64),
    /// The worker's request is performed and answered.
    Perform(DeliveryId),
    /// The worker's request is not answered. It may still land.
    Unanswered(DeliveryId),
    /// The processor is called.
    Begin(DeliveryId),
    /// The processor's step has its effect, or not, and answers.
    Answer(DeliveryId, Answer),
    /// The run ends while the worker holds a claim, or no time is left of that claim.
    Deadline(DeliveryId),
    /// The worker renews the claim that it holds.
    Renew(DeliveryId),
    /// The worker has waited, and goes on.
    Resume(DeliveryId),
    /// The worker dies. What it sent may still land.
    Crash(DeliveryId),
    /// A request that nobody waits for lands: this one of those under way.
    Land(usize),
    /// The peek-lock of this message lapses.
    Lapse(i64),
    /// Time passes.
    Tick,
    /// An operator takes up this letter, to send it back.
    TakeUp(i64),
    /// The request of the operator with this letter is performed and answered.
    Operate(DeliveryId),
    /// The same is not answered. It may still land.
    OperateUnanswered(DeliveryId),
    /// The operator's tool is killed.
    OperatorCrash(DeliveryId),
    /// An operator lists the record, to delete it if it is over and old.
    List,
    /// What was listed is deleted.
    Sweep,
}

/// How a call of the processor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The step had its effect: more, or done.
    Success,
    /// The same, and the run is ending.
    SuccessAtTheEnd,
    /// The step had its effect, and failed after it.
    FailureAfterEffect,
    /// The step's effect was not answered, so it failed. It may still land.
    EffectUnanswered,
    /// The step finds that the message can never succeed.
    Rejection,
}

impl World for Bounds {
    type Model = ProtocolModel;

    fn model(self, switch: Option<Switch>, reaches: &'static [Event]) -> Result<ProtocolModel, ConfigError> {
        Ok(ProtocolModel { bounds: self, queue: self.queue()?, switch, watch: Watch::new(reaches) })
    }
}

impl Watched for ProtocolModel {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn broken(state: &State) -> Broken {
        state.broken
    }
}

impl ProtocolModel {
    fn actions_of(&self, state: &State, worker: &Worker, actions: &mut Vec<Action>) {
        let (id, left) = (worker.id, state.left);
        match &worker.doing {
            Doing::Asking(command) => {
                actions.push(Action::Perform(id));
                let ambiguous = matches!(command, Command::Create(_) | Command::Write { .. } | Command::Renew);
                if left.unanswered > 0 && ambiguous {
                    actions.push(Action::Unanswered(id));
                }
            }
            Doing::SettlingFirst(_) => actions.push(Action::Perform(id)),
            Doing::Ready => {
                let has_time = self.has_time(state, worker);
                if has_time {
                    actions.push(Action::Begin(id));
                }
                if left.deadlines > 0 || !has_time {
                    actions.push(Action::Deadline(id));
                }
                if left.renewals > 0 {
                    actions.push(Action::Renew(id));
                }
            }
            Doing::Calling(effect) => {
                actions.push(Action::Answer(id, Answer::Success));
                if left.deadlines > 0 && effect.step + 1 < u32::from(self.bounds.steps) {
                    actions.push(Action::Answer(id, Answer::SuccessAtTheEnd));
                }
                if left.failures > 0 {
                    actions.push(Action::Answer(id, Answer::FailureAfterEffect));
                    actions.push(Action::Answer(id, Answer::EffectUnanswered));
                }
                if left.rejections > 0 {
                    actions.push(Action::Answer(id, Answer::Rejection));
                }
            }
            Doing::Waiting | Doing::Apart => actions.push(Action::Resume(id)),
        }
        if left.crashes > 0 {
            actions.push(Action::Crash(id));
        }
    }
}

impl ProtocolModel {
    fn operators_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.left.redrives > 0 {
            actions.extend(state.broker.receivable_letters().map(Action::TakeUp));
        }
        for operator in &state.operators {
            actions.push(Action::Operate(operator.id));
            if state.left.unanswered > 0 && matches!(operator.asks, Command::Write { .. }) {
                actions.push(Action::OperateUnanswered(operator.id));
            }
            if state.left.crashes > 0 {
                actions.push(Action::OperatorCrash(operator.id));
            }
        }
        if state.left.sweeps > 0 && state.listed.is_none() && state.storage.record().is_some() {
            actions.push(Action::List);
        }
        if state.listed.is_some() {
            actions.push(Action::Sweep);
        }
    }
}

impl Model for ProtocolModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            clock: 0,
            left: self.bounds.budget,
            broker: self.bounds.broker(),
            storage: Storage::default(),
            effects: Effects::new(self.bounds.steps),
            workers: Vec::new(),
            late: Vec::new(),
            operators: Vec::new(),
            listed: None,
            broken: Broken::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.watch.expands();
        if state.workers.len() < self.bounds.workers {
            actions.extend(state.broker.receivable().map(Action::Receive));
        }
        for worker in &state.workers {
            self.actions_of(state, worker, actions);
        }
        actions.extend((0..state.late.len()).map(Action::Land));
        if state.left.lapses > 0 {
            actions.extend(state.broker.locked().map(Action::Lapse));
        }
        self.operators_actions(state, actions);
        // Where records are swept, what happens before one is over is that of the other scenarios.
        let ages = match self.bounds.retention {
            Some(_) => state.storage.record().is_some_and(Record::is_over),
            None => state.storage.has_an_age(),
        };
        if state.left.ticks > 0 && ages {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        Transition { model: self, state: &mut next }.take(action)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(self.watch.reaches)
    }
}
