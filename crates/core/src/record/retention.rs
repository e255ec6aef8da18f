//! How long records are kept, and what a sweep may delete.
//!
//! A record that is deleted is forgotten: the next delivery of its message starts again at epoch 1 and is processed. So a record may
//! go when no delivery of its message can come any more: it is `d`, or `x` with its poison copy made, and older than the sum
//! of everything that may bring one back ([`Retention`]). Nothing else ever goes, however old: `r` and `p` have work before them.
//!
//! A **checkpoint** in a blob of its own ([`blobs_of`](super::checkpoint::blobs_of)) goes with its record, after it; or alone, when it is
//! as old, and a day at least, and no record names it: there is none, or it names a later one. A **body** in a blob ([`claim`](crate::claim)) goes with its record, or alone when
//! it is as old and has none: its message was never sent, or never came. A **lock key** (`keys/…`) may go when it is free and as old; but then its epoch begins again at 1, which a store that
//! remembers the epochs of keys would take for a sleeper, so it goes only on demand. The record of an **idempotency key** (`door/…`) goes when it is
//! [`KEPT`] old, whatever its state: what is sent under the key after that is another message to the door. Whatever else is in the container stays.
//!
//! [`Sweep`] judges a listing, blob by blob in the order of the names, in which bodies and checkpoints follow their record.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Checkpoint, Record, State};
use crate::claim;
use crate::ingest::door::KEPT;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A checkpoint that no record names stays for so long, whatever else is asked for: it is stored before the write that names it. Decided: far
/// more than any two requests of one attempt can lie apart.
const MAY_BE_NAMED: Duration = DAY;

/// The longest delay that a processor may ask for before a retry.
pub const LONGEST_RETRY: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What may bring a message back after its record was written last. Records are kept for at least the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long a message lives in its queue. `oncebus doctor` makes queues with 3 days.
    pub message_ttl: Duration,
    /// The longest delay before a retry.
    pub longest_delay: Duration,
    /// How long a letter lives on the poison queue, from where it may be redriven. `oncebus doctor` makes it with 3 days.
    pub poison_retention: Duration,
    /// How long a sender may repeat a message under its id.
    pub sender_retries: Duration,
}

impl Default for Retention {
    /// 14 days in all.
    fn default() -> Self {
        Self { message_ttl: DAY * 3, longest_delay: LONGEST_RETRY, poison_retention: DAY * 3, sender_retries: DAY }
    }
}

impl Retention {
    /// The least time that records must be kept.
    #[must_use]
    pub fn minimum(&self) -> Duration {
        let parts = [self.message_ttl, self.longest_delay, self.poison_retention, self.sender_retries];
        parts.into_iter().fold(Duration::ZERO, Duration::saturating_add)
    }
}

impl fmt::Display for Retention {
    /// The sum with its parts: `message TTL 3 d + … = 14 d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ttl, delay, poison, sender] =
            [self.message_ttl, self.longest_delay, self.poison_retention, self.sender_retries].map(in_words);
        write!(
            f,
            "message TTL {ttl} + longest delay {delay} + poison retention {poison} + senders' retries {sender} = {}",
            in_words(self.minimum())
        )
    }
}

/// The largest unit that divides a duration: `14 d`, `36 h`, `90 s`.
#[must_use]
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match [(86_400, "d"), (3_600, "h"), (60, "min")]
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} s"),
    }
}

/// What a blob is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// The record of a message.
    Record {
        /// The group of queues.
        group: &'a str,
    },
    /// A checkpoint that was too large for its record.
    Checkpoint {
        /// The record's name.
        record: &'a str,
        /// The group of queues.
        group: &'a str,
    },
    /// A body that was too large for the broker.
    Body {
        /// The record's name.
        record: &'a str,
        /// The group of queues.
        group: &'a str,
    },
    /// The lock of a key.
    Key {
        /// The group of queues.
        group: &'a str,
    },
    /// The record of an idempotency key.
    Door {
        /// The group of queues.
        group: &'a str,
    },
    /// Something else.
    Other,
}

impl<'a> Named<'a> {
    /// Reads a name.
    #[must_use]
    pub fn of(name: &'a str) -> Self {
        if let Some(group) = group_of(name) {
            return Self::Record { group };
        }
        if let Some(group) = name.strip_prefix("keys/").and_then(group_of) {
            return Self::Key { group };
        }
        if let Some(group) = name.strip_prefix("door/").and_then(group_of) {
            return Self::Door { group };
        }
        let behind = |infix: &str| {
            let (record, _) = name.rsplit_once(infix)?;
            Some((record, group_of(record)?))
        };
        if let Some((record, group)) = behind(".cp/") {
            return Self::Checkpoint { record, group };
        }
        match behind(claim::INFIX) {
            Some((record, group)) => Self::Body { record, group },
            None => Self::Other,
        }
    }

    /// The group of queues, of all that belong to one.
    #[must_use]
    pub const fn group(&self) -> Option<&'a str> {
        match self {
            Self::Record { group } | Self::Key { group } | Self::Door { group } => Some(*group),
            Self::Checkpoint { group, .. } | Self::Body { group, .. } => Some(*group),
            Self::Other => None,
        }
    }

    /// The record that a blob belongs to, of one that is none itself.
    #[must_use]
    pub const fn record(&self) -> Option<&'a str> {
        match self {
            Self::Checkpoint { record, .. } | Self::Body { record, .. } => Some(*record),
            Self::Record { .. } | Self::Key { .. } | Self::Door { .. } | Self::Other => None,
        }
    }
}

/// `{first 3 hex digits of h}/{group}/{h}`
fn group_of(name: &str) -> Option<&str> {
    let (prefix, rest) = name.split_once('/')?;
    let (group, hash) = rest.rsplit_once('/')?;
    let hex = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (hex && hash.get(..3) == Some(prefix) && !group.is_empty() && !group.contains('/')).then_some(group)
}

/// What a sweep is to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Blobs that were written last so long ago, and not a second less.
    pub older_than: Duration,
    /// Whether the locks of keys go, too.
    pub keys: bool,
}

/// What becomes of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Stays(Stays),
    /// It goes, if it is as it was listed.
    Goes(Goes),
}

/// Why a blob stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// Written last too short a time ago.
    Young,
    /// A record with work before it, or a key that is held; its checkpoints and bodies.
    Live,
    /// The lock of a key, and those are not swept.
    Key,
    /// No blob that is known, or one that cannot be read.
    Unknown,
}

/// What goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// A record.
    Record,
    /// A checkpoint or a body, after its record, and only if that went.
    WithRecord,
    /// A checkpoint that its record does not name any more.
    Superseded,
    /// A checkpoint or a body whose record was not listed: make sure first that there is none.
    Orphan,
    /// The lock of a key.
    Key,
    /// The record of an idempotency key.
    Door,
}

/// Judges the blobs of one listing.
#[derive(Debug)]
pub struct Sweep {
    policy: Policy,
    last: Option<Last>,
}

/// The last record that was judged.
#[derive(Debug)]
struct Last {
    name: String,
    verdict: Verdict,
    /// The blob that holds its checkpoint, where one does.
    checkpoint: Option<String>,
}

impl Sweep {
    /// Judges by this policy.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self { policy, last: None }
    }

    /// The next blob of the listing: its name, how long ago it was written by the storage server's clock, and its metadata.
    pub fn judge(&mut self, name: &str, age: Duration, metadata: &BTreeMap<String, String>) -> Verdict {
        let old = age >= self.policy.older_than;
        match Named::of(name) {
            Named::Record { .. } => {
                let record = Record::from_metadata(metadata);
                let verdict = match &record {
                    Err(_) => Verdict::Stays(Stays::Unknown),
                    Ok(record) if !record.is_over() => Verdict::Stays(Stays::Live),
                    Ok(_) if !old => Verdict::Stays(Stays::Young),
                    Ok(_) => Verdict::Goes(Goes::Record),
                };
                let checkpoint = match record.ok().and_then(|record| record.checkpoint) {
                    Some(Checkpoint::Blob(blob)) => Some(blob.name(name)),
                    Some(Checkpoint::Inline(_)) | None => None,
                };
                self.last = Some(Last { name: name.to_owned(), verdict, checkpoint });
                verdict
            }
            Named::Checkpoint { record, .. } => match self.last.as_ref().filter(|last| last.name == record) {
                Some(Last { verdict: Verdict::Goes(_), .. }) => Verdict::Goes(Goes::WithRecord),
                Some(Last { verdict: Verdict::Stays(Stays::Unknown), .. }) => Verdict::Stays(Stays::Unknown),
                Some(Last { checkpoint, .. }) if checkpoint.as_deref() == Some(name) => Verdict::Stays(Stays::Live),
                _ if !old || age < MAY_BE_NAMED => Verdict::Stays(Stays::Young),
                Some(_) => Verdict::Goes(Goes::Superseded),
                None => Verdict::Goes(Goes::Orphan),
            },
            // Sooner only where records go sooner, too.
            Named::Door { .. } if age >= self.policy.older_than.min(KEPT) => Verdict::Goes(Goes::Door),
            Named::Door { .. } => Verdict::Stays(Stays::Young),
            Named::Body { record, .. } => match self.last.as_ref().filter(|last| last.name == record) {
                Some(Last { verdict: Verdict::Goes(_), .. }) => Verdict::Goes(Goes::WithRecord),
                // A record that stays may still need it: the message may be on its poison queue.
                Some(Last { verdict, .. }) => *verdict,
                None if !old => Verdict::Stays(Stays::Young),
                None => Verdict::Goes(Goes::Orphan),
            },
            Named::Key { .. } if !self.policy.keys => Verdict::Stays(Stays::Key),
            Named::Key { .. } => match Record::from_metadata(metadata).map(|lock| lock.state) {
                Ok(State::Released) if old => Verdict::Goes(Goes::Key),
                Ok(State::Released) => Verdict::Stays(Stays::Young),
                Ok(_) => Verdict::Stays(Stays::Live),
                Err(_) => Verdict::Stays(Stays::Unknown),
            },
            Named::Other => Verdict::Stays(Stays::Unknown),
        }
    }
}

impl Record {
    /// Whether nothing more is to be done: `d`, or `x` with its poison copy made.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match self.state {
            State::Done => true,
            State::Parked => self.copied,
            State::Processing | State::Released => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Author, CheckpointBlob, Release};
    use super::*;
    use crate::id::{Mark, record_name};

    fn metadata(record: &Record) -> BTreeMap<String, String> {
        record.to_metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn author() -> Author {
        Author { owner: "o".into(), mark: Mark::parse("m") }
    }

    fn claimed() -> Record {
        Record::first("id", "hash", Duration::from_secs(45), author())
    }

    #[test]
    fn the_sum_is_said_with_its_parts() {
        assert_eq!(
            Retention::default().to_string(),
            "message TTL 3 d + longest delay 7 d + poison retention 3 d + senders' retries 1 d = 14 d"
        );
        let words = [0, 90, 120, 7_200, 90_000].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(words, ["0 s", "90 s", "2 min", "2 h", "25 h"]);
    }

    #[test]
    fn a_name_says_what_a_blob_is() {
        let record = record_name("a.cp", "id");
        assert_eq!(Named::of(&record), Named::Record { group: "a.cp" });
        let checkpoint = format!("{record}.cp/3-mark");
        assert_eq!(Named::of(&checkpoint), Named::Checkpoint { record: &record, group: "a.cp" });
        assert_eq!(Named::of(&format!("keys/{record}")), Named::Key { group: "a.cp" });
        let wrong_prefix = format!("fff{}", record.get(3..).unwrap());
        for other in ["doctor/probe", "probe", "abc/orders/abc", "keys/x", "x.cp/1", "", &wrong_prefix] {
            assert_eq!(Named::of(other), Named::Other, "{other}");
        }
    }

    #[test]
    fn only_what_is_over_and_old_goes() {
        let done = claimed().finish(None, Duration::ZERO, author());
        let parked = claimed().park("bad".into(), author());
        let released = claimed().release(Release::Deadline, Duration::ZERO, author());
        let name = record_name("q", "id");
        let judge = |record: &Record, age: u64| {
            let policy = Policy { older_than: Duration::from_secs(100), keys: false };
            Sweep::new(policy).judge(&name, Duration::from_secs(age), &metadata(record))
        };
        assert_eq!(judge(&done, 100), Verdict::Goes(Goes::Record));
        assert_eq!(judge(&done, 99), Verdict::Stays(Stays::Young));
        assert_eq!(judge(&parked.copied(author()), 100), Verdict::Goes(Goes::Record));
        for live in [claimed(), released, parked] {
            assert_eq!(judge(&live, u64::MAX), Verdict::Stays(Stays::Live), "{:?}", live.state);
        }
    }

    #[test]
    fn a_body_goes_with_its_record_or_as_old_without_one() {
        let (name, none) = (record_name("q", "id"), BTreeMap::new());
        let body = claim::Claim::new("q", "id", b"body").blob;
        assert_eq!(Named::of(&body), Named::Body { record: &name, group: "q" });
        assert!(body > name && body < format!("{name}.cp/"), "it is listed behind its record");
        let policy = Policy { older_than: Duration::from_secs(100), keys: false };
        let done = claimed().finish(None, Duration::ZERO, author());
        for (record, age, expected) in [
            (Some(&done), 100, Verdict::Goes(Goes::WithRecord)),
            (Some(&done), 99, Verdict::Stays(Stays::Young)),
            (Some(&claimed()), 1_000, Verdict::Stays(Stays::Live)),
            (None, 100, Verdict::Goes(Goes::Orphan)),
            (None, 99, Verdict::Stays(Stays::Young)),
        ] {
            let mut sweep = Sweep::new(policy);
            if let Some(record) = record {
                sweep.judge(&name, Duration::from_secs(age), &metadata(record));
            }
            assert_eq!(sweep.judge(&body, Duration::from_secs(age), &none), expected);
        }
    }

    #[test]
    fn a_checkpoint_goes_after_its_record_or_alone_when_none_names_it() {
        let (name, none) = (record_name("q", "id"), BTreeMap::new());
        let checkpoint = format!("{name}.cp/1-m");
        let day = Duration::from_secs(86_400);
        let mut sweep = Sweep::new(Policy { older_than: day, keys: false });
        assert_eq!(sweep.judge(&checkpoint, day / 2, &none), Verdict::Stays(Stays::Young));
        assert_eq!(sweep.judge(&checkpoint, day, &none), Verdict::Goes(Goes::Orphan));
        let blob = Checkpoint::Blob(Box::new(CheckpointBlob { suffix: "2-m".into(), digest: "d".into() }));
        sweep.judge(&name, day, &metadata(&claimed().checkpoint(blob, Duration::ZERO, author())));
        assert_eq!(sweep.judge(&format!("{name}.cp/2-m"), day * 9, &none), Verdict::Stays(Stays::Live));
        assert_eq!(sweep.judge(&checkpoint, day, &none), Verdict::Goes(Goes::Superseded));
        assert_eq!(sweep.judge(&checkpoint, day / 2, &none), Verdict::Stays(Stays::Young), "or about to be named");
        sweep.judge(&name, day, &BTreeMap::from([("v".to_owned(), "2".to_owned())]));
        assert_eq!(sweep.judge(&checkpoint, day * 9, &none), Verdict::Stays(Stays::Unknown), "of a later version");
        sweep.judge(&name, day, &metadata(&claimed().finish(None, Duration::ZERO, author())));
        assert_eq!(sweep.judge(&checkpoint, day, &none), Verdict::Goes(Goes::WithRecord));
        let others = format!("{}.cp/1-m", record_name("q", "another"));
        assert_eq!(sweep.judge(&others, day, &none), Verdict::Goes(Goes::Orphan));
    }

    #[test]
    fn an_idempotency_key_goes_after_a_week_whatever_its_state() {
        let name = crate::id::door_name("q", Some("shop"), "key");
        assert_eq!(Named::of(&name), Named::Door { group: "q" });
        let day = Duration::from_secs(86_400);
        for (older_than, age, goes) in [(14, 7, true), (14, 6, false), (1, 1, true), (1, 0, false)] {
            let verdict = if goes { Verdict::Goes(Goes::Door) } else { Verdict::Stays(Stays::Young) };
            for state in ["s", "f", "t"] {
                let metadata = BTreeMap::from([("st".to_owned(), state.to_owned())]);
                let mut sweep = Sweep::new(Policy { older_than: day * older_than, keys: false });
                assert_eq!(sweep.judge(&name, day * age, &metadata), verdict, "{older_than} {age}");
            }
        }
    }

    #[test]
    fn a_key_goes_on_demand_when_it_is_free() {
        let name = format!("keys/{}", record_name("q", "sender"));
        let day = Duration::from_secs(86_400);
        let held = Record::first_key("sender", Duration::from_secs(45), None, author());
        let (free, held) = (metadata(&held.let_go_key(None, author())), metadata(&held));
        let judge = |keys, age, lock: &_| Sweep::new(Policy { older_than: day, keys }).judge(&name, age, lock);
        assert_eq!(judge(false, day, &free), Verdict::Stays(Stays::Key));
        assert_eq!(judge(true, day, &free), Verdict::Goes(Goes::Key));
        assert_eq!(judge(true, day / 2, &free), Verdict::Stays(Stays::Young));
        assert_eq!(judge(true, day * 99, &held), Verdict::Stays(Stays::Live));
        let mut later = free;
        later.insert("v".to_owned(), "2".to_owned());
        for unknown in [&later, &BTreeMap::new(), &BTreeMap::from([("st".to_owned(), "r".to_owned())])] {
            assert_eq!(judge(true, day * 99, unknown), Verdict::Stays(Stays::Unknown), "{unknown:?}");
        }
    }

    #[test]
    fn a_checkpoint_that_may_be_about_to_be_named_stays_however_soon_records_are_swept() {
        let (name, none, day) = (record_name("q", "id"), BTreeMap::new(), Duration::from_secs(86_400));
        let checkpoint = format!("{name}.cp/1-m");
        for record in [None, Some(claimed())] {
            let mut sweep = Sweep::new(Policy { older_than: Duration::ZERO, keys: false });
            let goes = match &record {
                None => Goes::Orphan,
                Some(record) => {
                    sweep.judge(&name, Duration::ZERO, &metadata(record));
                    Goes::Superseded
                }
            };
            assert_eq!(sweep.judge(&checkpoint, day - Duration::from_secs(1), &none), Verdict::Stays(Stays::Young));
            assert_eq!(sweep.judge(&checkpoint, day, &none), Verdict::Goes(goes));
        }
    }
}
