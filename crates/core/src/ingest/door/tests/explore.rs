//! The exploration: a world of a few requests, all that may happen next in it, and what must hold in every one of its states.

#![expect(clippy::disallowed_types, reason = "sets are asked for what is in them, never for an order")]

use std::collections::{BTreeSet, HashSet};

use super::super::*;
use crate::time::UnixTime;

/// How many answers get lost, writes come late, requests die and sends fail, together.
const MISHAPS: u8 = 2;
/// How often more time passes than a request may be sending.
const PASSAGES: u8 = 2;

/// What of the protocol, or of what it rests on, is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Broken {
    /// The storage passes over `If-None-Match`.
    unconditional_create: bool,
    /// A request marks its message as sent before it sends it.
    marks_first: bool,
    /// A request takes the payload of another for its own.
    blind_to_payload: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Blob {
    record: KeyRecord,
    version: u64,
    written_at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Request {
    Waiting,
    Running(Box<Door>, Step),
    Ended(Verdict),
    Dead,
}

/// A write that was sent and has not arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Late {
    Create(KeyRecord),
    Over(ETag, KeyRecord),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    broken: Broken,
    requests: Vec<Request>,
    payloads: Vec<&'static str>,
    blob: Option<Blob>,
    versions: u64,
    late: Vec<Late>,
    /// What the broker took: ids and payloads, each once.
    taken: BTreeSet<(String, String)>,
    now: u64,
    mishaps: u8,
    passages: u8,
}

fn etag(version: u64) -> ETag {
    ETag::parse(&format!("\"{version}\"")).unwrap()
}

impl World {
    fn new(payloads: &[&'static str], broken: Broken) -> Self {
        Self {
            broken,
            requests: vec![Request::Waiting; payloads.len()],
            payloads: payloads.to_vec(),
            blob: None,
            versions: 0,
            late: Vec::new(),
            taken: BTreeSet::new(),
            now: 1_000,
            mishaps: MISHAPS,
            passages: PASSAGES,
        }
    }

    fn put(&mut self, record: KeyRecord) -> Event {
        self.versions += 1;
        self.blob = Some(Blob { record, version: self.versions, written_at: self.now });
        Event::Written(etag(self.versions))
    }

    fn create(&mut self, record: &KeyRecord) -> Event {
        if self.blob.is_some() && !self.broken.unconditional_create {
            return Event::Refused;
        }
        self.put(record.clone())
    }

    fn over(&mut self, version: &ETag, record: &KeyRecord) -> Event {
        match &self.blob {
            Some(blob) if etag(blob.version) == *version => self.put(record.clone()),
            _ => Event::Refused,
        }
    }

    /// A step comes through, and this is its answer.
    fn perform(&mut self, who: usize, step: &Step) -> Event {
        match step {
            Step::Create(record) => self.create(record),
            Step::TakeOver(version, record) => self.over(version, record),
            Step::Mark(version, record) => {
                self.over(version, record);
                Event::Marked
            }
            Step::Look => match &self.blob {
                None => Event::Missing,
                Some(blob) => {
                    let mut record = blob.record.clone();
                    if self.broken.blind_to_payload {
                        record.fingerprint = self.payloads[who].to_owned();
                    }
                    let (last_modified, date) = (UnixTime(blob.written_at), UnixTime(self.now));
                    Event::Found(SeenKey { record, etag: etag(blob.version), last_modified, date })
                }
            },
            Step::Send { id, .. } => {
                if self.broken.marks_first {
                    let own = self.blob.clone();
                    if let Some(blob) = own {
                        let (version, record) = (etag(blob.version), blob.record.ended(true));
                        self.over(&version, &record);
                    }
                }
                self.taken.insert((id.clone(), self.payloads[who].to_owned()));
                Event::Accepted
            }
            Step::End(_) => unreachable!("an end is no step to perform"),
        }
    }

    fn tell(&mut self, who: usize, event: Event) {
        let Request::Running(mut door, _) = self.requests[who].clone() else { unreachable!("it runs") };
        self.requests[who] = match door.on(event) {
            Step::End(verdict) => Request::Ended(verdict),
            step => Request::Running(door, step),
        };
    }

    /// All that may happen next.
    fn next(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        let mut push = |change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            worlds.push(world);
        };
        for who in 0..self.requests.len() {
            match &self.requests[who] {
                Request::Waiting => push(&|world| {
                    let fingerprint = world.payloads[who].to_owned();
                    let mark = Mark::parse(&format!("request-{who}"));
                    let (door, step) = Door::new(KeyRecord::first(fingerprint, "q".into(), "id".into(), mark));
                    world.requests[who] = Request::Running(Box::new(door), step);
                }),
                Request::Running(_, step) => {
                    push(&|world| {
                        let event = world.perform(who, step);
                        world.tell(who, event);
                    });
                    if self.mishaps > 0 {
                        self.go_wrong(who, step, &mut push);
                    }
                }
                Request::Ended(_) | Request::Dead => {}
            }
        }
        for (at, _) in self.late.iter().enumerate() {
            push(&|world| match world.late.remove(at) {
                Late::Create(record) => drop(world.create(&record)),
                Late::Over(version, record) => drop(world.over(&version, &record)),
            });
        }
        if self.passages > 0 && self.blob.is_some() {
            push(&|world| {
                world.passages -= 1;
                world.now += SENDING_AT_MOST.as_secs() + 1;
            });
        }
        worlds
    }

    /// What may go wrong with a step.
    fn go_wrong(&self, who: usize, step: &Step, push: &mut impl FnMut(&dyn Fn(&mut Self))) {
        let mut wrong = |change: &dyn Fn(&mut Self)| {
            push(&|world| {
                world.mishaps -= 1;
                change(world);
            });
        };
        // The request dies before the step, or after it.
        wrong(&|world| world.requests[who] = Request::Dead);
        wrong(&|world| {
            world.perform(who, step);
            world.requests[who] = Request::Dead;
        });
        // The step comes through, or not, and is not answered.
        let no_answer = match step {
            Step::Create(_) | Step::TakeOver(..) => Event::Unknown,
            Step::Send { .. } => Event::NotAccepted,
            Step::Mark(..) => Event::Marked,
            Step::Look | Step::End(_) => Event::Unavailable,
        };
        wrong(&|world| {
            world.perform(who, step);
            world.tell(who, no_answer.clone());
        });
        wrong(&|world| {
            if world.broken.marks_first && matches!(step, Step::Send { .. }) {
                let blob = world.blob.clone().unwrap();
                world.over(&etag(blob.version), &blob.record.ended(true));
            }
            world.tell(who, no_answer.clone());
        });
        // A write is on its way still when the request goes on.
        let late = match step {
            Step::Create(record) => Late::Create(record.clone()),
            Step::TakeOver(version, record) | Step::Mark(version, record) => {
                Late::Over(version.clone(), record.clone())
            }
            Step::Look | Step::Send { .. } | Step::End(_) => return,
        };
        wrong(&|world| {
            world.late.push(late.clone());
            world.tell(who, no_answer.clone());
        });
    }

    /// What must hold in every state; the name of what does not.
    fn violation(&self) -> Option<&'static str> {
        let accepted: BTreeSet<&str> = self
            .requests
            .iter()
            .zip(&self.payloads)
            .filter(|(request, _)| matches!(request, Request::Ended(Verdict::Accepted { .. })))
            .map(|(_, payload)| *payload)
            .collect();
        if accepted.len() > 1 {
            return Some("two payloads were accepted under one key");
        }
        if self.taken.len() > 1 {
            return Some("two messages were sent under one key");
        }
        if accepted.iter().any(|payload| !self.taken.contains(&("id".to_owned(), (*payload).to_owned()))) {
            return Some("what was accepted is lost");
        }
        None
    }

    fn is_over(&self) -> bool {
        let over = |request: &Request| matches!(request, Request::Ended(_) | Request::Dead);
        self.late.is_empty() && self.requests.iter().all(over)
    }

    /// One more request with this payload, to which nothing happens; it may be told to come again later.
    fn try_again(&self, payload: &'static str) -> Verdict {
        let mut world = Self { now: self.now + SENDING_AT_MOST.as_secs() + 1, ..self.clone() };
        let who = world.requests.len();
        world.payloads.push(payload);
        let mark = Mark::parse("again");
        let (door, step) = Door::new(KeyRecord::first(payload.to_owned(), "q".into(), "id".into(), mark));
        world.requests.push(Request::Running(Box::new(door), step));
        while let Request::Running(_, step) = world.requests[who].clone() {
            let event = world.perform(who, &step);
            world.tell(who, event);
        }
        assert_eq!(world.violation(), None, "after one more request: {self:?}");
        let Request::Ended(verdict) = world.requests.remove(who) else { unreachable!("it is over") };
        verdict
    }
}

/// Goes through every state. Calls `each` with it, and ends with the first violation.
fn explore(first: World, mut each: impl FnMut(&World)) -> Result<usize, &'static str> {
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(world) = open.pop() {
        if let Some(violation) = world.violation() {
            return Err(violation);
        }
        each(&world);
        for next in world.next() {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn whatever_happens_a_key_has_one_payload_nothing_accepted_is_lost_and_the_next_try_heals() {
    let (mut verdicts, mut dead) = (HashSet::new(), 0);
    let states = explore(World::new(&["one", "one", "two"], Broken::default()), |world| {
        for request in &world.requests {
            match request {
                Request::Ended(verdict) => drop(verdicts.insert(std::mem::discriminant(verdict))),
                Request::Dead => dead += 1,
                Request::Waiting | Request::Running(..) => {}
            }
        }
        if !world.is_over() {
            return;
        }
        // Whose the key is, if it is anybody's: one of them is accepted at its next try, the other never.
        let (one, two) = (world.try_again("one"), world.try_again("two"));
        match &world.blob {
            None => assert!(matches!((one, two), (Verdict::Accepted { .. }, Verdict::Accepted { .. }))),
            Some(blob) if blob.record.fingerprint == "one" => {
                assert!(matches!((one, two), (Verdict::Accepted { .. }, Verdict::OtherPayload)), "{world:?}");
            }
            Some(_) => assert!(matches!((one, two), (Verdict::OtherPayload, Verdict::Accepted { .. })), "{world:?}"),
        }
    });
    let states = states.unwrap();
    assert!(states > 10_000, "{states} states");
    // All five verdicts were given, and requests have died: the exploration was not of nothing.
    assert_eq!((verdicts.len(), dead > 0), (5, true));
}

#[test]
fn without_mishaps_one_request_sends_and_the_others_are_told() {
    let calm = World { mishaps: 0, passages: 0, ..World::new(&["one", "one", "one"], Broken::default()) };
    explore(calm, |world| {
        if world.is_over() {
            let accepted = |request: &&Request| matches!(request, Request::Ended(Verdict::Accepted { .. }));
            assert!(world.requests.iter().filter(accepted).count() >= 1);
            assert_eq!(world.blob.as_ref().map(|blob| blob.record.state), Some(State::Sent));
        }
    })
    .unwrap();
}

#[test]
fn what_the_protocol_rests_on_is_needed() {
    let payloads = ["one", "one", "two"];
    let unconditional_create = Broken { unconditional_create: true, ..Broken::default() };
    assert!(explore(World::new(&payloads, unconditional_create), |_| {}).is_err());
    let blind = Broken { blind_to_payload: true, ..Broken::default() };
    assert!(explore(World::new(&payloads, blind), |_| {}).is_err());
    let marks_first = Broken { marks_first: true, ..Broken::default() };
    assert_eq!(explore(World::new(&payloads, marks_first), |_| {}), Err("what was accepted is lost"));
}
