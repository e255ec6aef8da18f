//! What time alone does to a queue: locks end, messages expire and fall due, and who is idle goes.

use std::sync::Arc;

use super::super::change::Outbox;
use super::super::message::{Message, PropertyValue};
use super::super::path::SubQueue;
use super::super::shelf::Entry;
use super::Queue;
use super::rows::expires_at;
use crate::time::UnixMillis;

/// What falls due. Declared in the order in which simultaneous events are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::broker) enum Event {
    LockEnds(SubQueue, u64),
    Expires(u64),
    Due,
    /// Nobody used the queue for as long as it asked for: the broker removes it.
    Idle,
}

impl Queue {
    /// When something is to be carried out next.
    pub(in crate::broker) fn next_event(&self) -> Option<UnixMillis> {
        self.next().map(|(at, _)| at)
    }

    /// What is to be carried out next, and as of when.
    pub(in crate::broker) fn next(&self) -> Option<(UnixMillis, Event)> {
        let lock_end = |sub_queue: SubQueue| {
            let (at, number) = self.shelf(sub_queue).next_lock_end()?;
            Some((at, Event::LockEnds(sub_queue, number)))
        };
        let locks = SubQueue::ALL.map(lock_end);
        let expiry = self.main.next_expiry().map(|(at, n)| (at, Event::Expires(n)));
        let due = self.scheduled.first_due().map(|at| (at, Event::Due));
        let idle = self.idle_at().map(|at| (at, Event::Idle));
        locks.into_iter().chain([expiry, due, idle]).flatten().min()
    }

    /// When the queue will have been idle for too long. Scheduled messages and forwarding, which is like a
    /// receiver that never rests, keep it.
    fn idle_at(&self) -> Option<UnixMillis> {
        let idle = self.options.auto_delete_on_idle?;
        let kept = self.scheduled.len() > 0 || self.options.forward_to.is_some();
        (!kept).then(|| self.active_at.after(idle))
    }

    /// Carries out one event as of the instant when it fell due.
    pub(in crate::broker) fn carry_out(&mut self, event: Event, at: UnixMillis, out: &mut Outbox) {
        match event {
            Event::LockEnds(sub_queue, number) => self.release(sub_queue, number, at, out),
            Event::Expires(number) => self.expire(number, at, out),
            Event::Due => {
                if let Some((due, message)) = self.scheduled.take_first(&self.key, out) {
                    self.enqueue(message, due, out);
                    self.active_at = due;
                    self.write_counters(out);
                }
            }
            Event::Idle => {}
        }
    }

    /// A lock ended without the message being completed.
    pub(super) fn release(&mut self, sub_queue: SubQueue, number: u64, at: UnixMillis, out: &mut Outbox) {
        let Some(entry) = self.shelf(sub_queue).get(number) else { return };
        let deliveries = entry.deliveries;
        let expired = expires_at(entry).is_some_and(|end| end <= at);
        if sub_queue == SubQueue::Main && deliveries >= self.options.max_delivery_count {
            let description = format!("Message could not be consumed after {deliveries} delivery attempts.");
            self.dead_letter(number, "MaxDeliveryCountExceeded", &description, out);
            return;
        }
        self.stand(sub_queue, number, None, deliveries, out);
        if sub_queue == SubQueue::Main && expired {
            self.expire(number, at, out);
        } else {
            out.ready(self.path(sub_queue));
        }
    }

    /// A time to live ended. A locked message stays: its holder may still complete it.
    pub(super) fn expire(&mut self, number: u64, at: UnixMillis, out: &mut Outbox) {
        let Some(entry) = self.main.get(number) else {
            self.main.drop_expiry(at, number);
            return;
        };
        if entry.lock.is_some() {
            self.main.drop_expiry(at, number);
        } else if self.options.dead_lettering_on_expiration {
            self.dead_letter(number, "TTLExpiredException", "The message expired and was dead lettered.", out);
        } else {
            self.take_away(SubQueue::Main, number, out);
        }
    }

    fn dead_letter(&mut self, number: u64, reason: &str, description: &str, out: &mut Outbox) {
        if let Some(entry) = self.take_away(SubQueue::Main, number, out) {
            self.bury(number, &entry, SubQueue::DeadLetter, reason, description, out);
        }
    }

    /// Puts a message where those go that could not be delivered, and says why.
    pub(super) fn bury(
        &mut self,
        number: u64,
        entry: &Entry,
        to: SubQueue,
        reason: &str,
        description: &str,
        out: &mut Outbox,
    ) {
        let mut message = Message::clone(&entry.message);
        message.set_property("DeadLetterReason", PropertyValue::Text(reason.to_owned()));
        message.set_property("DeadLetterErrorDescription", PropertyValue::Text(description.to_owned()));
        let entry = Entry { message: Arc::new(message), lock: None, ..entry.clone() };
        self.put(to, number, entry, out);
    }
}
