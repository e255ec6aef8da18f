//! What every message goes through where it is accepted: the rules it must keep, an id, the cap of its
//! time to live, and duplicate detection.

use std::sync::Arc;
use std::time::Duration;

use super::BrokerError;
use super::change::{Change, Outbox};
use super::history::History;
use super::message::Message;
use crate::ids::IdSource;
use crate::time::UnixMillis;

/// What an entity asks of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) key: &'a Arc<str>,
    /// How long ids are remembered, where duplicates are detected.
    pub(super) remembers: Option<Duration>,
    /// The longest time to live.
    pub(super) time_to_live: Option<Duration>,
}

/// The door of an entity.
#[derive(Debug, Default)]
pub(super) struct Intake {
    history: History,
}

impl Intake {
    /// Gives a message what it lacks. Says no to one whose id was seen within the window: it counts as
    /// accepted, and is dropped.
    pub(super) fn admit(
        &mut self,
        message: &mut Arc<Message>,
        terms: Terms<'_>,
        now: UnixMillis,
        ids: &mut dyn IdSource,
        out: &mut Outbox,
    ) -> bool {
        if self.history.forget(now) {
            out.change(|| Change::Forgotten { key: Arc::clone(terms.key), until: now });
        }
        if message.broker.message_id.is_empty() {
            Arc::make_mut(message).broker.message_id = format!("{:032x}", ids.next_id());
        } else if let Some(window) = terms.remembers {
            if self.history.contains(&message.broker.message_id) {
                return false;
            }
            let message_id: Arc<str> = message.broker.message_id.as_str().into();
            let until = now.after(window);
            self.history.remember(Arc::clone(&message_id), until);
            out.change(|| Change::Remembered { key: Arc::clone(terms.key), message_id, until });
        }
        if message.broker.partition_key.is_none() && message.broker.session_id.is_some() {
            let broker = &mut Arc::make_mut(message).broker;
            broker.partition_key.clone_from(&broker.session_id);
        }
        cap(message, terms.time_to_live);
        true
    }

    /// Puts back what a store kept.
    pub(super) fn restore(&mut self, message_id: Arc<str>, until: UnixMillis) {
        self.history.remember(message_id, until);
    }
}

/// Shortens a time to live to the entity's.
pub(super) fn cap(message: &mut Arc<Message>, longest: Option<Duration>) {
    let shorter = match (message.broker.time_to_live, longest) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    if shorter != message.broker.time_to_live {
        Arc::make_mut(message).broker.time_to_live = shorter;
    }
}

/// The rules that messages sent together must keep to be accepted at all; answers their size.
pub(super) fn check(messages: &[Arc<Message>], largest: usize, one_partition: bool) -> Result<usize, BrokerError> {
    let size = messages.iter().map(|message| message.size()).sum();
    if size > largest {
        return Err(BrokerError::TooLarge { size, limit: largest });
    }
    messages.iter().try_for_each(|message| check_one(message))?;
    let partition = |message: &Arc<Message>| {
        message.broker.session_id.clone().or_else(|| message.broker.partition_key.clone()).unwrap_or_default()
    };
    if one_partition && messages.windows(2).any(|pair| matches!(pair, [a, b] if partition(a) != partition(b))) {
        return Err(BrokerError::InvalidProperty("messages of one batch must have the same partition key"));
    }
    Ok(size)
}

fn check_one(message: &Message) -> Result<(), BrokerError> {
    /// Characters, as documented.
    const LONGEST_ID: usize = 128;
    /// Bytes, as documented: one custom property, and all properties together.
    const LARGEST_PROPERTY: usize = 32 * 1024;
    const LARGEST_PROPERTIES: usize = 64 * 1024;
    let broker = &message.broker;
    let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_ID);
    if broker.message_id.chars().count() > LONGEST_ID {
        return Err(BrokerError::InvalidProperty("MessageId must be at most 128 characters"));
    }
    if long(&broker.session_id) || long(&broker.partition_key) {
        return Err(BrokerError::InvalidProperty("SessionId and PartitionKey must be at most 128 characters"));
    }
    if let (Some(session), Some(partition)) = (&broker.session_id, &broker.partition_key)
        && session != partition
    {
        return Err(BrokerError::InvalidProperty("PartitionKey must equal SessionId when both are set"));
    }
    if message.properties.iter().any(|(name, value)| name.len() + value.size() > LARGEST_PROPERTY) {
        return Err(BrokerError::InvalidProperty("a property must be at most 32 KB"));
    }
    if message.size() - message.body.len() > LARGEST_PROPERTIES {
        return Err(BrokerError::InvalidProperty("all properties together must be at most 64 KB"));
    }
    Ok(())
}
