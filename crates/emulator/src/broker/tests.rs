//! The broker's behaviour, told as cases, and compared with a simple model under random operations.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::ids::CountingIds;
use crate::time::UnixMillis;

mod forwarding;
mod model;
mod topics;

const START: UnixMillis = UnixMillis(1_795_132_800_000);

fn at(seconds: u64) -> UnixMillis {
    START.after(Duration::from_secs(seconds))
}

fn broker(mut options: QueueOptions) -> Broker {
    let mut broker = Broker::new(Box::<CountingIds>::default(), true);
    options.name = "Q".to_owned();
    broker.put_queue(options, START);
    broker
}

fn main_queue() -> EntityPath {
    EntityPath::parse("q")
}

fn dead_letters() -> EntityPath {
    EntityPath::parse("q/$DeadLetterQueue")
}

fn message(body: &str) -> Message {
    Message { body: Bytes::copy_from_slice(body.as_bytes()), ..Message::default() }
}

fn send(broker: &mut Broker, body: &str, now: UnixMillis) {
    broker.send(&main_queue(), vec![message(body)], now).unwrap();
}

fn peek_lock(broker: &mut Broker, now: UnixMillis) -> Option<Delivery> {
    broker.receive(&main_queue(), ReceiveMode::PeekLock, now).unwrap()
}

fn body(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.entry.message.body).unwrap()
}

fn key(delivery: &Delivery) -> (MessageRef, Uuid) {
    (MessageRef(delivery.sequence_number.to_string()), delivery.entry.lock.unwrap().token)
}

fn bodies(broker: &mut Broker, path: &EntityPath, now: UnixMillis) -> Vec<String> {
    broker.advance(now);
    let text = |s: Standing| String::from_utf8(s.entry.message.body.to_vec()).unwrap();
    broker.messages(path).into_iter().map(text).collect()
}

#[test]
fn first_in_first_out_with_abandoned_messages_ahead() {
    let mut broker = broker(QueueOptions::default());
    for text in ["1", "2", "3"] {
        send(&mut broker, text, at(0));
    }
    let first = peek_lock(&mut broker, at(0)).unwrap();
    let second = peek_lock(&mut broker, at(0)).unwrap();
    assert_eq!((body(&first), body(&second)), ("1", "2"));
    let (which, token) = key(&first);
    broker.abandon(&main_queue(), &which, token, at(1)).unwrap();
    let again = peek_lock(&mut broker, at(1)).unwrap();
    assert_eq!((body(&again), again.entry.deliveries), ("1", 2));
    assert_ne!(key(&again).1, token);
}

#[test]
fn a_lock_ends_on_time_and_its_token_is_worth_nothing_after() {
    let mut broker = broker(QueueOptions::default());
    send(&mut broker, "m", at(0));
    let delivery = peek_lock(&mut broker, at(0)).unwrap();
    assert_eq!(delivery.entry.lock.unwrap().until, at(60));
    assert_eq!(broker.next_event(), Some(at(60)));
    let just_before = UnixMillis(at(60).0 - 1);
    assert!(peek_lock(&mut broker, just_before).is_none());
    let (which, token) = key(&delivery);
    assert_eq!(broker.complete(&main_queue(), &which, token, at(60)), Err(BrokerError::LockLost));
    assert_eq!(peek_lock(&mut broker, at(60)).unwrap().entry.deliveries, 2);
}

#[test]
fn renewing_keeps_the_token_and_counts_from_the_renewal() {
    let mut broker = broker(QueueOptions::default());
    send(&mut broker, "m", at(0));
    let (which, token) = key(&peek_lock(&mut broker, at(0)).unwrap());
    assert_eq!(broker.renew(&main_queue(), &which, token, at(50)), Ok(at(110)));
    assert!(peek_lock(&mut broker, at(109)).is_none());
    assert_eq!(broker.complete(&main_queue(), &which, token, at(109)), Ok(()));
    assert!(bodies(&mut broker, &main_queue(), at(500)).is_empty());
}

#[test]
fn a_message_is_settled_by_number_or_by_id_and_by_nothing_else() {
    let mut broker = broker(QueueOptions::default());
    let mut named = message("m");
    named.broker.message_id = "order 7".to_owned();
    broker.send(&main_queue(), vec![named], at(0)).unwrap();
    let (_, token) = key(&peek_lock(&mut broker, at(0)).unwrap());
    let by = |text: &str| MessageRef(text.to_owned());
    assert_eq!(broker.renew(&main_queue(), &by("2"), token, at(1)), Err(BrokerError::LockLost));
    assert_eq!(broker.renew(&main_queue(), &by("1"), Uuid::nil(), at(1)), Err(BrokerError::LockLost));
    assert_eq!(broker.renew(&main_queue(), &by("1"), token, at(1)), Ok(at(61)));
    assert_eq!(broker.complete(&main_queue(), &by("order 7"), token, at(1)), Ok(()));
    assert_eq!(broker.complete(&main_queue(), &by("1"), token, at(1)), Err(BrokerError::LockLost));
}

#[test]
fn after_the_last_delivery_there_is_no_further_one() {
    let mut broker = broker(QueueOptions { max_delivery_count: 2, ..QueueOptions::default() });
    send(&mut broker, "poison", at(0));
    let (which, token) = key(&peek_lock(&mut broker, at(0)).unwrap());
    broker.abandon(&main_queue(), &which, token, at(0)).unwrap();
    assert_eq!(peek_lock(&mut broker, at(1)).unwrap().entry.deliveries, 2);
    // The second lock ends by itself.
    assert!(peek_lock(&mut broker, at(61)).is_none());
    let dead = broker.receive(&dead_letters(), ReceiveMode::PeekLock, at(61)).unwrap().unwrap();
    let text = |name: &str| dead.entry.message.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    assert_eq!(text("DeadLetterReason"), Some(PropertyValue::Text("MaxDeliveryCountExceeded".into())));
    let description = "Message could not be consumed after 2 delivery attempts.";
    assert_eq!(text("DeadLetterErrorDescription"), Some(PropertyValue::Text(description.into())));
    // A dead letter is dead-lettered no further.
    for round in 2..20 {
        assert!(broker.receive(&dead_letters(), ReceiveMode::PeekLock, at(61 * round)).unwrap().is_some());
    }
}

#[test]
fn expired_messages_vanish_or_are_dead_lettered_but_a_locked_one_may_still_be_completed() {
    let mortal = || {
        let mut message = message("mortal");
        message.broker.time_to_live = Some(Duration::from_secs(10));
        message
    };
    for dead_lettering_on_expiration in [false, true] {
        let mut broker = broker(QueueOptions { dead_lettering_on_expiration, ..QueueOptions::default() });
        broker.send(&main_queue(), vec![mortal()], at(0)).unwrap();
        assert_eq!(bodies(&mut broker, &main_queue(), at(9)).len(), 1);
        assert!(bodies(&mut broker, &main_queue(), at(10)).is_empty());
        let dead = usize::from(dead_lettering_on_expiration);
        assert_eq!(bodies(&mut broker, &dead_letters(), at(10)).len(), dead);

        broker.send(&main_queue(), vec![mortal(), mortal()], at(20)).unwrap();
        let (which, token) = key(&peek_lock(&mut broker, at(20)).unwrap());
        peek_lock(&mut broker, at(20)).unwrap();
        assert_eq!(broker.complete(&main_queue(), &which, token, at(40)), Ok(()));
        // The other one expires when its lock ends.
        assert!(bodies(&mut broker, &main_queue(), at(80)).is_empty());
        assert_eq!(bodies(&mut broker, &dead_letters(), at(80)).len(), 2 * dead);
    }
}

#[test]
fn the_queue_caps_the_time_to_live() {
    let ttl = Some(Duration::from_secs(5));
    let mut broker = broker(QueueOptions { default_time_to_live: ttl, ..QueueOptions::default() });
    let mut long = message("long");
    long.broker.time_to_live = Some(Duration::from_secs(50));
    broker.send(&main_queue(), vec![long, message("none")], at(0)).unwrap();
    for standing in broker.messages(&main_queue()) {
        assert_eq!(standing.entry.message.broker.time_to_live, ttl);
    }
    assert!(bodies(&mut broker, &main_queue(), at(5)).is_empty());
}

#[test]
fn a_scheduled_message_gets_its_number_and_time_when_it_is_due() {
    let mut broker = broker(QueueOptions::default());
    let mut later = message("later");
    later.broker.scheduled_enqueue_time = Some(at(30));
    broker.send(&main_queue(), vec![later, message("now")], at(0)).unwrap();
    assert_eq!(broker.counts(&main_queue()).unwrap().scheduled, 1);
    assert_eq!(body(&peek_lock(&mut broker, at(0)).unwrap()), "now");
    assert!(peek_lock(&mut broker, at(29)).is_none());
    let delivery = peek_lock(&mut broker, at(45)).unwrap();
    assert_eq!((body(&delivery), delivery.sequence_number, delivery.entry.enqueued_at), ("later", 2, at(30)));
}

#[test]
fn duplicates_are_accepted_and_dropped_within_the_window() {
    let window = Duration::from_secs(60);
    let options = QueueOptions {
        requires_duplicate_detection: true,
        duplicate_detection_window: window,
        ..QueueOptions::default()
    };
    let mut broker = broker(options);
    let named = |id: &str| {
        let mut message = message(id);
        message.broker.message_id = id.to_owned();
        message
    };
    broker.send(&main_queue(), vec![named("a"), named("a"), named("b")], at(0)).unwrap();
    broker.send(&main_queue(), vec![named("a")], at(59)).unwrap();
    assert_eq!(bodies(&mut broker, &main_queue(), at(59)), ["a", "b"]);
    let mut scheduled = named("b");
    scheduled.broker.scheduled_enqueue_time = Some(at(100));
    broker.send(&main_queue(), vec![scheduled], at(59)).unwrap();
    assert_eq!(broker.counts(&main_queue()).unwrap().scheduled, 0);
    broker.send(&main_queue(), vec![named("a")], at(60)).unwrap();
    assert_eq!(bodies(&mut broker, &main_queue(), at(60)), ["a", "b", "a"]);
    // Without an id of its own a message is never a duplicate.
    broker.send(&main_queue(), vec![message("x"), message("y")], at(60)).unwrap();
    assert_eq!(broker.counts(&main_queue()).unwrap().total, 5);
}

#[test]
fn a_batch_is_accepted_whole_or_not_at_all() {
    let mut broker = broker(QueueOptions { max_message_bytes: 100, max_queue_bytes: 250, ..QueueOptions::default() });
    let mut bad = message("bad");
    bad.broker.session_id = Some("s".to_owned());
    bad.broker.partition_key = Some("p".to_owned());
    let refused = broker.send(&main_queue(), vec![message("good"), bad], at(0));
    assert!(matches!(refused, Err(BrokerError::InvalidProperty(_))));
    let refused = broker.send(&main_queue(), vec![message(&"x".repeat(60)), message(&"y".repeat(60))], at(0));
    assert_eq!(refused, Err(BrokerError::TooLarge { size: 120, limit: 100 }));
    assert!(broker.messages(&main_queue()).is_empty());
    // Each is 60 bytes, the 32 of a drawn id, and what the broker adds.
    broker.send(&main_queue(), vec![message(&"x".repeat(60))], at(0)).unwrap();
    let refused = broker.send(&main_queue(), vec![message(&"x".repeat(60))], at(0));
    assert_eq!(refused, Err(BrokerError::QuotaExceeded { limit: 250 }));
    let mut long = message("");
    long.broker.message_id = "x".repeat(129);
    let refused = broker.send(&main_queue(), vec![long], at(0));
    assert_eq!(refused, Err(BrokerError::TooLarge { size: 129, limit: 100 }));
}

#[test]
fn a_session_id_is_a_partition_key_too() {
    let mut broker = broker(QueueOptions::default());
    let mut message = message("m");
    message.broker.session_id = Some("s".to_owned());
    broker.send(&main_queue(), vec![message.clone()], at(0)).unwrap();
    let seen = &broker.messages(&main_queue())[0].entry.message.broker;
    assert_eq!(seen.partition_key.as_deref(), Some("s"));
    message.broker.partition_key = Some("other".to_owned());
    assert!(broker.send(&main_queue(), vec![message], at(0)).is_err());
}

#[test]
fn what_could_not_be_handed_over_was_never_delivered() {
    for mode in [ReceiveMode::PeekLock, ReceiveMode::ReceiveAndDelete] {
        let mut broker = broker(QueueOptions::default());
        for text in ["1", "2"] {
            send(&mut broker, text, at(0));
        }
        let before = bodies(&mut broker, &main_queue(), at(0));
        let lost = broker.receive(&main_queue(), mode, at(0)).unwrap().unwrap();
        broker.give_back(&main_queue(), lost, at(1));
        assert_eq!(bodies(&mut broker, &main_queue(), at(1)), before);
        let delivery = peek_lock(&mut broker, at(1)).unwrap();
        assert_eq!((body(&delivery), delivery.entry.deliveries), ("1", 1));
    }
}

#[test]
fn names_know_no_case_and_absent_entities_are_said_to_be_absent() {
    let mut broker = broker(QueueOptions::default());
    assert!(broker.contains(&EntityPath::parse("/Q/")));
    let nowhere = EntityPath::parse("nowhere");
    assert_eq!(broker.send(&nowhere, vec![message("m")], at(0)), Err(BrokerError::NotFound));
    assert_eq!(broker.receive(&nowhere, ReceiveMode::PeekLock, at(0)), Err(BrokerError::NotFound));
    assert_eq!(broker.send(&dead_letters(), vec![message("m")], at(0)), Err(BrokerError::NotSendable));
    assert_eq!(broker.remove_entity("q", at(0)), Ok(()));
    assert_eq!(broker.remove_entity("q", at(0)), Err(BrokerError::NotFound));
}

#[test]
fn whoever_waits_is_told_where_messages_came() {
    let mut broker = broker(QueueOptions { max_delivery_count: 1, ..QueueOptions::default() });
    broker.take_outbox();
    broker.send(&main_queue(), vec![message("1"), message("2")], at(0)).unwrap();
    assert_eq!(broker.take_outbox().ready, [main_queue()]);
    peek_lock(&mut broker, at(0)).unwrap();
    assert!(broker.take_outbox().ready.is_empty());
    broker.advance(at(60));
    assert_eq!(broker.take_outbox().ready, [dead_letters()]);
}
