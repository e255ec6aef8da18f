//! T2, the look: what a delivery finds, and what it does about it.
//!
//! | found | finding |
//! |---|---|
//! | another payload hash, in any state | [`Finding::PayloadMismatch`]: copied to the poison queue, record untouched |
//! | `p`, not expired | [`Finding::Busy`] |
//! | `p` expired; `r`, due | [`Finding::TakeOver`] |
//! | `r`, not due | [`Finding::NotDue`], unless the broker kept the time: the copy made for this epoch |
//! | `d` | [`Finding::Done`]: a duplicate, completed |
//! | `x`, poison copy made | [`Finding::Parked`], completed |
//! | `x`, poison copy not made | [`Finding::ParkedWithoutCopy`]: the first one may have died in between |

use std::time::Duration;

use super::{Seen, State};
use crate::time::UnixTime;

/// What the decision needs to know of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// The digest of what was delivered.
    pub payload: &'a str,
    /// The epoch of the record for which this copy was made (`oncebus-ep`); `None` where it is not a copy of ours.
    pub copy_of_epoch: Option<u64>,
}

/// What a delivery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The same id with another payload.
    PayloadMismatch,
    /// Somebody holds an active lock, until then by the storage server's clock.
    Busy {
        /// When the claim expires, if it is not renewed.
        until: UnixTime,
        /// How long that is from now, margin included.
        remaining: Duration,
    },
    /// Free to be claimed.
    TakeOver {
        /// Whether the last holder died: its claim expired.
        died: bool,
    },
    /// Given back, and not due yet.
    NotDue {
        /// How long it still takes.
        wait: Duration,
    },
    /// Finished before.
    Done,
    /// Given up before, and copied to the poison queue.
    Parked,
    /// Given up before, and the copy is missing.
    ParkedWithoutCopy,
}

/// Decides what a delivery found. `margin` is added to the ttl of a claim before it counts as expired.
#[must_use]
pub fn examine(seen: &Seen, arrival: &Arrival<'_>, margin: Duration) -> Finding {
    let record = &seen.record;
    if record.payload != arrival.payload {
        return Finding::PayloadMismatch;
    }
    match record.state {
        State::Done => Finding::Done,
        State::Parked if record.copied => Finding::Parked,
        State::Parked => Finding::ParkedWithoutCopy,
        State::Processing => {
            let holds = record.ttl.saturating_add(margin);
            if seen.age() > holds {
                Finding::TakeOver { died: true }
            } else {
                Finding::Busy { until: seen.claimed_until(), remaining: holds.saturating_sub(seen.age()) }
            }
        }
        State::Released => {
            let wait = record.not_before.unwrap_or_default().saturating_sub(seen.age());
            if wait.is_zero() || arrival.copy_of_epoch == Some(record.epoch) {
                Finding::TakeOver { died: false }
            } else {
                Finding::NotDue { wait }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Author, ETag, Record, Release};
    use super::*;
    use crate::id::Mark;

    const MARGIN: Duration = Duration::from_secs(5);

    fn author() -> Author {
        Author { owner: "run".into(), mark: Mark::parse("mark") }
    }

    fn claimed() -> Record {
        Record::first("id", "hash", Duration::from_secs(45), author())
    }

    fn seen(record: Record, age: u64) -> Seen {
        let etag = ETag::parse("\"1\"").unwrap();
        Seen { record, etag, last_modified: UnixTime(1_000), date: UnixTime(1_000 + age) }
    }

    fn found(record: Record, age: u64, copy_of_epoch: Option<u64>) -> Finding {
        examine(&seen(record, age), &Arrival { payload: "hash", copy_of_epoch }, MARGIN)
    }

    #[test]
    fn the_whole_table() {
        let failed = Release::Failure { reason: "x".into(), not_before: Duration::from_secs(20) };
        let waiting = claimed().release(failed, Duration::ZERO, author());
        let yielded = claimed().release(Release::Deadline, Duration::ZERO, author());
        let done = claimed().finish(None, Duration::ZERO, author());
        let parked = claimed().park("bad".into(), author());
        let busy = |remaining| Finding::Busy { until: UnixTime(1_045), remaining: Duration::from_secs(remaining) };

        assert_eq!(found(claimed(), 0, None), busy(50));
        assert_eq!(found(claimed(), 50, None), busy(0), "ttl + margin exactly is not yet expired");
        assert_eq!(found(claimed(), 51, None), Finding::TakeOver { died: true });
        assert_eq!(found(waiting.clone(), 5, None), Finding::NotDue { wait: Duration::from_secs(15) });
        assert_eq!(found(waiting.clone(), 5, Some(1)), Finding::TakeOver { died: false }, "the broker kept the time");
        assert_eq!(found(waiting.clone(), 5, Some(7)), Finding::NotDue { wait: Duration::from_secs(15) });
        assert_eq!(found(waiting, 20, None), Finding::TakeOver { died: false });
        assert_eq!(found(yielded, 0, None), Finding::TakeOver { died: false });
        assert_eq!(found(done, 0, None), Finding::Done);
        assert_eq!(found(parked.clone(), 0, None), Finding::ParkedWithoutCopy);
        assert_eq!(found(parked.copied(author()), 0, None), Finding::Parked);
    }

    #[test]
    fn another_payload_is_a_mismatch_in_every_state() {
        for record in
            [claimed(), claimed().finish(None, Duration::ZERO, author()), claimed().park("x".into(), author())]
        {
            let arrival = Arrival { payload: "other", copy_of_epoch: None };
            assert_eq!(examine(&seen(record, 99), &arrival, MARGIN), Finding::PayloadMismatch);
        }
    }

    #[test]
    fn a_storage_clock_that_steps_back_keeps_the_claim() {
        let mut seen = seen(claimed(), 0);
        seen.date = UnixTime(900);
        let arrival = Arrival { payload: "hash", copy_of_epoch: None };
        assert!(matches!(examine(&seen, &arrival, MARGIN), Finding::Busy { .. }));
    }
}
