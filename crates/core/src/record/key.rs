//! The lock of a key: what makes the messages of one sender take turns.
//!
//! One blob for each lock key and group of queues, `keys/{3 hex}/{group}/{hash}` ([`crate::id::key_name`]). It is a record like a
//! message's, with two states: `p` held, `r` free. The same rules hold: every change is one conditional write, no client clock
//! decides, an ambiguous write is looked at.
//!
//! | | from → to | method |
//! |---|---|---|
//! | K1 | absent → `p`, epoch 1 | [`Record::first_key`] |
//! | K5 | `p` expired, or `r` → `p`, epoch + 1 | [`Record::take_key`] |
//! | K6 | `p` → `p`: renewed, or another message's turn | [`Record::keep_key`] |
//! | K8 | `p` → `r` | [`Record::let_go_key`] |
//!
//! # The block
//!
//! Where a message that fails must hold back those behind it (`on_key_failure = "hold"`), the lock names the record of the message
//! whose turn it is (`blk`), from before it is begun until it is done or parked. So a lock that was let go after a failure, and one whose
//! holder died, both say who goes first. The block heals itself: whoever meets it looks at the record that it names
//! ([`examine_block`]), and a record that is final, or gone, blocks nobody. Nor does one that nothing has been written to for longer than its
//! message can be on its way: that one has expired in the queue, or lies on the broker's dead-letter queue, or somebody has purged it.

use std::time::Duration;

use super::{Author, Record, Seen, State};
use crate::time::UnixTime;

/// A key has no payload.
const NO_PAYLOAD: &str = "-";

impl Record {
    /// K1: the first claim of a key. `turn` is the record of the message that goes first, where others must wait for it.
    #[must_use]
    pub fn first_key(key: &str, ttl: Duration, turn: Option<String>, author: Author) -> Self {
        Self { blocked_by: turn, ..Self::first(key, NO_PAYLOAD, ttl, author) }
    }

    /// K5: the next claim of a key.
    #[must_use]
    pub fn take_key(&self, ttl: Duration, turn: Option<String>, author: Author) -> Self {
        let epoch = self.epoch.saturating_add(1);
        Self { state: State::Processing, epoch, ttl, blocked_by: turn, ..self.by(author) }
    }

    /// K6: the claim of a key is renewed, by the write alone.
    #[must_use]
    pub fn keep_key(&self, turn: Option<String>, author: Author) -> Self {
        Self { blocked_by: turn, ..self.by(author) }
    }

    /// K8: the key is free, but for a message that must end before others are begun.
    #[must_use]
    pub fn let_go_key(&self, blocked_by: Option<String>, author: Author) -> Self {
        Self { state: State::Released, blocked_by, ..self.by(author) }
    }
}

/// What a look at a key's lock found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFinding {
    /// Nobody holds it. `blocked_by` may still name the message that goes first.
    Free,
    /// Somebody holds it, until then by the storage server's clock.
    Held {
        /// When the claim expires, if it is not renewed.
        until: UnixTime,
        /// How long that is from now, margin included.
        remaining: Duration,
    },
}

/// Decides whether a key can be taken.
#[must_use]
pub fn examine_key(seen: &Seen, margin: Duration) -> KeyFinding {
    let holds = seen.record.ttl.saturating_add(margin);
    if seen.record.state == State::Processing && seen.age() <= holds {
        KeyFinding::Held { until: seen.claimed_until(), remaining: holds.saturating_sub(seen.age()) }
    } else {
        KeyFinding::Free
    }
}

/// How long the message with this record still holds back the others of its key, at the least; `None` when it does so no more. From when it
/// is due it does so for `limit`: whatever comes of it is written to its record.
#[must_use]
pub fn examine_block(seen: &Seen, margin: Duration, limit: Duration) -> Option<Duration> {
    let record = &seen.record;
    let wait = match record.state {
        State::Done | State::Parked => return None,
        State::Released => record.not_before.unwrap_or_default(),
        State::Processing => record.ttl.saturating_add(margin),
    };
    (seen.age() <= wait.saturating_add(limit)).then(|| wait.saturating_sub(seen.age()))
}

#[cfg(test)]
mod tests {
    use super::super::{ETag, Release};
    use super::*;
    use crate::id::Mark;

    const TTL: Duration = Duration::from_secs(45);
    const MARGIN: Duration = Duration::from_secs(5);
    const LIMIT: Duration = Duration::from_secs(3_600);

    fn author() -> Author {
        Author { owner: "run".into(), mark: Mark::parse("mark") }
    }

    fn seen(record: Record, age: u64) -> Seen {
        let etag = ETag::parse("\"1\"").unwrap();
        Seen { record, etag, last_modified: UnixTime(1_000), date: UnixTime(1_000 + age) }
    }

    #[test]
    fn a_key_is_taken_when_it_is_free_or_expired_and_its_epoch_only_rises() {
        let held = Record::first_key("sender", TTL, Some("a".into()), author());
        let remaining = Duration::from_secs(50);
        assert_eq!(examine_key(&seen(held.clone(), 0), MARGIN), KeyFinding::Held { until: UnixTime(1_045), remaining });
        assert_eq!(examine_key(&seen(held.clone(), 51), MARGIN), KeyFinding::Free);
        let free = held.let_go_key(None, author());
        assert_eq!(examine_key(&seen(free.clone(), 0), MARGIN), KeyFinding::Free);
        assert_eq!((free.epoch, free.blocked_by.as_deref()), (1, None));
        let again = free.take_key(TTL, Some("b".into()), author()).keep_key(Some("c".into()), author());
        assert_eq!((again.epoch, again.state, again.blocked_by.as_deref()), (2, State::Processing, Some("c")));
    }

    #[test]
    fn a_message_blocks_until_it_is_done_or_parked() {
        let claimed = Record::first("id", "hash", TTL, author());
        let failure = Release::Failure { reason: "x".into(), not_before: Duration::from_secs(20) };
        let wait = |record: Record, age| examine_block(&seen(record, age), MARGIN, LIMIT).map(|wait| wait.as_secs());
        assert_eq!(wait(claimed.clone(), 10), Some(40));
        assert_eq!(wait(claimed.release(failure, Duration::ZERO, author()), 5), Some(15));
        assert_eq!(wait(claimed.release(Release::Deadline, Duration::ZERO, author()), 5), Some(0));
        assert_eq!(wait(claimed.finish(None, Duration::ZERO, author()), 0), None);
        assert_eq!(wait(claimed.park("bad".into(), author()), 0), None);
    }

    #[test]
    fn a_message_of_which_nothing_comes_blocks_no_longer_than_the_limit() {
        let claimed = Record::first("id", "hash", TTL, author());
        let failure = Release::Failure { reason: "x".into(), not_before: Duration::from_secs(20) };
        let failed = claimed.release(failure, Duration::ZERO, author());
        let blocks = |record: &Record, age| examine_block(&seen(record.clone(), age), MARGIN, LIMIT).is_some();
        assert_eq!((blocks(&failed, 20 + 3_600), blocks(&failed, 20 + 3_601)), (true, false));
        assert_eq!((blocks(&claimed, 50 + 3_600), blocks(&claimed, 50 + 3_601)), (true, false));
    }
}
