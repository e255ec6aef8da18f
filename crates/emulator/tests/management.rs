//! The management plane as a client sees it, beyond what the recordings show.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use oncebus_emulator::{AccessRule, Claim, Emulator, Options, Store};
use reqwest::{Method, Response};
use support::{Bus, token};

async fn start(options: Options) -> (Emulator, Bus) {
    let emulator = Emulator::start(options).await.unwrap();
    let bus = Bus::new(&emulator.service_bus_url());
    (emulator, bus)
}

async fn put(bus: &Bus, path: &str, description: &str) -> Response {
    let url = format!("{}/{path}?api-version=2021-05", bus.url);
    let body = format!("<entry xmlns=\"http://www.w3.org/2005/Atom\"><content>{description}</content></entry>");
    bus.http.put(url).header("authorization", &bus.token).body(body).send().await.unwrap()
}

async fn get(bus: &Bus, path: &str) -> String {
    bus.request(Method::GET, path).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn lists_come_in_pages_that_lead_to_the_next() {
    let (emulator, bus) = start(Options::default()).await;
    for number in 0..5 {
        assert_eq!(put(&bus, &format!("q{number}"), "<QueueDescription/>").await.status(), 201);
    }
    let mut path = "$Resources/queues?$top=2&api-version=2021-05".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = get(&bus, &path).await;
        sizes.push(page.matches("<entry ").count());
        let Some((_, next)) = page.split_once("<link rel=\"next\" href=\"") else { break };
        path = next.split_once('"').unwrap().0.replace("&amp;", "&");
    }
    assert_eq!(sizes, [2, 2, 1]);
    let empty = get(&bus, "$Resources/queues?$top=0&api-version=2021-05").await;
    assert!(!empty.contains("<entry") && !empty.contains("rel=\"next\""), "{empty}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_body_that_would_be_slow_to_read_is_refused() {
    let (emulator, bus) = start(Options::default()).await;
    // Comparing each with each took some seconds, in which nobody else was served.
    let attributes: String = (0..40_000).map(|number| format!(" a{number}=\"\"")).collect();
    assert_eq!(put(&bus, "q", &format!("<QueueDescription{attributes}/>")).await.status(), 400);
    assert!(emulator.admin().state().entities.is_empty());
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_flag_means_the_same_in_both_spellings() {
    let (emulator, bus) = start(Options::default()).await;
    let change = async |flag: &str, value: &str| {
        let url = format!("{}/q?api-version=2021-05", bus.url);
        let body =
            format!("<entry><content><QueueDescription><{flag}>{value}</{flag}></QueueDescription></content></entry>");
        let request = bus.http.put(url).header("authorization", &bus.token).header("if-match", "*");
        request.body(body).send().await.unwrap().status()
    };
    let made = put(&bus, "q", "<QueueDescription><RequiresDuplicateDetection>0</RequiresDuplicateDetection><RequiresSession>1</RequiresSession></QueueDescription>").await;
    assert_eq!(made.status(), 201);
    assert!(get(&bus, "q?api-version=2021-05").await.contains("<RequiresSession>true</RequiresSession>"));
    for (flag, value, status) in [
        ("RequiresSession", "true", 200),
        ("RequiresSession", "1", 200),
        ("RequiresSession", "0", 400),
        ("RequiresDuplicateDetection", "1", 400),
        ("RequiresDuplicateDetection", "false", 200),
        ("EnablePartitioning", "1", 400),
        ("EnablePartitioning", "0", 200),
    ] {
        assert_eq!(change(flag, value).await, status, "{flag} {value}");
    }
    let partitioned = "<QueueDescription><EnablePartitioning>1</EnablePartitioning></QueueDescription>";
    assert_eq!(put(&bus, "wide", partitioned).await.status(), 201);
    assert!(get(&bus, "wide?api-version=2021-05").await.contains("<MaxSizeInMegabytes>16384</MaxSizeInMegabytes>"));
    emulator.shutdown().await;
}

#[tokio::test]
async fn rules_are_seen_by_those_who_may_receive() {
    let rules = [("sender", Claim::Send), ("listener", Claim::Listen)]
        .map(|(name, claim)| AccessRule::new(name, "k=", &[claim]));
    let rules = [AccessRule::default()].into_iter().chain(rules).collect();
    let (emulator, mut bus) = start(Options { access_rules: rules, ..Options::default() }).await;
    put(&bus, "t", "<TopicDescription/>").await;
    put(&bus, "t/subscriptions/s", "<SubscriptionDescription/>").await;
    for (name, seen) in [("listener", 200), ("sender", 401)] {
        bus.token = token(&bus.url, name, "k=", 600);
        for path in ["t/subscriptions/s/rules", "t/subscriptions/s/rules/$Default"] {
            assert_eq!(bus.request(Method::GET, path).send().await.unwrap().status(), seen, "{name} {path}");
        }
        for path in ["t/subscriptions/s", "t/subscriptions", "t"] {
            assert_eq!(bus.request(Method::GET, path).send().await.unwrap().status(), 401, "{name} {path}");
        }
        let removed = bus.request(Method::DELETE, "t/subscriptions/s/rules/$Default").send().await.unwrap();
        assert_eq!(removed.status(), 401);
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn managing_needs_the_right_to_manage() {
    let rule = AccessRule::new("sender", "k=", &[Claim::Send, Claim::Listen]);
    let rules = vec![AccessRule::default(), rule];
    let (emulator, mut bus) = start(Options { access_rules: rules, ..Options::default() }).await;
    bus.token = token(&bus.url, "sender", "k=", 600);
    let answer = put(&bus, "q", "<QueueDescription/>").await;
    assert_eq!(answer.status(), 401);
    assert!(answer.text().await.unwrap().contains("Manage,EntityRead claims required for this operation."));
    assert!(emulator.admin().state().entities.is_empty());
    emulator.shutdown().await;
}

#[tokio::test]
async fn the_namespace_tells_what_it_is() {
    let (emulator, bus) = start(Options::default()).await;
    let info = get(&bus, "$namespaceinfo?api-version=2021-05").await;
    assert!(info.contains("<MessagingSKU>Standard</MessagingSKU>"), "{info}");
    assert!(info.contains("<Name>sbemulatorns</Name>"), "{info}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_queue_counts_its_messages() {
    let (emulator, bus) = start(Options::default()).await;
    put(&bus, "q", "<QueueDescription><LockDuration>PT5S</LockDuration></QueueDescription>").await;
    bus.send("q", "one").await;
    bus.send("q", "two").await;
    let locked = bus.peek_lock("q", 0).await.unwrap();
    let shown = get(&bus, "q?api-version=2021-05").await;
    for part in ["<LockDuration>PT5S<", "<MessageCount>2<", ":ActiveMessageCount>2<", "<Status>Active<"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    bus.complete(&locked.location).await;
    assert!(get(&bus, "q").await.contains("<MessageCount>1<"));
    emulator.shutdown().await;
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let (emulator, bus) = start(Options::default()).await;
    let sql = |text: &str| {
        format!(
            "<RuleDescription xmlns:i=\"x\"><Filter i:type=\"SqlFilter\"><SqlExpression>{text}</SqlExpression></Filter></RuleDescription>"
        )
    };
    put(&bus, "t", "<TopicDescription/>").await;
    put(&bus, "t/subscriptions/s", "<SubscriptionDescription/>").await;
    let rule = "t/subscriptions/s/rules/r";
    for (path, description) in [
        ("q", String::new()),
        ("q", "<QueueDescription><LockDuration>soon</LockDuration></QueueDescription>".to_owned()),
        ("q", "<QueueDescription><MaxDeliveryCount>0</MaxDeliveryCount></QueueDescription>".to_owned()),
        ("q", "<QueueDescription>".to_owned()),
        (rule, sql("number &gt;")),
        (rule, sql("(((")),
    ] {
        assert_eq!(put(&bus, path, &description).await.status(), 400, "{description}");
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn topics_survive_a_restart_with_rules_and_messages() {
    let folder = std::env::temp_dir().join(format!("emulator-topics-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).unwrap();
    let options = || Options { store: Store::Sqlite(folder.join("store.db")), ..Options::default() };
    let (emulator, bus) = start(options()).await;
    assert_eq!(put(&bus, "ut/T", "<TopicDescription/>").await.status(), 201);
    assert_eq!(put(&bus, "ut/T/subscriptions/S", "<SubscriptionDescription/>").await.status(), 201);
    let rule = "<RuleDescription xmlns:i=\"x\"><Filter i:type=\"SqlFilter\"><SqlExpression>number &gt; 40</SqlExpression>\
                </Filter><Action i:type=\"SqlRuleAction\"><SqlExpression>SET number = 5</SqlExpression></Action></RuleDescription>";
    assert_eq!(put(&bus, "ut/T/subscriptions/S/rules/large", rule).await.status(), 201);
    let removed = bus.request(Method::DELETE, "ut/T/subscriptions/S/rules/$Default").send().await.unwrap();
    assert_eq!(removed.status(), 200);
    assert_eq!(bus.send("ut/t", "does not match").await, 201);
    assert_eq!(send_number(&bus, 42).await, 201);
    emulator.shutdown().await;

    let (emulator, bus) = start(options()).await;
    assert_eq!(send_number(&bus, 43).await, 201);
    for (sequence, enqueued) in [(1, 2), (2, 3)] {
        let locked = bus.peek_lock("ut/T/Subscriptions/S", 0).await.unwrap();
        let broker = &locked.broker;
        assert_eq!(
            (&broker["SequenceNumber"], &broker["EnqueuedSequenceNumber"]),
            (&sequence.into(), &enqueued.into())
        );
        assert_eq!((locked.headers["number"].as_str(), locked.headers["rulename"].as_str()), ("5", "\"large\""));
        assert_eq!(bus.complete(&locked.location).await, 200);
    }
    assert!(bus.peek_lock("ut/T/subscriptions/S", 0).await.is_none());
    assert!(bus.peek_lock("ut/T/subscriptions/S/$DeadLetterQueue", 0).await.is_none());
    assert!(get(&bus, "ut/T/subscriptions/S/rules").await.contains("number &gt; 40"));
    emulator.shutdown().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn send_number(bus: &Bus, number: u32) -> u16 {
    let request = bus.http.post(format!("{}/ut/T/messages", bus.url)).header("authorization", &bus.token);
    request.header("number", number).body("m").send().await.unwrap().status().as_u16()
}
