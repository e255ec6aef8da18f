//! What each path through the door asks of the services, call by call.

use super::super::*;
use crate::time::UnixTime;

fn record(mark: &str) -> KeyRecord {
    KeyRecord::first("fp".into(), "orders".into(), "id".into(), Mark::parse(mark))
}

fn etag(version: u64) -> ETag {
    ETag::parse(&format!("\"{version}\"")).unwrap()
}

fn seen(record: KeyRecord, age: u64) -> SeenKey {
    SeenKey { record, etag: etag(1), last_modified: UnixTime(1_000), date: UnixTime(1_000 + age) }
}

fn accepted() -> Verdict {
    Verdict::Accepted { queue: "orders".into(), id: "id".into() }
}

fn send() -> Step {
    Step::Send { queue: "orders".into(), id: "id".into() }
}

/// The steps of a request to which this happens.
fn steps(events: Vec<Event>) -> Vec<Step> {
    let (mut door, first) = Door::new(record("me"));
    let mut steps = vec![first];
    steps.extend(events.into_iter().map(|event| door.on(event)));
    steps
}

#[test]
fn a_new_key_costs_three_calls() {
    let sent = KeyRecord { state: State::Sent, ..record("me") };
    assert_eq!(
        steps(vec![Event::Written(etag(1)), Event::Accepted, Event::Marked]),
        [Step::Create(record("me")), send(), Step::Mark(etag(1), sent), Step::End(accepted())]
    );
}

#[test]
fn a_repetition_of_what_was_sent_costs_two_and_sends_nothing() {
    let sent = KeyRecord { state: State::Sent, ..record("first") };
    assert_eq!(
        steps(vec![Event::Refused, Event::Found(seen(sent, 9))]),
        [Step::Create(record("me")), Step::Look, Step::End(accepted())]
    );
}

#[test]
fn a_send_that_failed_is_marked_and_the_next_one_goes_at_once() {
    let failed = KeyRecord { state: State::Failed, ..record("me") };
    let mark = Step::Mark(etag(1), failed.clone());
    let ended = steps(vec![Event::Written(etag(1)), Event::NotAccepted, Event::Marked]);
    assert_eq!(ended, [Step::Create(record("me")), send(), mark, Step::End(Verdict::NotAccepted)]);
    let theirs = KeyRecord { mark: Mark::parse("first"), ..failed };
    let again = steps(vec![Event::Refused, Event::Found(seen(theirs, 0)), Event::Written(etag(2)), Event::Accepted]);
    let sent = KeyRecord { state: State::Sent, ..record("me") };
    assert_eq!(again[1..], [Step::Look, Step::TakeOver(etag(1), record("me")), send(), Step::Mark(etag(2), sent)]);
}

#[test]
fn the_whole_table_of_what_a_request_finds() {
    let found = |state, mark: &str, fingerprint: &str, age| {
        let record = KeyRecord { state, fingerprint: fingerprint.to_owned(), ..record(mark) };
        seen(record, age).examine("fp", &Mark::parse("me"))
    };
    for state in [State::Sending, State::Failed, State::Sent] {
        assert_eq!(found(state, "first", "other", 99), Finding::OtherPayload, "{state:?}");
        assert_eq!(found(state, "me", "other", 0), Finding::OtherPayload, "{state:?}");
    }
    assert_eq!(found(State::Sent, "first", "fp", 0), Finding::Sent);
    assert_eq!(found(State::Failed, "first", "fp", 0), Finding::Free);
    assert_eq!(found(State::Sending, "me", "fp", 0), Finding::Mine);
    assert_eq!(found(State::Sending, "first", "fp", 0), Finding::InProgress { retry_after: 16 });
    assert_eq!(found(State::Sending, "first", "fp", 15), Finding::InProgress { retry_after: 1 });
    assert_eq!(found(State::Sending, "first", "fp", 16), Finding::Free);
    // A storage clock that steps back makes nobody die early.
    let back = SeenKey { date: UnixTime(0), ..seen(record("first"), 0) };
    assert_eq!(back.examine("fp", &Mark::parse("me")), Finding::InProgress { retry_after: 16 });
}

#[test]
fn a_lost_answer_is_looked_at_and_the_mark_tells() {
    let landed = steps(vec![Event::Unknown, Event::Found(seen(record("me"), 0))]);
    assert_eq!(landed[1..], [Step::Look, send()]);
    let not_landed = steps(vec![Event::Unknown, Event::Missing, Event::Written(etag(1))]);
    assert_eq!(not_landed[1..], [Step::Look, Step::Create(record("me")), send()]);
    let taken = steps(vec![
        Event::Refused,
        Event::Found(seen(record("first"), 16)),
        Event::Unknown,
        Event::Found(seen(record("me"), 0)),
    ]);
    assert_eq!(taken[2..], [Step::TakeOver(etag(1), record("me")), Step::Look, send()]);
}

#[test]
fn a_request_that_loses_every_race_gives_up_and_one_without_answers_too() {
    let lost = |event: Event| {
        let (mut door, _) = Door::new(record("me"));
        let mut calls = 1;
        loop {
            let looked = match door.on(event.clone()) {
                Step::Look => door.on(Event::Missing),
                step => step,
            };
            match looked {
                Step::End(verdict) => break (verdict, calls),
                _ => calls += 1,
            }
        }
    };
    assert_eq!(lost(Event::Refused), (Verdict::InProgress { retry_after: 1 }, 4));
    assert_eq!(lost(Event::Unknown), (Verdict::Unavailable, 4));
}

#[test]
fn an_event_out_of_place_accepts_nothing() {
    let (mut door, _) = Door::new(record("me"));
    assert_eq!(door.on(Event::Accepted), Step::End(Verdict::Unavailable));
    assert_eq!(door.on(Event::Accepted), Step::End(Verdict::Unavailable));
    assert_eq!(steps(vec![Event::Unavailable])[1], Step::End(Verdict::Unavailable));
}
