//! What a record says to those who ask for a message.

use serde_json::{Map, Value};

use crate::record::{Record, Seen, State};
use crate::time::{UnixTime, rfc3339, whole_seconds_up};

/// How long a client should wait before it asks again, in seconds, while the message is being processed.
const ASK_AGAIN: u64 = 2;

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
