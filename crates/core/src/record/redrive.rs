//! T10, the operator's way out of `x`; and the table of what to do with a dead letter.
//!
//! A **letter** is a message that lies on a poison queue, or on the broker's own dead-letter queue. What is to be done about it is
//! not for the letter to say but for the record of its message:
//!
//! | the record is | a letter on a poison queue, made for epoch `c` | a letter on the broker's dead-letter queue |
//! |---|---|---|
//! | absent, the letter younger than records are kept | send | send |
//! | absent, the letter older | leave: whether it was done is forgotten | the same |
//! | `d` | settle: done | settle: done |
//! | `x` with `pc`, epoch > `c` | settle: a later copy is on the poison queue | (as below) |
//! | `x` with `pc`, else | **T10**, send | settle: its copy is on the poison queue, and that one is redriven |
//! | `x` without `pc` | **T10**, send | **T10**, send: the copy may never have been made |
//! | `r`, or `p` expired | send | send |
//! | the same, the payload edited | **T10**, send | **T10**, send |
//! | `p`, not expired | leave: somebody is working on it | leave |
//!
//! *Settle* is to complete the letter and no more; *send* is to send a copy back and to complete the letter after its 201.
//! `r` and an expired `p` need no T10: any delivery may take them over, and if another delivery is on its way already, the record
//! tells the second one what to do. This is also what makes redriving safe to kill: whatever was done before, the letter is
//! the last to go, and a second look finds one of these rows.
//!
//! **Another payload.** A letter whose payload is not that of the record would be turned away again, and settling it would throw
//! away what nobody has looked at. So it is left, unless its epoch is older than the record's: then an operator has edited the
//! message since, and what became of the edited one counts (`d` and `x` settle the letter, else it is left). A letter with the reason
//! `payload-mismatch` is left in any case, however old the record and wherever the broker has moved the letter; it can be sent under an id
//! of its own ([`own_id`]). It carries no epoch, so that not even one that has lost its reason is taken for an edited message's.

use std::time::Duration;

use super::{Author, Record, Seen, State};
use crate::id::{MAX_LOGICAL_ID, sha256_hex};
use crate::time::UnixTime;

impl Record {
    /// T10: `x` → `r`, due at once, with all attempts and all time before it again, for the payload that is sent; from `r` and an
    /// expired `p` as well, where the payload was edited. The checkpoint is kept, so that steps that are done stay done,
    /// unless it is to begin anew.
    #[must_use]
    pub fn redrive(&self, payload: &str, anew: bool, author: Author) -> Self {
        let reopened = Self {
            state: State::Released,
            epoch: self.epoch.saturating_add(1),
            failures: 0,
            deaths: 0,
            executed: Duration::ZERO,
            payload: payload.to_owned(),
            copied: false,
            ..self.by(author)
        };
        if anew { Self { step: 0, checkpoint: None, ..reopened } } else { reopened }
    }
}

/// Where a letter lies, and for which epoch it was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A poison queue: our copy, made for this epoch. `None` where the letter does not say.
    Poison(Option<u64>),
    /// The same, under the id of an earlier message with another payload.
    Mismatch,
    /// The broker's dead-letter queue: any delivery that nobody settled.
    Broker,
}

/// What the decision needs to know of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Letter {
    /// Where it lies.
    pub origin: Origin,
    /// The digest of what lies there.
    pub payload: String,
    /// The digest of what would be sent: another one where it was edited.
    pub sent: String,
    /// How long ago it was put on its queue, by the broker's clock. `None` where the broker does not say.
    pub age: Option<Duration>,
}

/// What to do about a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Complete it, and no more.
    Settle(Settled),
    /// T10 first, then send a copy, then complete it.
    Reopen,
    /// Send a copy, then complete it.
    Send,
    /// Leave it where it is.
    Leave(Left),
}

/// Why a letter has nothing more to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// The message is done.
    Done,
    /// It was redriven and parked again: the copy for that is another letter.
    ParkedAgain,
    /// Its copy is on the poison queue.
    Parked,
}

/// Why a letter is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Left {
    /// A claim holds.
    InProgress {
        /// Until when, by the storage server's clock.
        until: UnixTime,
    },
    /// The record is of another payload.
    OtherPayload,
    /// There is no record any more, so nobody knows whether the message was done.
    Forgotten,
}

/// Decides. `margin` is added to the ttl of a claim before it counts as expired; `kept` is for how long records are kept.
#[must_use]
pub fn decide(found: Option<&Seen>, letter: &Letter, margin: Duration, kept: Duration) -> Decision {
    if letter.origin == Origin::Mismatch {
        return Decision::Leave(Left::OtherPayload);
    }
    let Some(seen) = found else {
        let young = letter.age.is_some_and(|age| age < kept);
        return if young { Decision::Send } else { Decision::Leave(Left::Forgotten) };
    };
    let record = &seen.record;
    let same = letter.payload == record.payload;
    let older = matches!(letter.origin, Origin::Poison(Some(made_for)) if made_for < record.epoch);
    match record.state {
        State::Done if same || older => Decision::Settle(Settled::Done),
        State::Parked if record.copied && older => Decision::Settle(Settled::ParkedAgain),
        State::Parked if record.copied && same && letter.origin == Origin::Broker => Decision::Settle(Settled::Parked),
        State::Parked if same => Decision::Reopen,
        State::Done | State::Parked => Decision::Leave(Left::OtherPayload),
        State::Processing if seen.age() <= record.ttl.saturating_add(margin) => {
            Decision::Leave(Left::InProgress { until: seen.claimed_until() })
        }
        State::Processing | State::Released => {
            let edited = letter.sent != letter.payload;
            if letter.sent == record.payload {
                Decision::Send
            } else if edited && (same || older) {
                Decision::Reopen
            } else {
                Decision::Leave(Left::OtherPayload)
            }
        }
    }
}

/// The id under which a message goes on whose own id belongs to another payload: made of both, so that the same message gets
/// the same one again.
#[must_use]
pub fn own_id(id: &str, payload: &str) -> String {
    let own = format!("{id}~{}", payload.get(..16).unwrap_or(payload));
    if own.len() <= MAX_LOGICAL_ID { own } else { sha256_hex(own.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, ETag, Release};
    use super::*;
    use crate::id::{Mark, check_logical_id};

    const MARGIN: Duration = Duration::from_secs(5);
    const KEPT: Duration = Duration::from_secs(14 * 86_400);

    fn author() -> Author {
        Author { owner: "o".into(), mark: Mark::parse("m") }
    }

    /// A record of the third epoch, since some seconds in this state.
    fn seen(state: State, copied: bool, age: u64) -> Seen {
        let first = Record::first("id", "hash", Duration::from_secs(45), author());
        let record = Record { state, epoch: 3, copied, ..first };
        let etag = ETag::parse("\"1\"").unwrap();
        Seen { record, etag, last_modified: UnixTime(1_000), date: UnixTime(1_000 + age) }
    }

    fn letter(origin: Origin, payload: &str, sent: &str) -> Letter {
        Letter { origin, payload: payload.into(), sent: sent.into(), age: Some(Duration::from_secs(60)) }
    }

    #[test]
    fn the_whole_table() {
        use Decision::{Leave, Reopen, Send, Settle};
        use Left::{InProgress, OtherPayload};
        use State::{Done, Parked, Processing, Released};

        let working = Leave(InProgress { until: UnixTime(1_045) });
        let other = Leave(OtherPayload);
        // A poison copy for this epoch, one for an earlier epoch, one that does not say, and the broker's own; then the first two
        // with another payload, and the second and the last edited.
        let letters = [
            letter(Origin::Poison(Some(3)), "hash", "hash"),
            letter(Origin::Poison(Some(1)), "hash", "hash"),
            letter(Origin::Poison(None), "hash", "hash"),
            letter(Origin::Broker, "hash", "hash"),
            letter(Origin::Poison(Some(3)), "other", "other"),
            letter(Origin::Poison(Some(1)), "other", "other"),
            letter(Origin::Poison(Some(1)), "other", "edited"),
            letter(Origin::Broker, "hash", "edited"),
            // A mismatch that has lost its reason: another payload, and no epoch.
            letter(Origin::Poison(None), "other", "other"),
        ];
        let done = Settle(Settled::Done);
        let again = Settle(Settled::ParkedAgain);
        let cases: [(Seen, [&Decision; 9]); 7] = [
            (seen(Done, false, 0), [&done, &done, &done, &done, &other, &done, &done, &done, &other]),
            (
                seen(Parked, true, 0),
                [
                    &Reopen,
                    &again,
                    &Reopen,
                    &Settle(Settled::Parked),
                    &other,
                    &again,
                    &again,
                    &Settle(Settled::Parked),
                    &other,
                ],
            ),
            (seen(Parked, false, 0), [&Reopen, &Reopen, &Reopen, &Reopen, &other, &other, &other, &Reopen, &other]),
            (seen(Released, false, 0), [&Send, &Send, &Send, &Send, &other, &other, &Reopen, &Reopen, &other]),
            (seen(Processing, false, 51), [&Send, &Send, &Send, &Send, &other, &other, &Reopen, &Reopen, &other]),
            (seen(Processing, false, 50), [&working; 9]),
            (seen(Processing, false, 0), [&working; 9]),
        ];
        for (seen, expected) in cases {
            for (letter, expected) in letters.iter().zip(expected) {
                let decision = decide(Some(&seen), letter, MARGIN, KEPT);
                assert_eq!(&decision, expected, "{:?} {:?} {letter:?}", seen.record.state, seen.record.copied);
            }
            let mismatch = letter(Origin::Mismatch, "other", "edited");
            assert_eq!(decide(Some(&seen), &mismatch, MARGIN, KEPT), other);
        }
    }

    #[test]
    fn the_same_edit_again_is_sent_and_not_reopened() {
        let edited = Seen {
            record: Record { payload: "edited".into(), ..seen(State::Released, false, 0).record },
            ..seen(State::Released, false, 0)
        };
        let again = letter(Origin::Poison(Some(2)), "hash", "edited");
        assert_eq!(decide(Some(&edited), &again, MARGIN, KEPT), Decision::Send);
        let otherwise = letter(Origin::Poison(Some(2)), "hash", "edited otherwise");
        assert_eq!(decide(Some(&edited), &otherwise, MARGIN, KEPT), Decision::Reopen);
        let unedited = letter(Origin::Poison(Some(2)), "hash", "hash");
        assert_eq!(decide(Some(&edited), &unedited, MARGIN, KEPT), Decision::Leave(Left::OtherPayload));
    }

    #[test]
    fn without_a_record_the_age_decides() {
        let of_age = |age| Letter { age, ..letter(Origin::Broker, "hash", "hash") };
        assert_eq!(decide(None, &of_age(Some(KEPT - Duration::from_secs(1))), MARGIN, KEPT), Decision::Send);
        for age in [Some(KEPT), None] {
            assert_eq!(decide(None, &of_age(age), MARGIN, KEPT), Decision::Leave(Left::Forgotten));
        }
        assert_eq!(decide(None, &of_age(None), MARGIN, Duration::MAX), Decision::Leave(Left::Forgotten));
    }

    #[test]
    fn t10_opens_the_record_for_what_is_sent() {
        let first = Record::first("id", "hash", Duration::from_secs(45), author());
        let stepped = first.checkpoint(Checkpoint::Inline(b"cp".to_vec()), Duration::from_secs(9), author());
        let failed = Release::Failure { reason: "no".into(), not_before: Duration::from_secs(60) };
        let parked = stepped.release(failed, Duration::ZERO, author()).park("bad".into(), author()).copied(author());
        let opened = parked.redrive("edited", false, author());
        assert_eq!((opened.state, opened.epoch, opened.payload.as_str()), (State::Released, 2, "edited"));
        assert_eq!(
            (opened.failures, opened.executed, opened.not_before, opened.copied),
            (0, Duration::ZERO, None, false)
        );
        assert_eq!((opened.step, opened.checkpoint), (1, stepped.checkpoint));
        assert_eq!(opened.result.as_deref(), Some("bad"), "the last error stays readable");
        let anew = parked.redrive("hash", true, author());
        assert_eq!((anew.step, anew.checkpoint), (0, None));
    }

    #[test]
    fn an_id_of_its_own_is_an_id_and_comes_again() {
        let payload = sha256_hex(b"x");
        assert_eq!(own_id("a", &payload), own_id("a", &payload));
        assert_ne!(own_id("a", &payload), own_id("a", &sha256_hex(b"y")));
        assert_eq!(check_logical_id(&own_id(&"x".repeat(MAX_LOGICAL_ID), &payload)), Ok(()));
    }
}
