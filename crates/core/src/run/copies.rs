//! Copies: how a broker that can only complete and abandon is made to delay and to dead-letter.
//!
//! A copy is a new message with the body, the content type and the properties of the old one, the same `oncebus-id`, `oncebus-key` and
//! `oncebus-seq`, the epoch of the record it was made for, and a `MessageId` that nobody has used, so that duplicate
//! detection does not eat it. Always in this order: record, copy, complete. A crash in between leaves two
//! deliveries of one record, and the record tells the second one what to do.
//!
//! **Time to live.** A copy to the same queue has what its original had left when it was delivered, so retries do not make a message
//! that its sender has given an end live on. It counts from when the copy is due, as the broker reckons it: a delay that a processor asked
//! for does not use it up, or else a retry in a week would be lost on a queue whose messages live for three days. A letter, and
//! what an operator sends back, begin anew: they wait for people.

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

/// What a copy has to live whose time was over when it was made: the broker knows nothing shorter that is not for ever. Such a message
/// expires, as it would have if its lock had lapsed.
const SHORTEST_TO_LIVE: Duration = Duration::from_secs(1);

/// A copy to the same queue, after a delay.
pub(super) fn delayed(
    delivery: &Delivery,
    id: &str,
    epoch: u64,
    delay: Duration,
    queue: &QueueConfig,
    fresh: &Mark,
) -> Copy {
    let message = copy(delivery, id, epoch, fresh);
    let left = delivery.remaining_time_to_live().map(|left| left.max(SHORTEST_TO_LIVE));
    Copy { queue: queue.name.clone(), message: Outgoing { time_to_live: left, ..message }, delay }
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
        addressing: delivery.addressing.clone(),
        time_to_live: None,
        scheduled_for: None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::Config;
    use crate::id::Names;
    use crate::message::{Addressing, LockRef, Properties};
    use crate::time::UnixTime;

    /// Delivered 40 s after it was enqueued.
    fn delivery(seconds_to_live: Option<u64>) -> Delivery {
        Delivery {
            lock: LockRef { sequence_number: 7, lock_token: "lock".to_owned() },
            message_id: "m".to_owned(),
            delivery_count: 1,
            enqueued_at: Some(UnixTime(1_000)),
            locked_until: None,
            answered_at: Some(UnixTime(1_040)),
            content_type: None,
            body: Bytes::from_static(b"body"),
            properties: Properties::new(),
            addressing: Addressing { to: Some("there".to_owned()), ..Addressing::default() },
            time_to_live: seconds_to_live.map(Duration::from_secs),
        }
    }

    fn copies_of(delivery: &Delivery) -> [Copy; 3] {
        let queue = Config::parse("[queues.q]").unwrap().queue("q").unwrap().clone();
        let fresh = Names::new(1).fresh();
        let why = Poison { reason: "rejected", description: "never" };
        [
            delayed(delivery, "m", 1, Duration::from_secs(600), &queue, &fresh),
            poison(delivery, "m", Some(1), &why, &queue, &fresh),
            redriven(delivery, "m", None, "q", &fresh),
        ]
    }

    #[test]
    fn a_copy_to_the_same_queue_has_what_is_left_to_live_and_a_letter_begins_anew() {
        for (seconds, left) in [(None, None), (Some(100), Some(60)), (Some(41), Some(1)), (Some(30), Some(1))] {
            let lives = copies_of(&delivery(seconds)).map(|copy| copy.message.time_to_live.map(|left| left.as_secs()));
            assert_eq!(lives, [left, None, None], "{seconds:?}");
        }
        let untold = Delivery { answered_at: None, ..delivery(Some(100)) };
        let [copy, ..] = copies_of(&untold);
        assert_eq!(copy.message.time_to_live, Some(Duration::from_secs(100)), "without a clock nothing has passed");
    }

    #[test]
    fn copies_keep_whom_a_message_is_for() {
        for copy in copies_of(&delivery(None)) {
            assert_eq!(copy.message.addressing.to.as_deref(), Some("there"));
        }
    }
}
