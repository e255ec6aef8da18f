//! Topics: who gets a copy, with which numbers, and what a restart keeps.

use super::*;

fn rule(name: &str, filter: Filter, action: Option<&str>) -> Rule {
    let action = action.map(|text| Action(Statements::parse(text, &Parameters::new()).unwrap()));
    Rule { name: name.into(), created_at: START, filter, action, shown: String::new() }
}

fn sql(text: &str) -> Filter {
    Filter::Sql(Condition::parse(text, &Parameters::new()).unwrap())
}

fn topic(subscriptions: Vec<(&str, Vec<Rule>)>) -> Broker {
    let mut broker = Broker::new(Box::<CountingIds>::default(), true);
    broker.put_topic(TopicOptions { name: "T".into(), ..TopicOptions::default() }, START);
    for (name, rules) in subscriptions {
        let name = format!("T/Subscriptions/{name}");
        broker
            .put_subscription(
                "T",
                QueueOptions { name, max_delivery_count: 1, ..QueueOptions::default() },
                rules,
                START,
            )
            .unwrap();
    }
    broker
}

fn numbered(number: i64) -> Message {
    Message { properties: vec![("number".into(), PropertyValue::Integer(number))], ..message("m") }
}

fn receive(broker: &mut Broker, path: &str) -> Option<Delivery> {
    broker.receive(&EntityPath::parse(path), ReceiveMode::PeekLock, START).unwrap()
}

#[test]
fn each_matching_subscription_gets_one_copy_with_its_own_number() {
    let large = vec![rule("large", sql("number > 40"), None), rule("also", sql("number > 41"), None)];
    let mut broker =
        topic(vec![("all", vec![rule("$Default", Filter::True, None)]), ("large", large), ("none", vec![])]);
    let path = EntityPath::parse("t");
    broker.send(&path, vec![numbered(1), numbered(42)], START).unwrap();
    let numbers = |delivery: Delivery| (delivery.sequence_number, delivery.enqueued_sequence_number);
    assert_eq!(receive(&mut broker, "t/subscriptions/all").map(numbers), Some((1, 1)));
    assert_eq!(receive(&mut broker, "t/subscriptions/all").map(numbers), Some((2, 2)));
    assert_eq!(receive(&mut broker, "t/subscriptions/large").map(numbers), Some((1, 2)));
    assert_eq!(receive(&mut broker, "t/subscriptions/large"), None);
    assert_eq!(receive(&mut broker, "t/subscriptions/none"), None);
    assert_eq!(broker.receive(&path, ReceiveMode::PeekLock, START), Err(BrokerError::NotFound));
}

#[test]
fn each_rule_with_an_action_makes_a_copy_of_its_own() {
    let rules = vec![
        rule("plain", Filter::True, None),
        rule("five", Filter::True, Some("SET number = 5")),
        rule("not", Filter::False, Some("SET number = 6")),
    ];
    let mut broker = topic(vec![("s", rules)]);
    broker.send(&EntityPath::parse("t"), vec![numbered(1)], START).unwrap();
    let plain = receive(&mut broker, "t/subscriptions/s").unwrap();
    assert_eq!(plain.entry.message.properties, numbered(1).properties);
    let changed = receive(&mut broker, "t/subscriptions/s").unwrap();
    let expected =
        vec![("number".into(), PropertyValue::Integer(5)), ("RuleName".into(), PropertyValue::Text("five".into()))];
    assert_eq!(changed.entry.message.properties, expected);
    assert_eq!(receive(&mut broker, "t/subscriptions/s"), None);
}

#[test]
fn subscriptions_have_dead_letters_and_go_with_their_topic() {
    let mut broker = topic(vec![("s", vec![rule("$Default", Filter::True, None)])]);
    broker.send(&EntityPath::parse("t"), vec![message("m")], START).unwrap();
    let delivery = receive(&mut broker, "t/subscriptions/s").unwrap();
    let (which, token) = key(&delivery);
    broker.abandon(&EntityPath::parse("t/subscriptions/s"), &which, token, START).unwrap();
    assert!(receive(&mut broker, "t/subscriptions/s/$DeadLetterQueue").is_some());
    broker.remove_entity("t", START).unwrap();
    assert!(!broker.contains(&EntityPath::parse("t/subscriptions/s")));
}

#[test]
fn a_topic_is_made_again_from_its_rows() {
    let mut broker = topic(vec![("s", vec![rule("$Default", sql("number > 40"), None)])]);
    broker.send(&EntityPath::parse("t"), vec![numbered(42)], START).unwrap();
    let mut again = Broker::new(Box::<CountingIds>::default(), true);
    for change in broker.take_outbox().changes {
        // As a store would keep them: descriptions as JSON.
        let change = match change {
            Change::Topic { key, options: Some(options), next_sequence, active_at } => {
                let options = serde_json::from_str(&serde_json::to_string(&options).unwrap()).unwrap();
                Change::Topic { key, options: Some(options), next_sequence, active_at }
            }
            other => other,
        };
        again.restore(change);
    }
    again.send(&EntityPath::parse("t"), vec![numbered(1), numbered(43)], START).unwrap();
    let mut numbers = Vec::new();
    while let Some(delivery) = receive(&mut again, "t/subscriptions/s") {
        numbers.push(delivery.enqueued_sequence_number);
    }
    assert_eq!(numbers, [1, 3]);
}

#[test]
fn rules_look_at_a_scheduled_message_when_it_is_due() {
    let mut broker = topic(vec![("s", vec![rule("small", sql("number < 40"), None)])]);
    let later = || {
        let mut later = numbered(42);
        later.broker.scheduled_enqueue_time = Some(at(30));
        later
    };
    let path = EntityPath::parse("t");
    broker.send(&path, vec![later(), later(), numbered(1)], START).unwrap();
    assert_eq!(broker.counts(&path).unwrap().scheduled, 2);
    let rules = vec![rule("large", sql("number > 40"), None)];
    broker.put_subscription("t", "T/Subscriptions/s".into(), rules, at(10)).unwrap();
    let subscription = EntityPath::parse("t/subscriptions/s");
    broker.advance(at(29));
    assert_eq!(broker.messages(&subscription).len(), 1);
    let next = broker.next_event();
    assert_eq!(next, Some(at(30)));
    broker.advance(at(100));
    let seen: Vec<_> = broker
        .messages(&subscription)
        .into_iter()
        .map(|s| (s.entry.message.enqueued_sequence_number, s.entry.enqueued_at))
        .collect();
    assert_eq!(seen, [(1, START), (2, at(30)), (3, at(30))]);
    assert_eq!(broker.counts(&path).unwrap().scheduled, 0);
}

#[test]
fn a_topic_is_full_when_its_subscriptions_are() {
    let all = || vec![rule("$Default", Filter::True, None)];
    let mut broker = topic(vec![("a", all()), ("b", all())]);
    let options = TopicOptions { name: "T".into(), max_topic_bytes: 1000, ..TopicOptions::default() };
    broker.put_topic(options, START);
    let path = EntityPath::parse("t");
    // A message takes 113 bytes in each of the two; one that has no id yet is thought 32 smaller.
    let sent = (0..10).filter(|_| broker.send(&path, vec![message("m")], START).is_ok()).count();
    assert_eq!(sent, 5);
}
