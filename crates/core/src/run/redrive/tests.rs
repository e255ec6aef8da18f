//! Letters, a record and a queue, with every request cut: not done, or done and the answer lost, and then the operator killed.

use bytes::Bytes;

use super::*;
use crate::config::Config;
use crate::id::{Mark, payload_hash};
use crate::message::{Addressing, LockRef, Outgoing, Properties, property};
use crate::record::finding::{Arrival, Finding, examine};
use crate::record::redrive::Origin;
use crate::record::{ETag, Record, State};
use crate::time::UnixTime;

const KEPT: Duration = Duration::from_secs(14 * 86_400);

fn queue() -> QueueConfig {
    Config::parse("[queues.q]").unwrap().queue("q").unwrap().clone()
}

fn author(text: &str) -> Author {
    Author { owner: text.to_owned(), mark: Mark::parse(text) }
}

/// What a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// Done, the answer lost.
    ReplyLost,
    /// Not done, and nobody knows.
    Swallowed,
}

/// The outside, for one message: its record, its queue, its letters.
#[derive(Debug, Clone, Default)]
struct World {
    record: Option<Record>,
    version: u64,
    /// Since when the record is as it is, and what the storage's clock says.
    written_at: u64,
    now: u64,
    queue: Vec<Outgoing>,
    letters: Vec<Delivery>,
    /// Payloads that were processed to the end.
    done: Vec<Bytes>,
    /// What the handler turned away as another payload.
    turned_away: usize,
}

fn delivery(sequence: i64, body: &str, properties: Properties) -> Delivery {
    Delivery {
        lock: LockRef { sequence_number: sequence, lock_token: format!("lock-{sequence}") },
        message_id: "id".into(),
        delivery_count: 1,
        enqueued_at: Some(UnixTime(0)),
        locked_until: None,
        answered_at: Some(UnixTime(60)),
        content_type: Some("text/plain".into()),
        body: Bytes::copy_from_slice(body.as_bytes()),
        properties,
        addressing: Addressing::default(),
        time_to_live: None,
    }
}

fn hash(body: &[u8]) -> String {
    payload_hash(Some("text/plain"), body)
}

impl World {
    /// A message that was rejected at its first attempt, and its letter.
    fn parked(copied: bool) -> Self {
        let first = Record::first("id", &hash(b"body"), Duration::from_secs(45), author("1"));
        let parked = first.park("rejected: bad".into(), author("2"));
        let record = if copied { parked.copied(author("3")) } else { parked };
        Self { record: Some(record), letters: vec![Self::letter(1, 1, "body")], ..Self::default() }
    }

    fn letter(sequence: i64, epoch: u64, body: &str) -> Delivery {
        let mut properties = Properties::new();
        properties.set(property::ID, "id");
        properties.set(property::KEY, "sender");
        properties.set(property::SEQUENCE, "7");
        properties.set(property::EPOCH, epoch.to_string());
        properties.set(property::DEAD_LETTER_REASON, "rejected");
        properties.set(property::DEAD_LETTER_DESCRIPTION, "bad");
        properties.set(property::SOURCE_QUEUE, "q");
        delivery(sequence, body, properties)
    }

    fn etag(&self) -> ETag {
        ETag::parse(&format!("\"{}\"", self.version)).unwrap()
    }

    fn seen(&self) -> Option<Seen> {
        let (last_modified, date) = (UnixTime(self.written_at), UnixTime(self.now));
        self.record.clone().map(|record| Seen { record, etag: self.etag(), last_modified, date })
    }

    fn store(&mut self, record: Record) {
        assert!(self.record.as_ref().is_none_or(|old| old.state != State::Done && old.epoch <= record.epoch));
        self.record = Some(record);
        self.version += 1;
        self.written_at = self.now;
    }

    fn perform(&mut self, command: Command, lock: &LockRef) -> Reply {
        match command {
            Command::Look => self.seen().map_or(Reply::Missing, |seen| Reply::Found(Box::new(seen))),
            Command::Write { etag, .. } if etag != self.etag() => Reply::Refused,
            Command::Write { record, .. } => {
                self.store(record);
                Reply::Stored(self.etag())
            }
            Command::Send(copy) => {
                assert_eq!((copy.queue.as_str(), copy.delay), ("q", Duration::ZERO));
                self.queue.push(copy.message);
                Reply::Settled
            }
            Command::Complete => {
                let before = self.letters.len();
                self.letters.retain(|letter| letter.lock != *lock);
                if self.letters.len() < before { Reply::Settled } else { Reply::LockLost }
            }
            other => panic!("nobody asks for {other:?} here"),
        }
    }

    /// The handler takes one message off the queue and processes it to the end, as the record lets it.
    fn handle(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let message = self.queue.remove(0);
        let payload = hash(&message.body);
        let claimed = match self.seen() {
            None => Record::first("id", &payload, Duration::from_secs(45), author("h")),
            Some(seen) => {
                let epoch = message.properties.text(property::EPOCH).and_then(|text| text.parse().ok());
                let arrival = Arrival { payload: &payload, copy_of_epoch: epoch };
                match examine(&seen, &arrival, Duration::from_secs(5)) {
                    Finding::TakeOver { .. } => seen.record.take_over(Duration::from_secs(45), author("h")),
                    Finding::PayloadMismatch => {
                        self.turned_away += 1;
                        return;
                    }
                    // A duplicate: completed.
                    Finding::Done | Finding::Parked => return,
                    other => panic!("{other:?}"),
                }
            }
        };
        self.store(claimed.clone());
        self.store(claimed.finish(None, Duration::ZERO, author("d")));
        self.done.push(message.body);
    }

    fn handle_all(&mut self) {
        while !self.queue.is_empty() {
            self.handle();
        }
    }
}

/// A machine at work on a letter, one request at a time.
struct Operator {
    machine: Redrive,
    next: Next,
    lock: LockRef,
}

impl Operator {
    fn on(letter: &Delivery, edit: Option<&str>, random: u128) -> Self {
        let made_for = letter.properties.text(property::EPOCH).and_then(|text| text.parse().ok());
        let origin = if letter.properties.text(property::SOURCE_QUEUE).is_some() {
            Origin::Poison(made_for)
        } else {
            Origin::Broker
        };
        let mut sent = letter.clone();
        if let Some(edit) = edit {
            sent.body = Bytes::copy_from_slice(edit.as_bytes());
        }
        let subject = Subject {
            letter: Letter {
                origin,
                payload: hash(&letter.body),
                sent: hash(&sent.body),
                age: Some(Duration::from_secs(60)),
            },
            delivery: sent,
            id: "id".into(),
            queue: queue(),
            kept: KEPT,
            anew: false,
            dry_run: false,
        };
        let mut machine = Redrive::new(subject, random);
        assert_eq!(machine.record_name(), record_name("q", "id"));
        let next = machine.begin();
        Self { machine, next, lock: letter.lock.clone() }
    }

    fn ended(&self) -> Option<&Ended> {
        match &self.next {
            Next::Over(ended) => Some(ended),
            Next::Do(_) => None,
        }
    }

    fn step(&mut self, world: &mut World, fate: Fate) {
        let Next::Do(command) = self.next.clone() else { return };
        let lost = match command {
            Command::Write { .. } => Reply::Unknown,
            _ => Reply::Unavailable("lost".into()),
        };
        let reply = match fate {
            Fate::Answered => world.perform(command, &self.lock),
            Fate::ReplyLost => {
                world.perform(command, &self.lock);
                lost
            }
            Fate::Swallowed => lost,
        };
        self.next = self.machine.on_reply(reply);
    }

    fn finish(mut self, world: &mut World) -> Ended {
        for _ in 0..50 {
            match self.ended() {
                Some(ended) => return ended.clone(),
                None => self.step(world, Fate::Answered),
            }
        }
        panic!("it does not end");
    }
}

/// Redrives whatever lies there, again and again, the handler at work in between, until nothing does.
fn redrive_all(world: &mut World, edit: Option<&str>) {
    for round in 0..10 {
        for letter in world.letters.clone() {
            Operator::on(&letter, edit, 1_000 + round).finish(world);
            world.handle_all();
        }
        if world.letters.is_empty() {
            return;
        }
    }
    panic!("letters are left: {world:?}");
}

#[test]
fn the_straight_way_is_look_reopen_send_complete() {
    let mut world = World::parked(true);
    let mut operator = Operator::on(&world.letters[0], None, 7);
    let mut commands = Vec::new();
    while let Next::Do(command) = &operator.next {
        commands.push(command.kind());
        operator.step(&mut world, Fate::Answered);
    }
    assert_eq!(commands, [CommandKind::Look, CommandKind::Write, CommandKind::Send, CommandKind::Complete]);
    assert_eq!(operator.ended(), Some(&Ended { outcome: Outcome::Reopened { epoch: 2 }, completed: true }));
    let record = world.record.clone().unwrap();
    assert_eq!((record.state, record.epoch, record.failures, record.copied), (State::Released, 2, 0, false));
    assert!(record.owner.starts_with("redrive-"), "{}", record.owner);
    let copy = &world.queue[0];
    let kept: Vec<_> = copy.properties.iter().map(|(name, value)| (name, value.to_string())).collect();
    let expected = [(property::ID, "id"), (property::KEY, "sender"), (property::SEQUENCE, "7"), (property::EPOCH, "2")];
    assert_eq!(kept, expected.map(|(name, value)| (name, value.to_owned())));
    assert_ne!(copy.message_id.as_deref(), Some("id"), "duplicate detection would eat it");
    world.handle_all();
    assert_eq!(world.done, ["body"]);
}

/// Each prefix of requests, the last one answered, unanswered or not done, with the handler at work before the operator comes back
/// or not: then everything again until the letter is gone.
#[test]
fn killed_after_any_request_it_doubles_and_loses_nothing() {
    let fates = [Fate::Answered, Fate::ReplyLost, Fate::Swallowed];
    for copied in [true, false] {
        for edits in [[None, None], [Some("edited"), Some("edited")], [Some("edited"), Some("otherwise")]] {
            for cut in 0..4 {
                for (fate, handled) in fates.into_iter().flat_map(|fate| [(fate, true), (fate, false)]) {
                    let mut world = World::parked(copied);
                    let mut operator = Operator::on(&world.letters[0], edits[0], 1);
                    for _ in 0..cut {
                        operator.step(&mut world, Fate::Answered);
                    }
                    operator.step(&mut world, fate);
                    drop(operator);
                    if handled {
                        world.handle_all();
                    }
                    redrive_all(&mut world, edits[1]);
                    world.handle_all();
                    let case = format!("copied {copied}, {edits:?}, cut at {cut}, {fate:?}, handled {handled}");
                    assert_eq!(world.done.len(), 1, "{case}: {world:?}");
                    assert_eq!(world.record.as_ref().map(|record| record.state), Some(State::Done), "{case}");
                    let expected = [edits[0].unwrap_or("body"), edits[1].unwrap_or("body")];
                    assert!(expected.iter().any(|body| world.done[0] == *body), "{case}: {:?}", world.done);
                    if edits[0] == edits[1] {
                        assert_eq!(world.turned_away, 0, "{case}");
                    }
                }
            }
        }
    }
}

/// A lost reply without a kill: the machine goes on by itself, or ends with the letter in place.
#[test]
fn a_lost_reply_is_looked_into_or_left_for_the_next_time() {
    for at in 0..4 {
        for fate in [Fate::ReplyLost, Fate::Swallowed] {
            let mut world = World::parked(true);
            let mut operator = Operator::on(&world.letters[0], None, 1);
            for step in 0..10 {
                operator.step(&mut world, if step == at { fate } else { Fate::Answered });
            }
            let ended = operator.ended().expect("it ends").clone();
            assert!(!ended.completed || world.letters.is_empty(), "{ended:?}");
            if at == 1 {
                let expected = Ended { outcome: Outcome::Reopened { epoch: 2 }, completed: true };
                assert_eq!(ended, expected, "the write is looked into");
            }
            redrive_all(&mut world, None);
            world.handle_all();
            assert_eq!(world.done, ["body"], "at {at}, {fate:?}");
        }
    }
}

/// Two operators, or one whose locks lapsed, on one letter and on two letters of one epoch: all orders of their requests.
#[test]
fn two_operators_at_once_double_nothing() {
    for two_letters in [false, true] {
        for order in 0_u32..1 << 10 {
            let mut world = World::parked(true);
            if two_letters {
                world.letters.push(World::letter(2, 1, "body"));
            }
            let second = usize::from(two_letters);
            let mut operators =
                [Operator::on(&world.letters[0], None, 1), Operator::on(&world.letters[second], None, 2)];
            for turn in 0..10 {
                let which = usize::from(order >> turn & 1 == 1);
                operators[which].step(&mut world, Fate::Answered);
                if order.is_multiple_of(3) {
                    world.handle();
                }
            }
            for operator in operators {
                operator.finish(&mut world);
            }
            redrive_all(&mut world, None);
            world.handle_all();
            assert_eq!(world.done, ["body"], "order {order:b}, two letters {two_letters}");
            assert_eq!(world.turned_away, 0);
        }
    }
}

#[test]
fn a_letter_of_the_broker_goes_back_without_a_write_unless_it_was_parked() {
    let claimed = Record::first("id", &hash(b"body"), Duration::from_secs(45), author("1"));
    let released = claimed.release(crate::record::Release::Deadline, Duration::ZERO, author("2"));
    let parked = claimed.park("rejected: bad".into(), author("3"));
    for (record, now, outcome) in [
        (None, 0, Outcome::Sent),
        (Some(released), 0, Outcome::Sent),
        (Some(claimed.clone()), 51, Outcome::Sent),
        (Some(claimed.clone()), 50, Outcome::Left(Left::InProgress { until: UnixTime(45) })),
        (Some(parked.clone()), 0, Outcome::Reopened { epoch: 2 }),
        (Some(parked.copied(author("4"))), 0, Outcome::Settled(Settled::Parked)),
        (Some(claimed.finish(None, Duration::ZERO, author("5"))), 0, Outcome::Settled(Settled::Done)),
    ] {
        let letter = delivery(1, "body", Properties::new());
        let mut world = World { record: record.clone(), now, letters: vec![letter.clone()], ..World::default() };
        let completed = !matches!(outcome, Outcome::Left(_));
        let ended = Operator::on(&letter, None, 1).finish(&mut world);
        assert_eq!(ended, Ended { outcome: outcome.clone(), completed }, "{record:?}");
        assert_eq!(world.letters.is_empty(), completed);
        let sends = matches!(outcome, Outcome::Sent | Outcome::Reopened { .. });
        assert_eq!(world.queue.len(), usize::from(sends));
        if sends {
            world.handle_all();
            assert_eq!(world.done, ["body"]);
        }
    }
}

#[test]
fn what_was_parked_again_is_settled_by_its_later_letter() {
    let mut world = World::parked(true);
    let record = world.record.clone().unwrap().redrive(&hash(b"body"), false, author("r"));
    let again = record.take_over(Duration::from_secs(45), author("h")).park("rejected: still".into(), author("p"));
    world.record = Some(again.copied(author("c")));
    world.letters.push(World::letter(2, 3, "body"));
    let first = Operator::on(&world.letters[0].clone(), None, 1).finish(&mut world);
    assert_eq!(first, Ended { outcome: Outcome::Settled(Settled::ParkedAgain), completed: true });
    let second = Operator::on(&world.letters[0].clone(), None, 2).finish(&mut world);
    assert_eq!(second, Ended { outcome: Outcome::Reopened { epoch: 4 }, completed: true });
    world.handle_all();
    assert_eq!(world.done, ["body"]);
}

#[test]
fn a_dry_run_looks_and_nothing_more() {
    let mut world = World::parked(true);
    let before = format!("{world:?}");
    let mut operator = Operator::on(&world.letters[0], None, 1);
    operator.machine.subject.dry_run = true;
    let ended = operator.finish(&mut world);
    assert_eq!(ended, Ended { outcome: Outcome::Reopened { epoch: 2 }, completed: false });
    assert_eq!(format!("{world:?}"), before);
}

#[test]
fn a_refused_credential_says_where() {
    for (steps, during) in [(0, CommandKind::Look), (1, CommandKind::Write), (2, CommandKind::Send)] {
        let mut world = World::parked(true);
        let mut operator = Operator::on(&world.letters[0], None, 1);
        for _ in 0..steps {
            operator.step(&mut world, Fate::Answered);
        }
        let next = operator.machine.on_reply(Reply::Denied("no".into()));
        let outcome = Outcome::Failed { during, why: "no".into(), denied: true };
        assert_eq!(next, Next::Over(Ended { outcome, completed: false }));
        assert_eq!(world.letters.len(), 1);
    }
}
