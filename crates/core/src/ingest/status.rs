//! What a record says to those who ask for a message, and how long they may wait for it.
//!
//! With `?wait=SECONDS` the answer comes when the message is done or parked, or when the time is up, whichever is first; it is the
//! answer that would be given without. Nobody tells us of a change, so the record is looked at again and again, with growing
//! pauses ([`pause`]): a wait of 25 s costs 16 requests to the storage at the most.

use std::time::Duration;

use serde_json::{Map, Value};

use super::form;
use crate::problem::{Kind, Problem};
use crate::record::{ETag, Record, Seen, State};
use crate::time::{UnixTime, rfc3339, whole_seconds_up};

/// How long a client should wait before it asks again, in seconds, while the message is being processed or has no record.
pub const ASK_AGAIN: u64 = 2;

/// The longest wait: proxies often give up after 30 s.
pub const LONGEST_WAIT: Duration = Duration::from_secs(25);

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a query wants to wait; zero where it says nothing.
///
/// # Errors
/// `wait` is no whole number of seconds up to [`LONGEST_WAIT`], or is there twice.
pub fn wait(query: Option<&str>) -> Result<Duration, Problem> {
    let pairs = form::pairs(query.unwrap_or_default().as_bytes());
    let mut values = pairs.iter().filter(|(name, _)| name == b"wait").map(|(_, value)| value.as_slice());
    let Some(value) = values.next() else { return Ok(Duration::ZERO) };
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match text.and_then(|text| text.parse().ok()).map(Duration::from_secs) {
        Some(wait) if wait <= LONGEST_WAIT && values.next().is_none() => Ok(wait),
        _ => {
            let longest = LONGEST_WAIT.as_secs();
            Err(Problem::new(Kind::Malformed, format!("wait must be whole seconds from 0 to {longest}, once")))
        }
    }
}

/// How long to pause after the nth look, the first being 0: 0.25 s, and each time twice as long, up to 2 s.
#[must_use]
pub fn pause(looks: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << looks.min(8)).min(LONGEST_PAUSE)
}

/// Whether nothing will change by itself.
#[must_use]
pub fn is_final(seen: &Seen) -> bool {
    matches!(seen.record.state, State::Done | State::Parked)
}

/// Whether an `If-None-Match` names this version. Weak comparison, as RFC 9110 wants it.
#[must_use]
pub fn is_known(if_none_match: &str, etag: &ETag) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if_none_match.trim() == "*" || if_none_match.split(',').any(|tag| strong(tag) == strong(etag.as_str()))
}

/// The state of a message, as JSON. `id` is whole; the record may hold only its beginning.
#[must_use]
pub fn to_json(queue: &str, id: &str, seen: &Seen) -> Value {
    let record = &seen.record;
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("id", id.into());
    set("queue", queue.into());
    set("state", record.state.word().into());
    set("epoch", record.epoch.into());
    set("attempts", attempts(record).into());
    set("steps", record.step.into());
    set("updated_at", rfc3339(seen.last_modified).into());
    if record.state == State::Processing {
        set("lock_until", rfc3339(seen.claimed_until()).into());
    }
    if let Some(not_before) = not_before(seen) {
        set("not_before", rfc3339(not_before).into());
    }
    if let Some(text) = &record.result {
        set(if record.state == State::Done { "result" } else { "last_error" }, text.as_str().into());
    }
    if record.state == State::Parked {
        set("poison_copy", record.copied.into());
    }
    members.into()
}

/// After how many seconds it is worth asking again; `None` where nothing will change by itself.
#[must_use]
pub fn ask_again_after(seen: &Seen) -> Option<u64> {
    match seen.record.state {
        State::Processing => Some(ASK_AGAIN),
        State::Released => {
            let wait = not_before(seen).map_or(0, |due| whole_seconds_up(due.since(seen.date)));
            Some(wait.max(ASK_AGAIN))
        }
        State::Done | State::Parked => None,
    }
}

/// How often it was tried since the last checkpoint, the attempt under way included.
fn attempts(record: &Record) -> u32 {
    match record.state {
        State::Processing | State::Done => record.attempt(),
        State::Released | State::Parked => record.failures,
    }
}

fn not_before(seen: &Seen) -> Option<UnixTime> {
    let wait = seen.record.not_before.filter(|_| seen.record.state == State::Released)?;
    Some(seen.last_modified.plus(wait))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::id::Mark;
    use crate::record::{Author, ETag, Release};

    fn author() -> Author {
        Author { owner: "run".into(), mark: Mark::parse("m") }
    }

    fn seen(record: Record) -> Seen {
        let etag = ETag::parse("\"1\"").unwrap();
        Seen { record, etag, last_modified: UnixTime(1_795_174_201), date: UnixTime(1_795_174_203) }
    }

    #[test]
    fn a_wait_is_whole_seconds_and_has_an_end() {
        let seconds = |query| wait(query).map(|wait| wait.as_secs()).map_err(|problem| problem.kind);
        assert_eq!((seconds(None), seconds(Some("x=1")), seconds(Some("wait=0"))), (Ok(0), Ok(0), Ok(0)));
        assert_eq!((seconds(Some("a&wait=25")), seconds(Some("wait=%31"))), (Ok(25), Ok(1)));
        for wrong in ["wait=", "wait", "wait=26", "wait=-1", "wait=+1", "wait=1.5", "wait=1&wait=1", "wait=%ff"] {
            assert_eq!(seconds(Some(wrong)), Err(Kind::Malformed), "{wrong}");
        }
    }

    #[test]
    fn the_longest_wait_looks_16_times() {
        let (mut looks, mut passed) = (1, Duration::ZERO);
        while passed < LONGEST_WAIT {
            passed += pause(looks - 1).min(LONGEST_WAIT - passed);
            looks += 1;
        }
        assert_eq!(looks, 16);
        assert_eq!([0, 1, 2, 3, 4, 99].map(|looks| pause(looks).as_millis()), [250, 500, 1_000, 2_000, 2_000, 2_000]);
    }

    #[test]
    fn a_version_is_known_by_its_tag() {
        let etag = ETag::parse("\"0x1\"").unwrap();
        for known in ["\"0x1\"", "*", "W/\"0x1\"", "\"a\", \"0x1\""] {
            assert!(is_known(known, &etag), "{known}");
        }
        for other in ["", "\"0x2\"", "0x1", "\"0x1"] {
            assert!(!is_known(other, &etag), "{other}");
        }
    }

    fn claimed() -> Record {
        Record::first("a", "hash", Duration::from_secs(45), author())
    }

    #[test]
    fn a_message_in_work_says_until_when() {
        let seen = seen(claimed());
        let expected = json!({ "id": "a", "queue": "orders", "state": "processing", "epoch": 1, "attempts": 1, "steps": 0,
            "updated_at": "2026-11-20T11:30:01Z", "lock_until": "2026-11-20T11:30:46Z" });
        assert_eq!(to_json("orders", "a", &seen), expected);
        assert_eq!(ask_again_after(&seen), Some(2));
    }

    #[test]
    fn a_message_that_waits_says_for_what() {
        let failure = Release::Failure { reason: "no route".into(), not_before: Duration::from_secs(60) };
        let seen = seen(claimed().release(failure, Duration::ZERO, author()));
        let answer = to_json("orders", "a", &seen);
        assert_eq!((&answer["state"], &answer["attempts"]), (&json!("released"), &json!(1)));
        assert_eq!(
            (&answer["not_before"], &answer["last_error"]),
            (&json!("2026-11-20T11:31:01Z"), &json!("no route"))
        );
        assert_eq!(ask_again_after(&seen), Some(58));
    }

    #[test]
    fn a_message_that_is_finished_has_a_result_and_a_parked_one_an_error() {
        let done = seen(claimed().finish(Some("stored".into()), Duration::ZERO, author()));
        let answer = to_json("orders", "a", &done);
        assert_eq!(
            (&answer["result"], &answer["lock_until"], &answer["attempts"]),
            (&json!("stored"), &Value::Null, &json!(1))
        );
        assert_eq!(ask_again_after(&done), None);
        let parked = seen(claimed().park("bad".into(), author()).copied(author()));
        let answer = to_json("orders", "a", &parked);
        assert_eq!((&answer["last_error"], &answer["poison_copy"]), (&json!("bad"), &json!(true)));
    }
}
