//! Messages that go on to other entities, and what an entity's status and idleness do.

use super::*;

fn chain(names: &[&str]) -> Broker {
    let mut broker = Broker::new(Box::<CountingIds>::default(), true);
    for (at, name) in names.iter().enumerate() {
        let forward_to =
            names.get(at + 1).map(|next| format!("sb://ns.servicebus.windows.net/{}", next.to_uppercase()));
        broker.put_queue(QueueOptions { forward_to, ..(*name).into() }, START);
    }
    broker
}

fn named(id: &str) -> Message {
    let mut message = message(id);
    message.broker.message_id = id.to_owned();
    message
}

fn receive(broker: &mut Broker, path: &str, now: UnixMillis) -> Result<Option<Delivery>, BrokerError> {
    broker.receive(&EntityPath::parse(path), ReceiveMode::PeekLock, now)
}

fn take(broker: &mut Broker, path: &str) -> Option<Delivery> {
    receive(broker, path, START).unwrap()
}

fn property(delivery: &Delivery, name: &str) -> Option<String> {
    let found = delivery.entry.message.properties.iter().find(|(n, _)| n == name)?;
    match &found.1 {
        PropertyValue::Text(text) => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_goes_through_four_entities_with_its_id_and_new_numbers() {
    let mut broker = chain(&["a", "b", "c", "d", "e"]);
    broker.send(&EntityPath::parse("e"), vec![named("first")], START).unwrap();
    broker.send(&EntityPath::parse("a"), vec![named("x"), named("y")], START).unwrap();
    take(&mut broker, "e").unwrap();
    let delivery = take(&mut broker, "e").unwrap();
    assert_eq!(delivery.entry.message.broker.message_id, "x");
    // Its number here, and the one that it had where it was sent.
    assert_eq!((delivery.sequence_number, delivery.enqueued_sequence_number, delivery.entry.deliveries), (2, 1, 1));
    assert_eq!(receive(&mut broker, "a", START), Err(BrokerError::Forwards));
}

#[test]
fn the_fifth_hop_strands_it_where_it_is() {
    for (stranded, place) in
        [(Stranded::TransferDeadLetter, "e/$Transfer/$DeadLetterQueue"), (Stranded::DeadLetter, "e/$DeadLetterQueue")]
    {
        let mut broker = chain(&["a", "b", "c", "d", "e", "f"]);
        broker = broker.with_policy(Policy { stranded, ..Policy::default() });
        broker.send(&EntityPath::parse("a"), vec![named("x")], START).unwrap();
        let dead = take(&mut broker, place).unwrap();
        assert_eq!(property(&dead, "DeadLetterReason").as_deref(), Some("MaxTransferHopCountExceeded"));
        assert_eq!(take(&mut broker, "f"), None);
    }
}

#[test]
fn a_circle_comes_to_an_end() {
    let mut broker = Broker::new(Box::<CountingIds>::default(), true);
    broker.put_queue(QueueOptions { forward_to: Some("q".into()), .."q".into() }, START);
    broker.send(&main_queue(), vec![named("x")], START).unwrap();
    assert_eq!(take(&mut broker, "q/$transfer/$deadletterqueue").unwrap().sequence_number, 5);
}

#[test]
fn a_target_that_cannot_take_it_strands_it_and_says_why() {
    let small = QueueOptions { max_queue_bytes: 10, .."b".into() };
    let disabled = QueueOptions { status: EntityStatus::SendDisabled, .."b".into() };
    for (target, reason) in
        [(None, "MessagingEntityNotFound"), (Some(small), "QuotaExceeded"), (Some(disabled), "MessagingEntityDisabled")]
    {
        let mut broker = chain(&["a", "b"]);
        broker.remove_entity("b", START).unwrap();
        target.into_iter().for_each(|options| broker.put_queue(options, START));
        broker.send(&EntityPath::parse("a"), vec![named("x")], START).unwrap();
        let dead = take(&mut broker, "a/$Transfer/$DeadLetterQueue").unwrap();
        assert_eq!(property(&dead, "DeadLetterReason").as_deref(), Some(reason));
    }
}

#[test]
fn duplicates_are_found_at_the_target_too() {
    let mut broker = chain(&["a", "b"]);
    let options = QueueOptions { requires_duplicate_detection: true, .."b".into() };
    broker.put_queue(options, START);
    broker.send(&EntityPath::parse("b"), vec![named("x")], START).unwrap();
    broker.send(&EntityPath::parse("a"), vec![named("x"), named("y")], START).unwrap();
    assert_eq!(bodies(&mut broker, &EntityPath::parse("b"), START), ["x", "y"]);
}

#[test]
fn dead_letters_go_on_with_their_reason_and_where_they_died() {
    let mut broker = chain(&["a"]);
    broker.put_queue("all-dead".into(), START);
    let options =
        QueueOptions { max_delivery_count: 1, forward_dead_letters_to: Some("all-dead".into()), .."a".into() };
    broker.put_queue(options, START);
    broker.send(&EntityPath::parse("a"), vec![named("x")], START).unwrap();
    take(&mut broker, "a").unwrap();
    let dead = receive(&mut broker, "all-dead", at(60)).unwrap().unwrap();
    assert_eq!(property(&dead, "DeadLetterReason").as_deref(), Some("MaxDeliveryCountExceeded"));
    assert_eq!(dead.entry.message.dead_letter_source.as_deref(), Some("a"));
    assert_eq!((dead.entry.deliveries, dead.entry.enqueued_at), (1, at(60)));
    assert_eq!(receive(&mut broker, "a/$DeadLetterQueue", at(60)), Err(BrokerError::Forwards));
}

#[test]
fn a_subscription_forwards_to_a_topic_and_what_waits_goes_when_forwarding_begins() {
    let mut broker = Broker::new(Box::<CountingIds>::default(), true);
    let all = || {
        vec![Rule { name: "all".into(), created_at: START, filter: Filter::True, action: None, shown: String::new() }]
    };
    for topic in ["one", "two"] {
        broker.put_topic(TopicOptions { name: topic.into(), ..TopicOptions::default() }, START);
        let name = format!("{topic}/subscriptions/s");
        broker.put_subscription(topic, QueueOptions { name, ..QueueOptions::default() }, all(), START).unwrap();
    }
    broker.send(&EntityPath::parse("one"), vec![named("x")], START).unwrap();
    broker.put_queue(QueueOptions { forward_to: Some("two".into()), .."one/subscriptions/s".into() }, at(1));
    let delivery = receive(&mut broker, "two/subscriptions/s", at(1)).unwrap().unwrap();
    assert_eq!((delivery.enqueued_sequence_number, delivery.entry.enqueued_at), (1, at(1)));
}

#[test]
fn a_status_lets_through_what_it_does_not_name() {
    let sends = |broker: &mut Broker| broker.send(&main_queue(), vec![message("m")], START);
    for (status, may_send, may_receive) in [
        (EntityStatus::Active, true, true),
        (EntityStatus::Disabled, false, false),
        (EntityStatus::SendDisabled, false, true),
        (EntityStatus::ReceiveDisabled, true, false),
    ] {
        let mut broker = broker(QueueOptions::default());
        sends(&mut broker).unwrap();
        let (which, token) = key(&take(&mut broker, "q").unwrap());
        broker.put_queue(QueueOptions { status, .."q".into() }, START);
        let refused = |traffic| Err(BrokerError::Disabled(traffic));
        let expected = if may_send { Ok(()) } else { refused(Traffic::Send) };
        assert_eq!(sends(&mut broker), expected, "{status:?}");
        let expected = if may_receive { Ok(()) } else { refused(Traffic::Receive) };
        assert_eq!(receive(&mut broker, "q", START).map(|_| ()), expected, "{status:?}");
        assert_eq!(broker.complete(&main_queue(), &which, token, START), expected, "{status:?}");
    }
}

#[test]
fn who_is_idle_for_long_enough_is_gone() {
    let idle = Some(Duration::from_secs(300));
    let mut broker = broker(QueueOptions { auto_delete_on_idle: idle, ..QueueOptions::default() });
    send(&mut broker, "m", at(100));
    // A receive counts, with or without a message; a scheduled message keeps the queue.
    peek_lock(&mut broker, at(300));
    assert!(receive(&mut broker, "q", at(599)).is_ok());
    let mut later = message("later");
    later.broker.scheduled_enqueue_time = Some(at(2000));
    broker.send(&main_queue(), vec![later], at(600)).unwrap();
    broker.advance(at(2299));
    assert!(broker.contains(&main_queue()));
    broker.take_outbox();
    broker.advance(at(2300));
    assert!(!broker.contains(&main_queue()));
    assert!(broker.take_outbox().ready.contains(&main_queue()));
    assert_eq!(broker.next_event(), None);
}

#[test]
fn a_topic_is_kept_by_what_happens_at_its_subscriptions() {
    let mut broker = Broker::new(Box::<CountingIds>::default(), true);
    let auto_delete_on_idle = Some(Duration::from_secs(300));
    broker.put_topic(TopicOptions { name: "t".into(), auto_delete_on_idle, ..TopicOptions::default() }, START);
    broker.put_subscription("t", "t/subscriptions/s".into(), Vec::new(), START).unwrap();
    receive(&mut broker, "t/subscriptions/s", at(200)).unwrap();
    broker.advance(at(499));
    assert!(broker.topic("t").is_some());
    broker.advance(at(500));
    assert!(broker.topic("t").is_none() && broker.queue_options("t/subscriptions/s").is_none());
}

#[test]
fn without_a_session_id_a_message_is_dead_where_sessions_are_required() {
    let mut broker = broker(QueueOptions { requires_session: true, ..QueueOptions::default() });
    let mut with = message("with");
    with.broker.session_id = Some("s".to_owned());
    broker.send(&main_queue(), vec![with, message("without")], START).unwrap();
    assert_eq!(bodies(&mut broker, &main_queue(), START), ["with"]);
    assert_eq!(receive(&mut broker, "q", START), Err(BrokerError::RequiresSession));
    let dead = take(&mut broker, "q/$DeadLetterQueue").unwrap();
    assert_eq!(property(&dead, "DeadLetterReason").as_deref(), Some("Session ID is null."));
    let mut broker = broker.with_policy(Policy { session_less: SessionLess::Refused, ..Policy::default() });
    let refused = broker.send(&main_queue(), vec![message("without")], START);
    assert_eq!(refused, Err(BrokerError::InvalidProperty("Session ID is null")));
}

#[test]
fn properties_have_their_documented_sizes() {
    let mut broker = broker(QueueOptions::default());
    let text = |size: usize| PropertyValue::Text("x".repeat(size));
    let mut with = |properties: Vec<(&str, PropertyValue)>| {
        let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        broker.send(&main_queue(), vec![Message { properties, ..message("m") }], START).is_ok()
    };
    assert!(with(vec![("n", text(32 * 1024 - 1))]));
    assert!(!with(vec![("n", text(32 * 1024))]));
    assert!(!with(vec![("a", text(30_000)), ("b", text(30_000)), ("c", text(6_000))]));
}
