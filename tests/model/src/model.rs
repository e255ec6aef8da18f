//! What may happen in a state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicUsize, Ordering};

use oncebus_core::config::{ConfigError, QueueConfig};
use oncebus_core::run::Command;
use stateright::{Model, Property};

use crate::bounds::Bounds;
use crate::broker::{Broker, DeliveryId};
use crate::effects::Effects;
use crate::rules::{Broken, Event, Rule, properties};
use crate::state::{Doing, State, Worker};
use crate::storage::Storage;
use crate::switch::Switch;
use crate::transition::Transition;

/// The protocol within bounds, with one of its rules broken or none.
#[derive(Debug)]
pub struct ProtocolModel {
    pub(crate) bounds: Bounds,
    pub(crate) queue: QueueConfig,
    pub(crate) switch: Option<Switch>,
    reaches: &'static [Event],
    /// Events that have happened on some transition, whether or not it led to a state that was new.
    happened: AtomicU32,
    /// Rules that were told to be broken.
    told: AtomicU16,
    expanded: Arc<AtomicUsize>,
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

impl ProtocolModel {
    /// The protocol within these bounds.
    ///
    /// # Errors
    /// If the settings that the bounds make are refused.
    pub fn new(bounds: Bounds, switch: Option<Switch>, reaches: &'static [Event]) -> Result<Self, ConfigError> {
        Ok(Self {
            bounds,
            queue: bounds.queue()?,
            switch,
            reaches,
            happened: AtomicU32::new(0),
            told: AtomicU16::new(0),
            expanded: Arc::default(),
        })
    }

    /// Whether this rule's fall is to be told: the first time.
    pub(crate) fn tells(&self, rule: Rule) -> bool {
        self.told.fetch_or(rule.bit(), Ordering::Relaxed) & rule.bit() == 0
    }

    pub(crate) fn note(&self, event: Event) {
        self.happened.fetch_or(event.bit(), Ordering::Relaxed);
    }

    pub(crate) fn has_seen(&self, event: Event) -> bool {
        self.happened.load(Ordering::Relaxed) & event.bit() != 0
    }

    /// Counts the states that were expanded, for whoever wants to know that all were.
    pub(crate) fn expanded(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.expanded)
    }

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

impl Model for ProtocolModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            clock: 0,
            left: self.bounds.budget,
            broker: Broker::new(self.bounds.sent, self.bounds.max_deliveries),
            storage: Storage::default(),
            effects: Effects::new(self.bounds.steps),
            workers: Vec::new(),
            late: Vec::new(),
            broken: Broken::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.expanded.fetch_add(1, Ordering::Relaxed);
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
        if state.left.ticks > 0 && state.storage.has_an_age() {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        Transition { model: self, state: &mut next }.take(action)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(self.reaches)
    }
}
