//! One topic: it keeps no messages, it makes a copy for each subscription whose rules match.
//!
//! A copy is shared between subscriptions unless a rule's action or a shorter time to live changes it.
//! Rules are looked at when a message is sent, scheduled ones included.

use std::sync::Arc;

use super::BrokerError;
use super::change::{Change, Outbox};
use super::history::History;
use super::message::{Message, PropertyValue};
use super::options::TopicOptions;
use super::queue::check;
use super::rule::Rule;
use crate::ids::IdSource;
use crate::time::UnixMillis;

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    key: Arc<str>,
    options: TopicOptions,
    history: History,
    next_sequence: u64,
}

/// A message for the subscription of this key.
pub(super) type Copy = (Arc<str>, Arc<Message>);

impl Topic {
    pub(super) fn new(key: Arc<str>, options: TopicOptions) -> Self {
        Self { key, options, history: History::default(), next_sequence: 1 }
    }

    pub(super) fn options(&self) -> &TopicOptions {
        &self.options
    }

    pub(super) fn options_mut(&mut self) -> &mut TopicOptions {
        &mut self.options
    }

    /// The row that describes this topic.
    pub(super) fn described(&self) -> Change {
        Change::Topic {
            key: Arc::clone(&self.key),
            options: Some(Box::new(self.options.clone())),
            next_sequence: self.next_sequence,
        }
    }

    pub(super) fn restore_counter(&mut self, next_sequence: u64) {
        self.next_sequence = self.next_sequence.max(next_sequence);
    }

    pub(super) fn restore_history(&mut self, message_id: Arc<str>, until: UnixMillis) {
        self.history.remember(message_id, until);
    }

    /// Accepts all messages or none, and answers the copies in the order in which they were made.
    pub(super) fn send(
        &mut self,
        messages: Vec<Message>,
        now: UnixMillis,
        ids: &mut dyn IdSource,
        out: &mut Outbox,
    ) -> Result<Vec<Copy>, BrokerError> {
        let size: usize = messages.iter().map(Message::size).sum();
        if size > self.options.max_message_bytes {
            return Err(BrokerError::TooLarge { size, limit: self.options.max_message_bytes });
        }
        messages.iter().try_for_each(check)?;
        if self.history.forget(now) {
            out.change(|| Change::Forgotten { key: Arc::clone(&self.key), until: now });
        }
        let mut copies = Vec::new();
        for message in messages {
            self.accept(message, now, ids, &mut copies, out);
        }
        let (key, next_sequence) = (&self.key, self.next_sequence);
        out.change(|| Change::Topic { key: Arc::clone(key), options: None, next_sequence });
        Ok(copies)
    }

    fn accept(
        &mut self,
        mut message: Message,
        now: UnixMillis,
        ids: &mut dyn IdSource,
        copies: &mut Vec<Copy>,
        out: &mut Outbox,
    ) {
        if message.broker.message_id.is_empty() {
            message.broker.message_id = format!("{:032x}", ids.next_id());
        } else if self.options.requires_duplicate_detection {
            if self.history.contains(&message.broker.message_id) {
                return;
            }
            let message_id: Arc<str> = message.broker.message_id.as_str().into();
            let until = now.after(self.options.duplicate_detection_window);
            self.history.remember(Arc::clone(&message_id), until);
            out.change(|| Change::Remembered { key: Arc::clone(&self.key), message_id, until });
        }
        if message.broker.partition_key.is_none() {
            message.broker.partition_key.clone_from(&message.broker.session_id);
        }
        if let Some(limit) = self.options.default_time_to_live {
            message.broker.time_to_live = Some(message.broker.time_to_live.map_or(limit, |ttl| ttl.min(limit)));
        }
        message.enqueued_sequence_number = self.next_sequence;
        self.next_sequence += 1;
        let message = Arc::new(message);
        for (subscription, rules) in &self.options.subscriptions {
            let key: Arc<str> = subscription.as_str().into();
            copies.extend(copies_for(&message, rules).map(|copy| (Arc::clone(&key), copy)));
        }
    }
}

/// One copy when any rule without an action matches, and one for each matching rule with an action.
fn copies_for<'a>(message: &'a Arc<Message>, rules: &'a [Rule]) -> impl Iterator<Item = Arc<Message>> + 'a {
    let matching = move || rules.iter().filter(|rule| rule.filter.matches(message));
    let plain = matching().any(|rule| rule.action.is_none()).then(|| Arc::clone(message));
    let changed = matching().filter_map(|rule| {
        let action = rule.action.as_ref()?;
        let mut copy = Message::clone(message);
        action.apply(&mut copy);
        copy.properties.push(("RuleName".to_owned(), PropertyValue::Text(rule.name.clone())));
        Some(Arc::new(copy))
    });
    plain.into_iter().chain(changed)
}
