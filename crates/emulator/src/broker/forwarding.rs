//! Messages that go from one entity to another.

use std::sync::Arc;

use super::BrokerError;
use super::entity::Entity;
use super::machine::Broker;
use super::message::Message;
use super::options::target_key;
use super::queue::Leaving;
use crate::time::UnixMillis;

/// How often a message is forwarded at most.
pub const MOST_HOPS: u8 = 4;

impl Broker {
    /// Brings the entities that were changed to rest: what is to go on goes on, through as many entities as
    /// it takes, and the agenda knows of what is next.
    pub(super) fn settle(&mut self, now: UnixMillis) {
        while let Some(key) = self.touched.pop_front() {
            while let Some(leaving) = self.next_leaving(&key) {
                self.forward(&key, &leaving, now);
            }
            let next = self.entities.get(&key).and_then(Entity::next_event);
            self.agenda.set(&key, next);
        }
    }

    fn next_leaving(&mut self, key: &str) -> Option<Leaving> {
        let Self { entities, out, .. } = self;
        entities.get_mut(key).and_then(Entity::queue_mut)?.next_leaving(out)
    }

    fn forward(&mut self, source: &Arc<str>, leaving: &Leaving, now: UnixMillis) {
        let message = match self.entities.get(source).and_then(Entity::queue) {
            Some(queue) => queue.leaves_as(leaving),
            None => return,
        };
        let refused = if message.hops > MOST_HOPS {
            Err(("MaxTransferHopCountExceeded", format!("The message was forwarded {MOST_HOPS} times.")))
        } else {
            let target: Arc<str> = target_key(&leaving.target).into();
            self.take_in(&target, message, now)
                .map_err(|error| (reason(&error), format!("{}: {error}.", leaving.target)))
        };
        let Self { entities, policy, out, .. } = self;
        if let (Err((reason, description)), Some(queue)) =
            (refused, entities.get_mut(source).and_then(Entity::queue_mut))
        {
            queue.strand(leaving, reason, &description, policy, out);
        }
    }

    fn take_in(&mut self, target: &Arc<str>, message: Arc<Message>, now: UnixMillis) -> Result<(), BrokerError> {
        self.check(target, std::slice::from_ref(&message))?;
        self.accept(target, vec![message], now);
        Ok(())
    }
}

/// The reason that a dead letter gets. The documents name the cases, but only the word for too many hops.
fn reason(error: &BrokerError) -> &'static str {
    match error {
        BrokerError::NotFound => "MessagingEntityNotFound",
        BrokerError::Disabled(_) => "MessagingEntityDisabled",
        BrokerError::QuotaExceeded { .. } => "QuotaExceeded",
        BrokerError::TooLarge { .. } => "MessageSizeExceeded",
        _ => "ForwardingRefused",
    }
}
