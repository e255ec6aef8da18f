//! Fills sends with messages.
//!
//! A batch of Service Bus has messages of one partition key alone: on a partitioned queue it is one unit of store. So one is open for each
//! partition key, and for messages without; a few at a time, the oldest closes when there are too many. Sends come out in the order in which
//! messages of one lock key must go: before a message is added, whatever other batch holds one of its key is closed.

use std::collections::BTreeSet;

use bytes::Bytes;
use oncebus_azure::batch::{Batch, PushError};
use oncebus_core::ingest::entry::Entry;
use oncebus_core::ingest::size::{Fit, Sizes};
use oncebus_core::message::property;
use oncebus_core::problem::{Kind, Problem};

/// How many batches are open at once, each for another partition key. Each may hold a broker's limit in memory.
const MOST_OPEN: usize = 8;

/// What is sent at once.
#[derive(Debug)]
pub struct Load {
    /// What goes out.
    pub freight: Freight,
    /// The items in it, by their index.
    pub items: Vec<usize>,
    /// Its lock keys and its partition key.
    pub keys: Keys,
}

/// How messages go.
#[derive(Debug)]
pub enum Freight {
    /// Together.
    Batch(Batch),
    /// By itself: it is no text, or in a batch, where every quote of a body is escaped, it would be too large.
    Alone(Box<Entry>),
    /// By itself, once its body is stored.
    Claimed {
        /// The message without its body.
        entry: Box<Entry>,
        /// Where the body goes.
        blob: String,
        /// The body.
        body: Bytes,
    },
}

/// What keeps sends in order, as digests: two keys that share one wait for each other for nothing, and that is all.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeSet<u64>);

impl Keys {
    fn of(entry: &Entry) -> Self {
        let lock = entry.message.properties.text(property::KEY).map(|key| fnv(b'l', key));
        let partition = entry.message.addressing.partition_key.as_deref().map(|key| fnv(b'p', key));
        Self(lock.into_iter().chain(partition).collect())
    }

    /// Whether one of them is among these.
    #[must_use]
    pub fn meet(&self, other: &Self) -> bool {
        let (few, many) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        few.0.iter().any(|key| many.0.contains(key))
    }
}

/// FNV-1a, 64 bits: no sender gains anything by keys that collide.
fn fnv(kind: u8, text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(step(0xcbf2_9ce4_8422_2325, kind), step)
}

/// Packs messages into as few sends as they fit into.
#[derive(Debug)]
pub struct Packer {
    limit: usize,
    sizes: Sizes,
    open: Vec<Open>,
}

/// A batch that is being filled.
#[derive(Debug)]
struct Open {
    partition_key: Option<String>,
    batch: Batch,
    items: Vec<usize>,
    keys: Keys,
}

impl Open {
    fn new(partition_key: Option<String>, limit: usize) -> Self {
        Self { partition_key, batch: Batch::with_limit(limit), items: Vec::new(), keys: Keys::default() }
    }
}

impl From<Open> for Load {
    fn from(open: Open) -> Self {
        Self { freight: Freight::Batch(open.batch), items: open.items, keys: open.keys }
    }
}

impl Packer {
    /// For batches of at most so many bytes, and messages of these sizes.
    #[must_use]
    pub const fn new(limit: usize, sizes: Sizes) -> Self {
        Self { limit, sizes, open: Vec::new() }
    }

    /// Adds a message, and gives what is ready to go.
    ///
    /// # Errors
    /// It cannot go at all: it is too large, or REST cannot carry it.
    pub fn add(&mut self, index: usize, entry: Entry) -> Result<Vec<Load>, Problem> {
        match self.sizes.fit(entry)? {
            Fit::Whole(entry) => self.add_whole(index, entry),
            Fit::Claimed { entry, blob, body } => {
                let keys = Keys::of(&entry);
                let mut ready = self.close(|open| open.keys.meet(&keys));
                let freight = Freight::Claimed { entry: Box::new(entry), blob, body };
                ready.push(Load { freight, items: vec![index], keys });
                Ok(ready)
            }
        }
    }

    fn add_whole(&mut self, index: usize, entry: Entry) -> Result<Vec<Load>, Problem> {
        let keys = Keys::of(&entry);
        let partition_key = &entry.message.addressing.partition_key;
        let mut ready = self.close(|open| open.partition_key != *partition_key && open.keys.meet(&keys));
        loop {
            let at = match self.open.iter().position(|open| open.partition_key == *partition_key) {
                Some(at) => at,
                None => {
                    if self.open.len() >= MOST_OPEN {
                        ready.push(self.open.remove(0).into());
                    }
                    self.open.push(Open::new(partition_key.clone(), self.limit));
                    self.open.len() - 1
                }
            };
            let Some(open) = self.open.get_mut(at) else { return Ok(ready) };
            match open.batch.push(&entry.message) {
                Ok(()) => {
                    open.items.push(index);
                    open.keys.0.extend(keys.0);
                    return Ok(ready);
                }
                // An empty one is never full: the next round ends here.
                Err(PushError::Full) => ready.push(self.open.remove(at).into()),
                Err(PushError::TooLarge { .. } | PushError::NotText) => {
                    self.forget_empty();
                    ready.extend(self.close(|open| open.keys.meet(&keys)));
                    ready.push(Load { freight: Freight::Alone(Box::new(entry)), items: vec![index], keys });
                    return Ok(ready);
                }
                Err(PushError::Encode(error)) => {
                    self.forget_empty();
                    return Err(Problem::new(Kind::Malformed, error.to_string()));
                }
            }
        }
    }

    /// One that was opened for a message that does not go into any.
    fn forget_empty(&mut self) {
        self.open.retain(|open| !open.items.is_empty());
    }

    fn close(&mut self, is_so: impl FnMut(&mut Open) -> bool) -> Vec<Load> {
        self.open.extract_if(.., is_so).map(Load::from).collect()
    }

    /// What is left.
    pub fn finish(&mut self) -> Vec<Load> {
        self.close(|_| true)
    }
}

#[cfg(test)]
mod tests {
    use oncebus_core::config::Config;
    use oncebus_core::message::Properties;
    use proptest::prelude::*;

    use super::*;

    fn packer(limit: usize) -> Packer {
        let config = Config::parse("max_message_bytes = 1024\n[queues.q]").unwrap();
        Packer::new(limit, Sizes::of(&config, config.queue("q").unwrap()))
    }

    fn entry(key: Option<u8>, partition: Option<u8>, body: &str) -> Entry {
        let key = key.map(|key| key.to_string());
        let entry =
            Entry::new("i".into(), key.as_deref(), None, Bytes::copy_from_slice(body.as_bytes()), Properties::new());
        match partition {
            Some(partition) => entry.with_partition_key(partition.to_string()),
            None => entry,
        }
    }

    #[test]
    fn what_cannot_go_is_told_and_leaves_the_others() {
        let mut packer = packer(200);
        assert!(packer.add(0, entry(None, None, "a")).unwrap().is_empty());
        assert!(packer.add(1, entry(None, None, &"x".repeat(1_024))).is_err());
        let reserved = Entry::new("i".into(), None, None, Bytes::new(), Properties::from_iter([("host", "x")]));
        assert_eq!(packer.add(2, reserved).unwrap_err().kind, Kind::Malformed);
        let ready = packer.add(3, entry(None, None, &"x".repeat(300))).unwrap();
        assert!(matches!(ready.as_slice(), [Load { freight: Freight::Alone(_), .. }]));
        assert_eq!(packer.finish().into_iter().map(|load| load.items).collect::<Vec<_>>(), [[0]]);
    }

    proptest! {
        /// Whatever comes: every message goes once, a batch has one partition key and keeps within its limit, and messages of one
        /// lock key go in their order.
        #[test]
        fn every_message_goes_once_and_in_the_order_of_its_key(
            messages in prop::collection::vec((prop::option::of(0u8..3), prop::option::of(0u8..12), 0usize..150), 0..60),
            limit in 100usize..500,
        ) {
            let mut packer = packer(limit);
            let mut loads = Vec::new();
            for (index, (key, partition, size)) in messages.iter().enumerate() {
                loads.extend(packer.add(index, entry(*key, *partition, &"x".repeat(*size))).unwrap());
                prop_assert!(packer.open.len() <= MOST_OPEN);
            }
            loads.extend(packer.finish());
            for load in &loads {
                let partitions: BTreeSet<_> = load.items.iter().map(|index| messages[*index].1).collect();
                prop_assert_eq!(partitions.len(), 1);
                if let Freight::Batch(batch) = &load.freight {
                    prop_assert!(batch.size() <= limit && batch.len() == load.items.len());
                }
            }
            let order: Vec<usize> = loads.iter().flat_map(|load| load.items.clone()).collect();
            let all: BTreeSet<usize> = order.iter().copied().collect();
            prop_assert_eq!((all.len(), order.len()), (messages.len(), messages.len()));
            for key in 0..3 {
                let of_key: Vec<usize> = order.iter().copied().filter(|index| messages[*index].0 == Some(key)).collect();
                prop_assert!(of_key.is_sorted(), "{:?}", of_key);
            }
        }
    }
}
