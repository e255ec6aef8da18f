//! Copies: how a broker that can only complete and abandon is made to delay and to dead-letter.
//!
//! A copy is a new message with the body, the content type and the properties of the old one, the same `oncebus-id`, `oncebus-key` and
//! `oncebus-seq`, the epoch of the record it was made for, and a `MessageId` that nobody has used, so that duplicate
//! detection does not eat it. Always in this order: record, copy, complete. A crash in between leaves two
//! deliveries of one record, and the record tells the second one what to do.

use std::time::Duration;

use crate::config::QueueConfig;
use crate::id::Mark;
use crate::message::{Delivery, Outgoing, PropertyValue, property};

/// The epoch of a copy that was made for none. Epochs begin with 1.
pub(super) const NO_EPOCH: u64 = 0;

/// A copy to be sent.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Copy {
    /// The queue it goes to.
    pub queue: String,
    /// The message.
    pub message: Outgoing,
    /// How long it stays invisible. The driver turns it into a time by the broker's clock.
    pub delay: Duration,
}

/// Why a message is given up, in the broker's own words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Poison<'a> {
    /// `DeadLetterReason`: a code.
    pub(super) reason: &'a str,
    /// `DeadLetterErrorDescription`: a sentence.
    pub(super) description: &'a str,
}

/// A copy to the same queue, after a delay.
pub(super) fn delayed(
    delivery: &Delivery,
    id: &str,
    epoch: u64,
    delay: Duration,
    queue: &QueueConfig,
    fresh: &Mark,
) -> Copy {
    Copy { queue: queue.name.clone(), message: copy(delivery, id, epoch, fresh), delay }
}

/// A copy to the poison queue, with the reason and where it came from. Without an `epoch` it stands for no record: that of its id
/// belongs to another payload.
pub(super) fn poison(
    delivery: &Delivery,
    id: &str,
    epoch: Option<u64>,
    why: &Poison<'_>,
    queue: &QueueConfig,
    fresh: &Mark,
) -> Copy {
    let mut message = copy(delivery, id, epoch.unwrap_or(NO_EPOCH), fresh);
    if epoch.is_none() {
        message.properties.remove(property::EPOCH);
    }
    message.properties.set(property::REASON, why.reason);
    message.properties.set(property::DEAD_LETTER_REASON, why.reason);
    message.properties.set(property::DEAD_LETTER_DESCRIPTION, why.description);
    message.properties.set(property::SOURCE_QUEUE, queue.name.as_str());
    Copy { queue: queue.poison_queue.clone(), message, delay: Duration::ZERO }
}

/// A copy of a dead letter, back to a queue: without what made it one. `epoch` is that of the record, where it was reopened for
/// this copy; `None` where nothing was written, and the copy stands for no epoch.
pub(super) fn redriven(letter: &Delivery, id: &str, epoch: Option<u64>, queue: &str, fresh: &Mark) -> Copy {
    let mut message = copy(letter, id, epoch.unwrap_or(NO_EPOCH), fresh);
    let of_letters =
        [property::REASON, property::DEAD_LETTER_REASON, property::DEAD_LETTER_DESCRIPTION, property::SOURCE_QUEUE];
    for name in of_letters {
        message.properties.remove(name);
    }
    Copy { queue: queue.to_owned(), message, delay: Duration::ZERO }
}

fn copy(delivery: &Delivery, id: &str, epoch: u64, fresh: &Mark) -> Outgoing {
    let mut properties = delivery.properties.clone();
    properties.set(property::ID, id);
    properties.set(property::EPOCH, epoch.to_string());
    if properties.get(property::SEQUENCE).is_none() {
        let sequence = delivery.lock.sequence_number.to_string();
        properties.set(property::SEQUENCE, PropertyValue::Text(sequence));
    }
    Outgoing {
        message_id: Some(fresh.to_string()),
        content_type: delivery.content_type.clone(),
        body: delivery.body.clone(),
        properties,
        correlation_id: delivery.correlation_id.clone(),
        label: delivery.label.clone(),
        reply_to: delivery.reply_to.clone(),
        to: delivery.to.clone(),
        partition_key: delivery.partition_key.clone(),
        time_to_live: None,
        scheduled_for: None,
    }
}
