//! Lock keys, checked in all interleavings within bounds: whole runs of core, and messages that share a key.
//!
//! Whether the messages of a key take turns is decided by a run as a whole: by the lock of the key, and by the line in which the run
//! lets them wait for it. So here an instance is a [`Run`](oncebus_core::run::Run), driven as its page says, and nothing of it is left
//! out. What surrounds it, and what is judged, is that of the [model of one message](crate), record by record; the lock of the key is
//! one more.
//!
//! | [`KeyAction`] | runs, in `crates/core/src/run` |
//! |---|---|
//! | `Receive` | `machine.rs`: the answer to a poll; `machine/keys.rs`: the line |
//! | `Perform`, `Unanswered` | `lock.rs`, `delivery.rs`: the reply; `machine/progress.rs`: what has become possible |
//! | `Answer` | `machine.rs`: the steps of a call |
//! | `Wake` | `machine/progress.rs`: what is due, and with it all renewals |
//! | `Crash`, `Land`, `Lapse`, `Tick`, `Rest` | nothing |
//!
//! # What is left out, and why that hides nothing
//!
//! Beside what the page of the crate says:
//!
//! * **A run neither gathers nor ends.** It begins what it has at once: a message that comes later stands in line behind, or before,
//!   those that are there. How runs end is `crates/core/src/run/tests/chaos.rs`.
//! * **While the processor works**, no reply reaches its run, as in a component. That a request of this run lands meanwhile is the same
//!   as that it lands just after the call: nothing else of the run happens in between.
//! * **A new instance begins when all others have something in hand.** Until then one of those would do the same.
//! * **A look that waits** for a quarter of a second waits for the next tick: the first look may come at any time already.
//!
//! # Rest
//!
//! When nothing can happen but trouble, [time passes](KeyAction::Rest): a tick goes by, and the peek-locks of whatever no
//! instance has in hand lapse. Rests are not bounded by a budget, so all that is left to itself goes on until the queue is empty. A state that takes
//! more than [`MOST_RESTS`] has somebody in it who waits for ever, which is [a rule](crate::Rule::BlocksHeal).

mod state;
mod transition;
mod turns;

use bytes::Bytes;
use oncebus_core::config::{Config, ConfigError, QueueConfig};
use oncebus_core::id::{key_name, record_name};
use oncebus_core::message::{Outgoing, Properties, property};
use oncebus_core::run::Command;
use stateright::{Model, Property};

use crate::bounds::Budget;
use crate::broker::Broker;
use crate::effects::Effects;
use crate::rules::{Broken, Event, properties};
use crate::storage::Storage;
use crate::switch::Switch;
use crate::watch::{Watch, Watched, World};
use state::Instance;
pub use state::State;
use transition::Transition;
use turns::Turns;

/// The most rests on the way to an empty queue. The longest way that was found takes fewer than half of them.
pub const MOST_RESTS: u8 = 12;

/// Where the lock of the key is among the blobs; the records of the messages follow it.
pub(crate) const LOCK: usize = 0;

const KEY: &str = "key";

/// Who and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBounds {
    /// How many instances there are at a time.
    pub instances: usize,
    /// The messages, by their ids. All have the same lock key.
    pub sent: &'static [&'static str],
    /// How many steps the processor takes for a message.
    pub steps: u8,
    /// Whether a message that fails holds back the others.
    pub hold: bool,
    /// The queue's `max_attempts`.
    pub max_attempts: u8,
    /// How much trouble there is.
    pub budget: Budget,
}

/// Lock keys within bounds.
#[derive(Debug)]
pub struct KeyModel {
    pub(crate) bounds: KeyBounds,
    pub(crate) queue: QueueConfig,
    pub(crate) switch: Option<Switch>,
    pub(crate) watch: Watch,
    /// The names of the blobs: that of the lock, and of each message in order.
    pub(crate) names: Vec<String>,
}

/// One thing that may happen. Instances are counted in the order in which they began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAction {
    /// An instance, which may begin with it, receives this message.
    Receive(u8, i64),
    /// This one of an instance's requests is performed and answered.
    Perform(u8, usize),
    /// This one of an instance's requests is not answered. It may still land.
    Unanswered(u8, usize),
    /// The call of the processor ends.
    Answer(u8, KeyAnswer),
    /// An instance does what has become due.
    Wake(u8),
    /// An instance dies. What it sent may still land.
    Crash(u8),
    /// A request that nobody waits for lands: this one of those under way.
    Land(usize),
    /// The peek-lock of this message lapses.
    Lapse(i64),
    /// Time passes, while somebody sleeps.
    Tick,
    /// Time passes, since nothing else can happen.
    Rest,
}

/// How a call of the processor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAnswer {
    /// The step had its effect: more, or done.
    Success,
    /// The step had its effect, and failed after it.
    Failure,
    /// The message can never succeed.
    Rejection,
}

impl KeyBounds {
    fn queue(&self) -> Result<QueueConfig, ConfigError> {
        let on_key_failure = if self.hold { "hold" } else { "continue" };
        let document = format!(
            "[queues.q]\nmax_delivery_count = 100\nmax_execution_seconds = 60\ngather_milliseconds = 0\nbatch = 4\n\
             max_attempts = {}\non_key_failure = '{on_key_failure}'",
            self.max_attempts
        );
        let config = Config::parse(&document)?;
        config.queue("q").cloned().ok_or_else(|| ConfigError::new("queues.q", "not there"))
    }

    fn messages(&self) -> impl Iterator<Item = Outgoing> {
        self.sent.iter().map(|id| {
            let properties: Properties = [(property::ID, *id), (property::KEY, KEY)].into_iter().collect();
            let body = Bytes::from_static(id.as_bytes());
            Outgoing { message_id: Some((*id).to_owned()), body, properties, ..Outgoing::default() }
        })
    }
}

impl World for KeyBounds {
    type Model = KeyModel;

    fn model(self, switch: Option<Switch>, reaches: &'static [Event]) -> Result<KeyModel, ConfigError> {
        let records = self.sent.iter().map(|id| record_name("q", id));
        let names = [key_name("q", KEY)].into_iter().chain(records).collect();
        Ok(KeyModel { bounds: self, queue: self.queue()?, switch, watch: Watch::new(reaches), names })
    }
}

impl Watched for KeyModel {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn broken(state: &State) -> Broken {
        state.broken
    }
}

impl KeyModel {
    /// What an instance does, or the outside with it; trouble apart.
    fn course_of(&self, state: &State, instance: &Instance, actions: &mut Vec<KeyAction>) {
        let number = instance.number;
        if instance.call.is_some() {
            return actions.push(KeyAction::Answer(number, KeyAnswer::Success));
        }
        if instance.polls > 0 {
            actions.extend(state.broker.receivable().map(|sequence| KeyAction::Receive(number, sequence)));
        }
        actions.extend((0..instance.requests.len()).map(|request| KeyAction::Perform(number, request)));
        if instance.run.next_wake() <= self.now(state) {
            actions.push(KeyAction::Wake(number));
        }
    }

    fn trouble_of(state: &State, instance: &Instance, actions: &mut Vec<KeyAction>) {
        let (number, left) = (instance.number, state.left);
        if instance.call.is_some() && left.failures > 0 {
            actions.push(KeyAction::Answer(number, KeyAnswer::Failure));
        }
        if instance.call.is_some() && left.rejections > 0 {
            actions.push(KeyAction::Answer(number, KeyAnswer::Rejection));
        }
        if instance.call.is_none() && left.unanswered > 0 {
            let requests = instance.requests.iter().enumerate();
            let writes =
                requests.filter(|(_, asked)| matches!(asked.command, Command::Create(_) | Command::Write { .. }));
            actions.extend(writes.map(|(request, _)| KeyAction::Unanswered(number, request)));
        }
        if left.crashes > 0 {
            actions.push(KeyAction::Crash(number));
        }
    }
}

impl Model for KeyModel {
    type State = State;
    type Action = KeyAction;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            clock: 0,
            rests: 0,
            left: self.bounds.budget,
            broker: Broker::new(self.bounds.messages(), u8::MAX),
            blobs: self.names.iter().map(|_| Storage::default().into()).collect(),
            effects: self.bounds.sent.iter().map(|_| Effects::new(self.bounds.steps)).collect(),
            turns: Turns::new(self.bounds.sent.len()),
            instances: Vec::new(),
            begun: 0,
            late: Vec::new(),
            broken: Broken::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<KeyAction>) {
        self.watch.expands();
        for instance in &state.instances {
            self.course_of(state, instance, actions);
        }
        let all_have_work = state.instances.iter().all(|instance| instance.run.in_hand().next().is_some());
        if state.instances.len() < self.bounds.instances && all_have_work {
            actions.extend(state.broker.receivable().map(|sequence| KeyAction::Receive(state.begun + 1, sequence)));
        }
        let at_rest = actions.is_empty() && state.broker.locked().next().is_some();
        if at_rest && state.rests < MOST_RESTS {
            actions.push(KeyAction::Rest);
        }
        for instance in &state.instances {
            Self::trouble_of(state, instance, actions);
        }
        actions.extend((0..state.late.len()).map(KeyAction::Land));
        if state.left.lapses > 0 {
            actions.extend(state.broker.locked().map(KeyAction::Lapse));
        }
        if state.left.ticks > 0 && state.blobs.iter().any(|blob| blob.has_an_age()) {
            actions.push(KeyAction::Tick);
        }
    }

    fn next_state(&self, last: &State, action: KeyAction) -> Option<State> {
        let mut next = last.clone();
        Transition { model: self, state: &mut next }.take(action)?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(self.watch.reaches)
    }
}
