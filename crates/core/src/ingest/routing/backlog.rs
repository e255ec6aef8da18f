//! The backlog of queues, as the pump writes it down and ingest reads it.
//!
//! # Where and what
//!
//! One small blob in the container of the records, [`BLOB`], `application/json`:
//!
//! ```json
//! {"v": 1, "queues": {"orders-1": {"at": 1795174201, "messages": 12, "oldest_seconds": 3},
//!                     "orders-2": {"at": 1795174201, "messages": 0, "oldest_seconds": 0}}}
//! ```
//!
//! * `at`: when this was seen, in seconds since 1970, **by the storage server's clock** (the `Date` of its answers). Readers compare
//!   it with the `Date` of the answer that they read it from, so nobody's own clock counts.
//! * `messages`: active messages, locked ones among them, as the broker's management plane counts them. Absent without the right to ask.
//! * `oldest_seconds`: how long the oldest message of the last run had waited; 0 when the run found the queue empty at its end. Absent
//!   where no run has ended.
//!
//! Members that are not known are passed over; another `v` is not read.
//!
//! # Who writes
//!
//! Any number of pumps, each what it sees of its own queues: it reads the blob, puts its queues over what is there, drops what is old, and
//! writes under `If-Match` (or `If-None-Match: *`). Whoever loses reads again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// The blob's name. Names of records begin with hex digits, those of lock keys with `keys/`.
pub const BLOB: &str = "backlog/v1.json";

/// No more is read: some hundred queues come to a tenth of it.
const MAX_BYTES: usize = 256 * 1024;

const VERSION: u32 = 1;

/// What is known of queues, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    queues: BTreeMap<String, Observation>,
}

/// What was seen of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// When, by the storage server's clock, in seconds since 1970.
    pub at: u64,
    /// Active messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// How long the oldest had waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<u64>,
}

/// Why a blob is no backlog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacklogError {
    /// It is larger than any that is written.
    #[error("it has {0} bytes")]
    TooLarge(usize),
    /// It is not what is written.
    #[error("it is no backlog: {0}")]
    Malformed(String),
    /// A later version.
    #[error("its version is {0}, not {VERSION}")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
struct Document {
    v: u32,
    #[serde(default)]
    queues: BTreeMap<String, Observation>,
}

impl Backlog {
    /// Reads the blob's content.
    ///
    /// # Errors
    /// It is none of this version.
    pub fn parse(content: &[u8]) -> Result<Self, BacklogError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        if content.len() > MAX_BYTES {
            return Err(BacklogError::TooLarge(content.len()));
        }
        let malformed = |error: serde_json::Error| BacklogError::Malformed(error.to_string());
        let Version { v } = serde_json::from_slice(content).map_err(malformed)?;
        if v != VERSION {
            return Err(BacklogError::Version(v));
        }
        let Document { queues, .. } = serde_json::from_slice(content).map_err(malformed)?;
        Ok(Self { queues })
    }

    /// The blob's content.
    ///
    /// # Errors
    /// None that can happen: names and numbers are JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Document { v: VERSION, queues: self.queues.clone() })
    }

    /// Takes in what was seen of a queue, in place of what was known.
    pub fn see(&mut self, queue: impl Into<String>, seen: Observation) {
        self.queues.insert(queue.into(), seen);
    }

    /// What is known of a queue, if it is no older than that. What lies ahead of `now` was seen by a server whose clock
    /// runs ahead of its neighbour's, and counts as new, as far as it lies within the same bound.
    #[must_use]
    pub fn young(&self, queue: &str, now: UnixTime, max_age: Duration) -> Option<&Observation> {
        self.queues.get(queue).filter(|seen| is_young(seen, now, max_age))
    }

    /// Puts this over `there`, which another may have written, and leaves out what is old.
    #[must_use]
    pub fn over(&self, there: Self, now: UnixTime, max_age: Duration) -> Self {
        let mut queues = there.queues;
        queues.extend(self.queues.clone());
        queues.retain(|_, seen| is_young(seen, now, max_age));
        Self { queues }
    }

    /// Whether it says the same of every queue, whenever that was seen.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let what = |seen: &Observation| (seen.messages, seen.oldest_seconds);
        self.queues.len() == other.queues.len()
            && self.queues.iter().zip(&other.queues).all(|((a, x), (b, y))| a == b && what(x) == what(y))
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Observation)> {
        self.queues.iter().map(|(queue, seen)| (queue.as_str(), seen))
    }
}

fn is_young(seen: &Observation, now: UnixTime, max_age: Duration) -> bool {
    let at = UnixTime(seen.at);
    now.since(at).max(at.since(now)) <= max_age
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn seen(at: u64, messages: u64) -> Observation {
        Observation { at, messages: Some(messages), oldest_seconds: None }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut backlog = Backlog::default();
        backlog.see("a", Observation { at: 7, messages: Some(3), oldest_seconds: Some(2) });
        backlog.see("b", Observation { at: 8, messages: None, oldest_seconds: None });
        let bytes = backlog.to_bytes().unwrap();
        let text = r#"{"v":1,"queues":{"a":{"at":7,"messages":3,"oldest_seconds":2},"b":{"at":8}}}"#;
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        assert_eq!(Backlog::parse(&bytes), Ok(backlog));
    }

    #[test]
    fn another_version_and_what_is_no_backlog_are_told_apart() {
        assert_eq!(Backlog::parse(br#"{"v":2,"queues":[]}"#), Err(BacklogError::Version(2)));
        for wrong in ["", "{}", "[]", r#"{"v":1,"queues":{"a":{}}}"#, r#"{"v":1,"queues":{"a":{"at":-1}}}"#] {
            assert!(matches!(Backlog::parse(wrong.as_bytes()), Err(BacklogError::Malformed(_))), "{wrong}");
        }
        assert_eq!(Backlog::parse(&vec![b' '; 300_000]), Err(BacklogError::TooLarge(300_000)));
        let more = br#"{"v":1,"by":"x","queues":{"a":{"at":1,"bytes":5}}}"#;
        assert_eq!(Backlog::parse(more).unwrap().queues.len(), 1, "unknown members are passed over");
    }

    #[test]
    fn what_is_old_is_not_known() {
        let mut backlog = Backlog::default();
        backlog.see("a", seen(100, 1));
        for (now, known) in [(100, true), (160, true), (161, false), (40, true), (39, false)] {
            assert_eq!(backlog.young("a", UnixTime(now), MINUTE).is_some(), known, "{now}");
        }
        assert_eq!(backlog.young("b", UnixTime(100), MINUTE), None);
    }

    #[test]
    fn a_pump_keeps_what_another_wrote_of_its_own_queues_while_that_is_young() {
        let (mut ours, mut theirs) = (Backlog::default(), Backlog::default());
        ours.see("a", seen(100, 5));
        for (queue, at) in [("a", 90), ("b", 90), ("c", 10)] {
            theirs.see(queue, seen(at, 1));
        }
        let both = ours.over(theirs, UnixTime(100), MINUTE);
        assert_eq!(both.iter().collect::<Vec<_>>(), [("a", &seen(100, 5)), ("b", &seen(90, 1))]);
        let mut later = both.clone();
        later.see("a", seen(101, 5));
        assert!(later.says_the_same(&both));
        later.see("a", seen(101, 6));
        assert!(!later.says_the_same(&both));
    }
}
