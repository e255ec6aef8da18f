//! The broker once more, too simple to be wrong: a list of messages, walked second by second.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{IDLE_SECONDS, LOCK_SECONDS, MAX_DELIVERIES, Name, View};
use crate::broker::{MOST_HOPS, SubQueue};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Where {
    In(SubQueue),
    Scheduled { due: u64 },
}

/// A message; times are seconds since the start.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) queue: Name,
    place: Where,
    /// The sequence number, once it has one.
    number: u64,
    ttl: Option<u64>,
    expires: Option<u64>,
    pub(super) deliveries: u32,
    pub(super) lock: Option<(Uuid, u64)>,
    hops: u8,
}

/// What is said of a queue.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) forward_to: Option<Name>,
    pub(super) forward_dead_to: Option<Name>,
    pub(super) disabled: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Queue {
    said: Said,
    numbers: u64,
    active: u64,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) items: Vec<Item>,
    queues: BTreeMap<Name, Queue>,
}

impl Model {
    pub(super) fn put(&mut self, name: Name, said: Said) {
        let queue = self.queues.entry(name).or_default();
        queue.said = said;
        queue.active = self.now;
        self.settle();
    }

    pub(super) fn said(&self, name: Name) -> Option<Said> {
        self.queues.get(&name).map(|queue| queue.said)
    }

    pub(super) fn send(&mut self, queue: Name, ttl: Option<u64>, delay: Option<u64>) -> bool {
        let due = self.now + delay.unwrap_or(0);
        let place = Where::Scheduled { due };
        let item = Item { queue, place, number: 0, ttl, expires: None, deliveries: 0, lock: None, hops: 0 };
        let taken = self.take_in(item);
        self.settle();
        taken
    }

    /// Puts a message into its queue, if there is one that takes it.
    fn take_in(&mut self, mut item: Item) -> bool {
        let now = self.now;
        let Some(queue) = self.queues.get_mut(&item.queue).filter(|queue| !queue.said.disabled) else { return false };
        queue.active = now;
        if !matches!(item.place, Where::Scheduled { due } if due > now) {
            queue.numbers += 1;
            item.number = queue.numbers;
            item.place = Where::In(SubQueue::Main);
            item.expires = item.ttl.map(|ttl| now + ttl);
        }
        self.items.push(item);
        true
    }

    /// Whether somebody may receive there.
    pub(super) fn lets_receive(&self, queue: Name, sub_queue: SubQueue) -> bool {
        self.said(queue).is_some_and(|said| !said.disabled && self.target(queue, sub_queue).is_none())
    }

    /// The number and the count of what is received.
    pub(super) fn receive(&mut self, queue: Name, sub_queue: SubQueue, token: Option<Uuid>) -> Option<(u64, u32)> {
        self.touch(queue);
        let index = self.first_ready(queue, sub_queue)?;
        let item = &mut self.items[index];
        item.deliveries += 1;
        let seen = (item.number, item.deliveries);
        match token {
            Some(token) => item.lock = Some((token, self.now + LOCK_SECONDS)),
            None => drop(self.items.remove(index)),
        }
        Some(seen)
    }

    /// The message that a token holds.
    pub(super) fn held(&self, token: Uuid) -> Option<usize> {
        self.items.iter().position(|item| item.lock.is_some_and(|(held, _)| held == token))
    }

    pub(super) fn touch(&mut self, queue: Name) {
        let now = self.now;
        self.queues.entry(queue).and_modify(|queue| queue.active = now);
    }

    pub(super) fn release(&mut self, index: usize) {
        let item = &mut self.items[index];
        item.lock = None;
        if item.place == Where::In(SubQueue::Main) && item.deliveries >= MAX_DELIVERIES {
            item.place = Where::In(SubQueue::DeadLetter);
        }
        self.drop_expired();
        self.settle();
    }

    pub(super) fn give_back(&mut self, index: usize) {
        self.items[index].lock = None;
        self.items[index].deliveries -= 1;
        self.drop_expired();
        self.settle();
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            for queue in Name::ALL {
                self.wait_in(queue);
            }
        }
    }

    /// What falls due in one queue in this second: locks, times to live, schedules, and at last the queue.
    fn wait_in(&mut self, queue: Name) {
        let now = self.now;
        let here = move |item: &&(usize, Item)| item.1.queue == queue;
        let numbered = |model: &Self| -> Vec<(usize, Item)> { model.items.iter().cloned().enumerate().collect() };
        loop {
            let items = numbered(self);
            let ended = items.iter().filter(here).filter(|(_, item)| item.lock.is_some_and(|(_, until)| until <= now));
            let Some((index, _)) = ended.min_by_key(|(_, item)| (item.place, item.number)) else { break };
            self.release(*index);
        }
        self.drop_expired();
        loop {
            let items = numbered(self);
            let due = items.iter().filter(here).find(|(_, item)| item.place == Where::Scheduled { due: now });
            let Some((index, _)) = due else { break };
            let mut item = self.items.remove(*index);
            let queue = self.queues.get_mut(&item.queue).unwrap();
            queue.numbers += 1;
            queue.active = now;
            (item.number, item.place) = (queue.numbers, Where::In(SubQueue::Main));
            item.expires = item.ttl.map(|ttl| now + ttl);
            self.items.push(item);
            self.settle();
        }
        let scheduled = |item: &Item| item.queue == queue && matches!(item.place, Where::Scheduled { .. });
        let kept = queue == Name::Q
            || self
                .queues
                .get(&queue)
                .is_none_or(|found| found.said.forward_to.is_some() || now < found.active + IDLE_SECONDS)
            || self.items.iter().any(scheduled);
        if !kept {
            self.queues.remove(&queue);
            self.items.retain(|item| item.queue != queue);
        }
    }

    /// Dead letters do not expire; the others go when nobody holds them.
    fn drop_expired(&mut self) {
        let now = self.now;
        let over = |item: &Item| {
            let main = item.place == Where::In(SubQueue::Main);
            main && item.lock.is_none() && item.expires.is_some_and(|end| end <= now)
        };
        self.items.retain(|item| !over(item));
    }

    fn target(&self, queue: Name, sub_queue: SubQueue) -> Option<Name> {
        let said = self.said(queue)?;
        match sub_queue {
            SubQueue::Main => said.forward_to,
            SubQueue::DeadLetter => said.forward_dead_to,
            SubQueue::TransferDeadLetter => None,
        }
    }

    /// Moves on what is to be moved on, one message after the other.
    fn settle(&mut self) {
        loop {
            let from = Name::ALL.into_iter().flat_map(|queue| SubQueue::ALL.map(|sub_queue| (queue, sub_queue)));
            let leaving = from.into_iter().find_map(|(queue, sub_queue)| {
                let target = self.target(queue, sub_queue)?;
                Some((self.first_ready(queue, sub_queue)?, target))
            });
            let Some((index, target)) = leaving else { return };
            let old = self.items.remove(index);
            let moved = Item { queue: target, deliveries: 0, hops: old.hops + 1, ..old.clone() };
            if moved.hops > MOST_HOPS || !self.take_in(moved) {
                self.items.push(Item { place: Where::In(SubQueue::TransferDeadLetter), ..old });
            }
        }
    }

    fn first_ready(&self, queue: Name, sub_queue: SubQueue) -> Option<usize> {
        let items = self.items.iter().enumerate();
        let ready =
            items.filter(|(_, item)| item.queue == queue && item.place == Where::In(sub_queue) && item.lock.is_none());
        ready.min_by_key(|(_, item)| item.number).map(|(index, _)| index)
    }

    /// Number, lock and count of each message of a sub-queue.
    pub(super) fn view(&self, queue: Name, sub_queue: SubQueue) -> View {
        let here = self.items.iter().filter(|item| item.queue == queue && item.place == Where::In(sub_queue));
        let mut view: View = here.map(|item| (item.number, item.lock.is_some(), item.deliveries)).collect();
        view.sort_unstable();
        view
    }

    pub(super) fn scheduled(&self, queue: Name) -> usize {
        let scheduled = |item: &&Item| item.queue == queue && matches!(item.place, Where::Scheduled { .. });
        self.items.iter().filter(scheduled).count()
    }
}
