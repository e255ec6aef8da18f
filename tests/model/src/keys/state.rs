//! One state of the whole: the broker, the blobs, the stores, the instances, and what is under way between them.

use oncebus_core::run::{Command, Run, Tag};
use oncebus_core::time::Instant;

use super::turns::{KeyedEffect, Turns};
use crate::bounds::Budget;
use crate::broker::{Broker, DeliveryId};
use crate::effects::Effects;
use crate::rules::Broken;
use crate::shared::Shared;
use crate::storage::{Claim, Storage};

/// A state.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct State {
    /// How many ticks have passed: the storage's clock, and that of the instances.
    pub(crate) clock: u8,
    /// How many of them because nothing else could happen.
    pub(crate) rests: u8,
    pub(crate) left: Budget,
    pub(crate) broker: Broker,
    /// The lock of the key, and the record of each message.
    pub(crate) blobs: Vec<Shared<Storage>>,
    /// Of each message.
    pub(crate) effects: Vec<Effects>,
    pub(crate) turns: Turns,
    pub(crate) instances: Vec<Shared<Instance>>,
    /// How many instances there have been.
    pub(crate) begun: u8,
    /// Requests that nobody waits for any more. Each may land at any time, or never.
    pub(crate) late: Vec<Shared<Late>>,
    pub(crate) broken: Broken,
}

/// An instance of the handler: a run, and what is under way for it.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Instance {
    pub(crate) number: u8,
    pub(crate) run: Run,
    /// Polls that wait for a message.
    pub(crate) polls: u8,
    /// In the order of their tags.
    pub(crate) requests: Vec<Asked>,
    pub(crate) call: Option<Call>,
    /// Truth: of each blob, the claim that it made last, whether it knows or not.
    pub(crate) claims: Vec<Option<Claim>>,
}

/// A request that is under way.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Asked {
    pub(crate) tag: Tag,
    pub(crate) command: Command,
    pub(crate) about: About,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Hash)]
pub(crate) struct About {
    /// Which blob.
    pub(crate) blob: usize,
    /// Which delivery; a lock key has none.
    pub(crate) delivery: Option<DeliveryId>,
}

/// A call of the processor.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Call {
    pub(crate) tags: Vec<Tag>,
    pub(crate) effects: Vec<KeyedEffect>,
    /// When its time is over.
    pub(crate) ends: Instant,
}

/// A request that nobody waits for.
#[expect(clippy::large_enum_variant, reason = "there are few, and each is behind a pointer that is shared")]
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Late {
    /// Of an instance: to the storage or to the broker.
    Request { from: u8, claim: Option<Claim>, command: Command, about: About },
    /// Of a processor.
    Effect(KeyedEffect),
}

impl State {
    /// Takes an instance out, to be changed and put back.
    pub(crate) fn take_instance(&mut self, number: u8) -> Option<Instance> {
        let index = self.instances.iter().position(|instance| instance.number == number)?;
        Some(Instance::clone(&self.instances.remove(index)))
    }

    pub(crate) fn put_instance(&mut self, instance: Instance) {
        self.instances.push(Shared::new(instance));
    }

    /// Equal states are made to look equal.
    pub(crate) fn put_in_order(&mut self) {
        self.instances.sort_unstable_by_key(|instance| instance.number);
        self.late.sort_unstable_by_key(Shared::digest);
    }
}
