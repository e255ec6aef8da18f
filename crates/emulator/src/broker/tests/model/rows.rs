//! What a store would keep: the outcome of all changes so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::{Broker, Change, Entry, Place, QueueOptions};
use crate::ids::CountingIds;
use crate::time::UnixMillis;

const PLACES: [Place; 4] = [Place::Main, Place::DeadLetter, Place::TransferDeadLetter, Place::Scheduled];

#[derive(Default)]
pub(super) struct Rows {
    queues: BTreeMap<Arc<str>, (QueueOptions, u64, UnixMillis)>,
    messages: BTreeMap<(Arc<str>, usize, u64), Entry>,
}

fn code(place: Place) -> usize {
    PLACES.iter().position(|other| *other == place).unwrap()
}

impl Rows {
    pub(super) fn write(&mut self, change: Change) {
        match change {
            Change::Queue { key, options, next_sequence, active_at } => {
                let options = options.map(|options| *options);
                let options = options.or_else(|| self.queues.get(&key).map(|(options, ..)| options.clone())).unwrap();
                self.queues.insert(key, (options, next_sequence, active_at));
            }
            Change::QueueRemoved { key } => {
                self.queues.remove(&key);
                self.messages.retain(|(queue, ..), _| *queue != key);
            }
            Change::Message { key, place, number, entry } => {
                self.messages.insert((key, code(place), number), entry);
            }
            Change::Standing { key, place, number, deliveries, lock } => {
                let entry = self.messages.get_mut(&(key, code(place), number)).unwrap();
                (entry.deliveries, entry.lock) = (deliveries, lock);
            }
            Change::MessageRemoved { key, place, number } => {
                assert!(self.messages.remove(&(key, code(place), number)).is_some());
            }
            Change::Topic { .. } | Change::Remembered { .. } | Change::Forgotten { .. } => {}
        }
    }

    /// A broker that was started from these rows.
    pub(super) fn start(&self) -> Broker {
        let mut broker = Broker::new(Box::<CountingIds>::default(), true);
        for (key, (options, next_sequence, active_at)) in &self.queues {
            broker.restore(Change::Queue {
                key: Arc::clone(key),
                options: Some(Box::new(options.clone())),
                next_sequence: *next_sequence,
                active_at: *active_at,
            });
        }
        for ((key, place, number), entry) in &self.messages {
            let (key, place, entry) = (Arc::clone(key), PLACES[*place], entry.clone());
            broker.restore(Change::Message { key, place, number: *number, entry });
        }
        broker
    }
}
