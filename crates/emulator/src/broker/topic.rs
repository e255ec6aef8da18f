//! One topic: it makes a copy of each message for each subscription whose rules match.
//!
//! It keeps only messages that are not yet due: rules look at those when they are. A copy is shared
//! between subscriptions unless a rule's action or a shorter time to live changes it.

use std::sync::Arc;

use super::BrokerError;
use super::change::{Change, Outbox};
use super::delivery::{Counts, MessageState, Standing};
use super::error::Traffic;
use super::intake::{self, Intake, Terms};
use super::message::{Message, PropertyValue};
use super::options::TopicOptions;
use super::policy::Policy;
use super::rule::Rule;
use super::schedule::Schedule;
use super::shelf::Entry;
use crate::ids::IdSource;
use crate::time::UnixMillis;

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    key: Arc<str>,
    options: TopicOptions,
    scheduled: Schedule,
    intake: Intake,
    next_sequence: u64,
    /// The last operation that counts against idleness, its subscriptions' included.
    active_at: UnixMillis,
}

/// A message for the subscription of this key.
pub(super) type Copy = (Arc<str>, Arc<Message>);

/// What fell due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Due,
    /// Nobody used the topic for as long as it asked for: the broker removes it.
    Idle,
}

impl Topic {
    pub(super) fn new(key: Arc<str>, options: TopicOptions, active_at: UnixMillis) -> Self {
        let (scheduled, intake) = (Schedule::default(), Intake::default());
        Self { key, options, scheduled, intake, next_sequence: 1, active_at }
    }

    pub(super) fn options(&self) -> &TopicOptions {
        &self.options
    }

    /// Changes the topic's properties.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut TopicOptions), now: UnixMillis, out: &mut Outbox) {
        change(&mut self.options);
        self.active_at = now;
        out.change(|| Change::Topic {
            key: Arc::clone(&self.key),
            options: Some(Box::new(self.options.clone())),
            next_sequence: self.next_sequence,
            active_at: self.active_at,
        });
    }

    pub(super) fn active_at(&self) -> UnixMillis {
        self.active_at
    }

    /// Notes an operation that keeps the topic from being idle.
    pub(super) fn touch(&mut self, now: UnixMillis, out: &mut Outbox) {
        self.active_at = now;
        if self.options.auto_delete_on_idle.is_some() {
            self.write_counters(out);
        }
    }

    // ---- sending

    /// Whether these messages could be accepted, all of them, when so many bytes are held already.
    pub(super) fn check(&self, messages: &[Arc<Message>], held: u64, policy: &Policy) -> Result<(), BrokerError> {
        if !self.options.status.sends() {
            return Err(BrokerError::Disabled(Traffic::Send));
        }
        let one_partition = self.options.partitioned && policy.one_partition_per_batch;
        intake::check(messages, self.options.max_message_bytes, one_partition)?;
        let more: u64 = messages.iter().map(|message| message.stored_size()).sum();
        if held.saturating_add(self.scheduled.bytes()).saturating_add(more) > self.options.max_topic_bytes {
            return Err(BrokerError::QuotaExceeded { limit: self.options.max_topic_bytes });
        }
        Ok(())
    }

    /// Accepts a message that was checked; answers the copies that it makes now.
    pub(super) fn accept(
        &mut self,
        mut message: Arc<Message>,
        now: UnixMillis,
        ids: &mut dyn IdSource,
        out: &mut Outbox,
    ) -> Vec<Copy> {
        let options = &self.options;
        let terms = Terms {
            key: &self.key,
            remembers: options.requires_duplicate_detection.then_some(options.duplicate_detection_window),
            time_to_live: options.default_time_to_live,
        };
        self.active_at = now;
        if !self.intake.admit(&mut message, terms, now, ids, out) {
            return Vec::new();
        }
        match message.broker.scheduled_enqueue_time {
            Some(due) if due > now => {
                self.scheduled.put(&self.key, message, due, out);
                Vec::new()
            }
            _ => self.publish(message, ids),
        }
    }

    /// Numbers a message, and makes a copy for each subscription that takes it.
    fn publish(&mut self, mut message: Arc<Message>, ids: &mut dyn IdSource) -> Vec<Copy> {
        if message.enqueued_sequence_number == 0 {
            Arc::make_mut(&mut message).enqueued_sequence_number = self.next_sequence;
        }
        self.next_sequence += 1;
        let mut copies = Vec::new();
        for (subscription, rules) in &self.options.subscriptions {
            let key: Arc<str> = subscription.as_str().into();
            copies.extend(copies_for(&message, rules, ids).into_iter().map(|copy| (Arc::clone(&key), copy)));
        }
        copies
    }

    // ---- time

    pub(super) fn next_event(&self) -> Option<UnixMillis> {
        self.next().map(|(at, _)| at)
    }

    /// What is to be carried out next, and as of when.
    pub(super) fn next(&self) -> Option<(UnixMillis, Event)> {
        let due = self.scheduled.first_due().map(|at| (at, Event::Due));
        let idle = self.options.auto_delete_on_idle.filter(|_| self.scheduled.len() == 0);
        let idle = idle.map(|idle| (self.active_at.after(idle), Event::Idle));
        due.into_iter().chain(idle).min()
    }

    /// Publishes the first scheduled message, as of when it was due.
    pub(super) fn publish_due(&mut self, ids: &mut dyn IdSource, out: &mut Outbox) -> Vec<Copy> {
        let Some((due, message)) = self.scheduled.take_first(&self.key, out) else { return Vec::new() };
        self.active_at = due;
        let copies = self.publish(message, ids);
        self.write_counters(out);
        copies
    }

    // ---- rows

    pub(super) fn write_counters(&self, out: &mut Outbox) {
        out.change(|| Change::Topic {
            key: Arc::clone(&self.key),
            options: None,
            next_sequence: self.next_sequence,
            active_at: self.active_at,
        });
    }

    pub(super) fn restore_counter(&mut self, next_sequence: u64) {
        self.next_sequence = self.next_sequence.max(next_sequence);
    }

    pub(super) fn restore_history(&mut self, message_id: Arc<str>, until: UnixMillis) {
        self.intake.restore(message_id, until);
    }

    pub(super) fn restore_message(&mut self, ticket: u64, entry: Entry) {
        self.scheduled.restore(ticket, entry.enqueued_at, entry.message);
    }

    /// The messages that are not yet due.
    pub(super) fn messages(&self) -> Vec<Standing> {
        let standing = |entry| Standing { sequence_number: None, state: MessageState::Scheduled, entry };
        self.scheduled.entries().map(standing).collect()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { scheduled: self.scheduled.len(), bytes: self.scheduled.bytes(), ..Counts::default() }
    }
}

/// One copy when any rule without an action matches, and one for each matching rule with an action.
fn copies_for(message: &Arc<Message>, rules: &[Rule], ids: &mut dyn IdSource) -> Vec<Arc<Message>> {
    let matching = || rules.iter().filter(|rule| rule.filter.matches(message));
    let plain = matching().any(|rule| rule.action.is_none()).then(|| Arc::clone(message));
    let changed = matching().filter_map(|rule| {
        let action = rule.action.as_ref()?;
        let mut copy = Message::clone(message);
        action.apply(&mut copy, ids);
        copy.properties.push(("RuleName".to_owned(), PropertyValue::Text(rule.name.clone())));
        Some(Arc::new(copy))
    });
    plain.into_iter().chain(changed).collect()
}
