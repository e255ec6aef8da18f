//! What all clients know together, and what must follow from it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::clients::{Event, Lock};
use crate::program::Program;
use crate::support::Bus;
use crate::{LATER, ONCE, QUEUE, SUBSCRIPTION};

/// How sure something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Sure {
    #[default]
    No,
    Perhaps,
    Yes,
}

/// What is known of one message.
#[derive(Debug, Default)]
struct Known {
    sent: Sure,
    gone: Sure,
    deliveries: u64,
    /// Locks that were not given back.
    held: Vec<Lock>,
    renewed: bool,
}

type Key = (&'static str, String);

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    messages: BTreeMap<Key, Known>,
    batches: Vec<Vec<Key>>,
    /// Ids that went to the queue without duplicates, and whether one of them was answered.
    ids: BTreeMap<String, bool>,
    /// The highest number that was seen, by entity.
    numbers: BTreeMap<&'static str, u64>,
    /// How many messages may be gone whose bodies nobody saw.
    taken_unseen: usize,
}

impl Ledger {
    /// Adds what one client knows.
    pub(crate) fn note(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Sent { entity, bodies, answered } => {
                    let sent = if answered { Sure::Yes } else { Sure::Perhaps };
                    let keys: Vec<Key> = bodies.into_iter().map(|body| (entity, body)).collect();
                    for key in &keys {
                        let known = self.messages.entry(key.clone()).or_default();
                        known.sent = known.sent.max(sent);
                    }
                    if keys.len() > 1 {
                        self.batches.push(keys);
                    }
                }
                Event::Once { id, answered } => *self.ids.entry(id).or_default() |= answered,
                Event::Locked(lock) => {
                    let highest = self.numbers.entry(lock.entity).or_default();
                    *highest = (*highest).max(lock.number);
                    let known = self.known(lock.entity, lock.body.clone());
                    known.sent = Sure::Yes;
                    known.deliveries = known.deliveries.max(lock.deliveries);
                    known.held.push(lock);
                }
                Event::Renewed { entity, body } => self.known(entity, body).renewed = true,
                Event::Released { entity, body } => drop(self.known(entity, body).held.pop()),
                Event::Gone { entity, body } => {
                    let known = self.known(entity, body);
                    known.sent = Sure::Yes;
                    assert_ne!(known.gone, Sure::Yes, "completed twice: {known:?}");
                    known.gone = Sure::Yes;
                    known.held.clear();
                }
                Event::PerhapsGone { body, .. } if body.is_empty() => self.taken_unseen += 1,
                Event::PerhapsGone { entity, body } => {
                    let known = self.known(entity, body);
                    known.gone = known.gone.max(Sure::Perhaps);
                    known.held.clear();
                }
            }
        }
    }

    fn known(&mut self, entity: &'static str, body: String) -> &mut Known {
        self.messages.entry((entity, body)).or_default()
    }

    /// Holds the state after a restart against what is known, and settles what was not sure by it.
    pub(crate) fn check(&mut self, state: &Value) -> String {
        let mut found: BTreeMap<Key, Value> = BTreeMap::new();
        for entity in [QUEUE, SUBSCRIPTION, LATER, ONCE] {
            for message in state["entities"][entity]["messages"].as_array().unwrap() {
                let key = (entity, message["body"].as_str().unwrap().to_owned());
                let twice = found.insert(key, message.clone());
                assert!(twice.is_none(), "{entity} has a message twice: {message}");
            }
            let dead = &state["entities"][format!("{entity}/$DeadLetterQueue")]["messages"];
            assert!(dead.as_array().unwrap().is_empty(), "{entity} has dead letters: {dead}");
        }
        let (mut lost, mut unseen) = (Vec::new(), self.taken_unseen);
        for (key, known) in &mut self.messages {
            match found.get(key) {
                Some(message) => {
                    assert_ne!(known.gone, Sure::Yes, "{key:?} was completed and is back");
                    check_message(key, known, message);
                    (known.sent, known.gone) = (Sure::Yes, Sure::No);
                }
                None if known.sent == Sure::Yes
                    && known.gone == Sure::No
                    && known.held.is_empty()
                    && unseen > 0
                    && key.0 == QUEUE =>
                {
                    // The one that was taken and not told.
                    unseen -= 1;
                    known.gone = Sure::Yes;
                }
                None if known.sent == Sure::Yes && known.gone == Sure::No => lost.push(key.clone()),
                None if known.sent == Sure::Yes => known.gone = Sure::Yes,
                None => known.sent = Sure::No,
            }
        }
        assert!(lost.is_empty(), "{} accepted messages are lost: {lost:?}", lost.len());
        let unknown = found.keys().find(|key| key.0 != ONCE && !self.messages.contains_key(*key));
        assert!(unknown.is_none(), "nobody sent {unknown:?}");
        for batch in self.batches.drain(..) {
            let sent: BTreeSet<Sure> = batch.iter().map(|key| self.messages[key].sent).collect();
            assert_eq!(sent.len(), 1, "a part of a batch is there: {batch:?}");
        }
        for (id, answered) in &mut self.ids {
            let is_there = found.contains_key(&(ONCE, id.clone()));
            assert!(is_there || !*answered, "{id} was accepted and is lost");
            *answered = is_there;
        }
        self.taken_unseen = 0;
        let held = self.messages.values().map(|known| known.held.len()).sum::<usize>();
        let gone = self.messages.values().filter(|known| known.gone == Sure::Yes).count();
        format!("{} messages sent, {gone} of them gone, {held} held; {} ids", self.messages.len(), self.ids.len())
    }

    /// Locks keep others out, and are good for a settlement.
    pub(crate) async fn settle_what_is_held(&mut self, program: &Program) {
        let bus = Bus::new(&program.service_bus);
        let held: BTreeMap<Key, Lock> =
            self.messages.iter().filter_map(|(key, known)| Some((key.clone(), known.held.last()?.clone()))).collect();
        for entity in [QUEUE, SUBSCRIPTION] {
            for _ in 0..5 {
                let Some(message) = bus.peek_lock(entity, 0).await else { break };
                assert!(!held.contains_key(&(entity, message.body.clone())), "{} is locked twice", message.body);
                let number = message.broker["SequenceNumber"].as_u64().unwrap();
                let highest = self.numbers.entry(entity).or_default();
                *highest = (*highest).max(number);
                assert_eq!(bus.abandon(&message.location).await, 200);
            }
            // A number that was seen is not given out again.
            let body = format!("after {} in {entity}", self.messages.len());
            assert_eq!(bus.send(entity.split('/').next().unwrap(), &body).await, 201);
            let state = program.state().await;
            let messages = state["entities"][entity]["messages"].as_array().unwrap().clone();
            let newest = messages.iter().find(|message| message["body"] == body.as_str()).unwrap();
            let number = newest["sequence_number"].as_u64().unwrap();
            assert!(number > self.numbers.get(entity).copied().unwrap_or(0), "{number} of {entity} was seen before");
            self.known(entity, body).sent = Sure::Yes;
        }
        for (key, lock) in held {
            assert_eq!(bus.complete(&lock.path).await, 200, "{lock:?}");
            assert_eq!(bus.complete(&lock.path).await, 404, "{lock:?}");
            let known = self.messages.get_mut(&key).unwrap();
            known.gone = Sure::Yes;
            known.held.clear();
        }
    }

    /// What was accepted is a duplicate now.
    pub(crate) async fn check_that_ids_are_remembered(&self, program: &Program) {
        let bus = Bus::new(&program.service_bus);
        let ids: Vec<&String> = self.ids.iter().filter(|(_, there)| **there).map(|(id, _)| id).collect();
        for id in ids.iter().rev().take(20) {
            let url = format!("{}/{ONCE}/messages", bus.url);
            let request = bus.http.post(url).header("authorization", &bus.token);
            let request = request.header("brokerproperties", format!("{{\"MessageId\":\"{id}\"}}"));
            assert_eq!(request.body("a duplicate").send().await.unwrap().status(), 201);
        }
        let state = program.state().await;
        let found = state["entities"][ONCE]["messages"].as_array().unwrap();
        let duplicates = found.iter().filter(|message| message["body"] == "a duplicate").count();
        assert_eq!((duplicates, found.len()), (0, ids.len()));
    }

    /// Receives and completes all that is left: each message once, and no other.
    pub(crate) async fn receive_everything(&self, program: &Program) {
        let bus = Bus::new(&program.service_bus);
        let there = self.messages.iter().filter(|(_, known)| known.sent == Sure::Yes && known.gone != Sure::Yes);
        let mut expected: BTreeSet<Key> = there.map(|(key, _)| key.clone()).collect();
        expected.extend(self.ids.iter().filter(|(_, there)| **there).map(|(id, _)| (ONCE, id.clone())));
        let total = expected.len();
        for entity in [QUEUE, SUBSCRIPTION, LATER, ONCE] {
            while let Some(message) = bus.peek_lock(entity, 0).await {
                let key = (entity, message.body.clone());
                assert!(expected.remove(&key), "{key:?} came twice, or should be gone");
                assert_eq!(bus.complete(&message.location).await, 200);
            }
        }
        assert!(expected.is_empty(), "{} messages do not come: {expected:?}", expected.len());
        println!("{total} messages were left, and came once");
    }
}

/// A message that is there against what is known of it.
fn check_message(key: &Key, known: &Known, message: &Value) {
    let deliveries = message["delivery_count"].as_u64().unwrap();
    assert!(deliveries >= known.deliveries, "{key:?} was delivered {} times: {message}", known.deliveries);
    assert!(known.held.len() <= 1, "{key:?} was locked twice at a time: {:?}", known.held);
    if let Some(lock) = known.held.last() {
        assert_eq!(message["state"], "locked", "{key:?} lost its lock: {message}");
        let until = message["locked_until"].as_i64().unwrap() / 1000;
        assert!(until == lock.until || (known.renewed && until > lock.until), "{key:?}: {lock:?}, {message}");
    }
    if key.0 == LATER {
        assert_eq!(message["state"], "scheduled", "{message}");
    }
}
