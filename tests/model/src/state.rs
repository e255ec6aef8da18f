//! One state of the whole: the broker, the storage, the stores, the workers, and what is under way between them.

use oncebus_core::id::{Mark, Names};
use oncebus_core::record::ETag;
use oncebus_core::run::Command;
use oncebus_core::run::delivery::Handling;
use oncebus_core::run::redrive::Redrive;

use crate::bounds::Budget;
use crate::broker::{Broker, DeliveryId};
use crate::effects::{Effect, Effects};
use crate::rules::Broken;
use crate::shared::Shared;
use crate::storage::{Claim, Storage};

/// A state.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct State {
    /// How many ticks have passed: the storage's clock, and that of the workers.
    pub(crate) clock: u8,
    pub(crate) left: Budget,
    pub(crate) broker: Broker,
    pub(crate) storage: Storage,
    pub(crate) effects: Effects,
    /// In an order that does not tell who came first: a worker is what it has in hand, and nothing else.
    pub(crate) workers: Vec<Shared<Worker>>,
    /// Requests that nobody waits for any more. Each may land at any time, or never.
    pub(crate) late: Vec<Shared<Late>>,
    /// Operators with a letter in hand.
    pub(crate) operators: Vec<Shared<Operator>>,
    /// The version of the record that a sweep has listed, and is about to delete.
    pub(crate) listed: Option<ETag>,
    pub(crate) broken: Broken,
}

/// A worker with a delivery in hand.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Worker {
    pub(crate) id: DeliveryId,
    pub(crate) handling: Handling,
    /// The names of its writes and copies, from its own id: no draw decides anything.
    pub(crate) names: Names,
    pub(crate) doing: Doing,
    /// Truth: the claim it made last, whether it knows or not.
    pub(crate) claim: Option<Claim>,
    /// The mark of a write of which it looks what became.
    pub(crate) unanswered: Option<Mark>,
    /// When it last asked for something, in ticks. Only kept where records are swept.
    pub(crate) asked: u8,
}

/// An operator with a letter in hand.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Operator {
    pub(crate) id: DeliveryId,
    pub(crate) redrive: Redrive,
    /// What is under way.
    pub(crate) asks: Command,
}

/// What a worker waits for.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Doing {
    /// A request that is under way.
    Asking(Command),
    /// The adversary completes the delivery first, and then asks for this.
    SettlingFirst(Command),
    /// It holds a claim.
    Ready,
    /// The processor works; its step is about to have its effect.
    Calling(Effect),
    /// Another holds the record.
    Waiting,
    /// The message has killed instances, and waits to be alone.
    Apart,
}

/// A request that nobody waits for.
#[expect(clippy::large_enum_variant, reason = "there are few, and each is behind a pointer that is shared")]
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Late {
    /// Of a worker: to the storage or to the broker.
    Request { from: DeliveryId, claim: Option<Claim>, command: Command },
    /// Of a processor.
    Effect(Effect),
}

impl Worker {
    /// The claim that it works under. While it does not know of one that it made, it may make another.
    pub(crate) fn claim_held(&self) -> Option<Claim> {
        self.handling.held().and(self.claim)
    }
}

impl State {
    /// Takes a worker out, to be changed and put back.
    pub(crate) fn take_worker(&mut self, id: DeliveryId) -> Option<Worker> {
        let index = self.workers.iter().position(|worker| worker.id == id)?;
        Some(Worker::clone(&self.workers.swap_remove(index)))
    }

    pub(crate) fn put_worker(&mut self, worker: Worker) {
        self.workers.push(Shared::new(worker));
    }

    /// Equal states are made to look equal.
    pub(crate) fn put_in_order(&mut self) {
        self.workers.sort_unstable_by_key(Shared::digest);
        self.late.sort_unstable_by_key(Shared::digest);
        self.operators.sort_unstable_by_key(Shared::digest);
    }
}
