//! What descriptions say takes effect, and what is open is a setting: as a client sees it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use std::time::{Duration, Instant};

use oncebus_emulator::{Behaviour, Emulator, GetHead, Options, Store};
use reqwest::{Method, Response};
use support::{Bus, eventually, token};

async fn start(options: Options) -> (Emulator, Bus) {
    let emulator = Emulator::start(options).await.unwrap();
    let bus = Bus::new(&emulator.service_bus_url());
    (emulator, bus)
}

async fn put(bus: &Bus, path: &str, description: &str, headers: &[(&str, &str)]) -> Response {
    let url = format!("{}/{path}?api-version=2021-05", bus.url);
    let body = format!("<entry xmlns=\"http://www.w3.org/2005/Atom\"><content>{description}</content></entry>");
    let request = bus.http.put(url).header("authorization", &bus.token).body(body);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

fn queue(elements: &str) -> String {
    format!("<QueueDescription xmlns:i=\"x\">{elements}</QueueDescription>")
}

async fn refusal(bus: &Bus, method: Method, path: &str) -> (u16, String) {
    let response = bus.request(method, path).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// A folder that is gone with the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("emulator-semantics-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> Store {
        Store::Sqlite(self.0.join("store.db"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn what_is_sent_to_a_forwarding_queue_comes_out_of_its_target_after_a_restart_too() {
    let scratch = Scratch::new();
    let options = || Options { store: scratch.store(), ..Options::default() };
    let (emulator, bus) = start(options()).await;
    put(&bus, "target", &queue(""), &[]).await;
    let source = queue("<ForwardTo>sb://ns.servicebus.windows.net/target</ForwardTo>");
    let good = token(&format!("{}/target", bus.url), "RootManageSharedAccessKey", "SAS_KEY_VALUE", 600);
    let bad = token(&format!("{}/other", bus.url), "RootManageSharedAccessKey", "SAS_KEY_VALUE", 600);
    let name = "ServiceBusSupplementaryAuthorization";
    assert_eq!(put(&bus, "source", &source, &[(name, &bad)]).await.status(), 401);
    assert_eq!(put(&bus, "source", &source, &[(name, &good)]).await.status(), 201);
    assert_eq!(bus.send("source", "one").await, 201);
    assert_eq!(refusal(&bus, Method::POST, "source/messages/head").await.0, 400);
    emulator.shutdown().await;

    let (emulator, bus) = start(options()).await;
    assert_eq!(bus.send("source", "two").await, 201);
    for (body, number) in [("one", 1), ("two", 2)] {
        let locked = bus.peek_lock("target", 0).await.unwrap();
        assert_eq!((locked.body.as_str(), &locked.broker["EnqueuedSequenceNumber"]), (body, &number.into()));
    }
    bus.request(Method::DELETE, "target").send().await.unwrap();
    assert_eq!(bus.send("source", "three").await, 201);
    let stranded = bus.peek_lock("source/$Transfer/$DeadLetterQueue", 0).await.unwrap();
    assert_eq!(stranded.headers["deadletterreason"], "\"MessagingEntityNotFound\"");
    let shown = bus.request(Method::GET, "source?api-version=2021-05").send().await.unwrap().text().await.unwrap();
    assert!(shown.contains(":TransferDeadLetterMessageCount>1<"), "{shown}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn nothing_forwards_to_what_is_not_there_unless_the_setting_says_so() {
    let to = |element: &str, target: &str| queue(&format!("<{element}>sb://ns/{target}</{element}>"));
    let (emulator, bus) = start(Options { queues: vec!["there".into()], ..Options::default() }).await;
    for element in ["ForwardTo", "ForwardDeadLetteredMessagesTo"] {
        let refused = put(&bus, "source", &to(element, "absent"), &[]).await;
        assert_eq!(refused.status(), 400);
        let text = refused.text().await.unwrap();
        let detail =
            "<Code>400</Code><Detail>SubCode=40400. The auto forwarding destination entity does not exist. Tracking";
        assert!(text.contains(detail), "{text}");
        assert_eq!(put(&bus, element, &to(element, "THERE"), &[]).await.status(), 201);
        assert_eq!(put(&bus, element, &to(element, "absent"), &[("if-match", "*")]).await.status(), 400);
    }
    assert_eq!(put(&bus, "topic", "<TopicDescription/>", &[]).await.status(), 201);
    let subscription = "<SubscriptionDescription><ForwardTo>absent</ForwardTo></SubscriptionDescription>";
    assert_eq!(put(&bus, "topic/subscriptions/s", subscription, &[]).await.status(), 400);
    assert_eq!(put(&bus, "to-topic", &to("ForwardTo", "topic"), &[]).await.status(), 201);
    emulator.shutdown().await;

    let behaviour = Behaviour { forwarding_target_must_exist: false, ..Behaviour::default() };
    let (emulator, bus) = start(Options { behaviour, ..Options::default() }).await;
    assert_eq!(put(&bus, "source", &to("ForwardTo", "absent"), &[]).await.status(), 201);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_status_is_answered_as_the_setting_says() {
    for (setting, expected) in
        [(Behaviour::default(), 403), (Behaviour { disabled_entity_status: 400, ..Behaviour::default() }, 400)]
    {
        let (emulator, bus) = start(Options { behaviour: setting, ..Options::default() }).await;
        put(&bus, "q", &queue("<Status>SendDisabled</Status>"), &[]).await;
        let (status, text) = refusal(&bus, Method::POST, "q/messages").await;
        assert_eq!(status, expected);
        assert!(text.contains("is currently disabled for Send operations."), "{text}");
        assert!(bus.peek_lock("q", 0).await.is_none());
        let active = queue("<Status>Active</Status>");
        assert_eq!(put(&bus, "q", &active, &[("if-match", "*")]).await.status(), 200);
        assert_eq!(bus.send("q", "m").await, 201);
        assert_eq!(put(&bus, "q2", &queue("<Status>Asleep</Status>"), &[]).await.status(), 400);
        emulator.shutdown().await;
    }
}

#[tokio::test]
async fn open_points_are_answered_as_the_settings_say() {
    let behaviour = Behaviour {
        missing_entity_status: 410,
        get_head: GetHead::Peek,
        lost_lock_text: "gone".to_owned(),
        default_receive_timeout_seconds: 0,
        headers_not_stored: vec!["traceparent".to_owned()],
        ..Behaviour::default()
    };
    let (emulator, bus) = start(Options { queues: vec!["q".into()], behaviour, ..Options::default() }).await;
    assert_eq!(refusal(&bus, Method::POST, "none/messages").await.0, 410);
    let (status, text) = refusal(&bus, Method::DELETE, "q/messages/1/41f822ef-0c89-4f17-96e9-1df6c1f1a81e").await;
    assert!(status == 404 && text.contains("<Detail>gone TrackingId:"), "{text}");
    assert_eq!(refusal(&bus, Method::GET, "q/messages/head").await, (204, String::new()));
    assert_eq!(refusal(&bus, Method::POST, "q/messages/head").await.0, 204);
    let request = bus.http.post(format!("{}/q/messages", bus.url)).header("authorization", &bus.token);
    request.header("traceparent", "00-1").header("n", "1").body("m").send().await.unwrap();
    for _ in 0..2 {
        assert_eq!(refusal(&bus, Method::GET, "q/messages/head").await, (200, "m".to_owned()));
    }
    let locked = bus.peek_lock("q", 0).await.unwrap();
    assert_eq!((&locked.broker["DeliveryCount"], locked.headers["n"].as_str()), (&1.into(), "1"));
    assert!(!locked.headers.contains_key("traceparent"));
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_queue_that_requires_sessions_hands_out_none() {
    let (emulator, bus) = start(Options::default()).await;
    put(&bus, "q", &queue("<RequiresSession>true</RequiresSession>"), &[]).await;
    assert_eq!(bus.send("q", "m").await, 201);
    assert_eq!(refusal(&bus, Method::POST, "q/messages/head?timeout=0").await.0, 400);
    let dead = bus.peek_lock("q/$DeadLetterQueue", 0).await.unwrap();
    assert_eq!(dead.headers["deadletterreason"], "\"Session ID is null.\"");
    emulator.shutdown().await;
}

#[tokio::test]
async fn access_rules_of_a_description_are_shown_and_good_for_their_entity() {
    let rule = |name: &str, rights: &[&str]| {
        let rights: String = rights.iter().map(|right| format!("<AccessRights>{right}</AccessRights>")).collect();
        format!(
            "<AuthorizationRule i:type=\"SharedAccessAuthorizationRule\"><ClaimType>SharedAccessKey</ClaimType>\
             <ClaimValue>None</ClaimValue><Rights>{rights}</Rights><KeyName>{name}</KeyName><PrimaryKey>first</PrimaryKey>\
             <SecondaryKey>second</SecondaryKey></AuthorizationRule>"
        )
    };
    let list = |rules: &str| format!("<AuthorizationRules>{rules}</AuthorizationRules>");
    let (emulator, mut bus) = start(Options { queues: vec!["other".into()], ..Options::default() }).await;
    let sender = list(&rule("sender", &["Send"]));
    let made = put(&bus, "q", &queue(&sender), &[]).await;
    assert_eq!(made.status(), 201);
    assert!(made.text().await.unwrap().contains(&sender));
    let thirteen: String = (0..13).map(|n| rule(&format!("r{n}"), &["Send"])).collect();
    for bad in [list(&rule("m", &["Manage"])), list(&rule("n", &["Fly"])), list(&thirteen)] {
        assert_eq!(put(&bus, "bad", &queue(&bad), &[]).await.status(), 400, "{bad}");
    }
    for key in ["first", "second"] {
        bus.token = token(&format!("{}/q", bus.url), "sender", key, 600);
        assert_eq!(bus.send("q", "m").await, 201, "{key}");
    }
    assert_eq!(bus.try_peek_lock("q", 0).await.unwrap().status(), 401);
    assert_eq!(bus.send("other", "m").await, 401);
    bus.token = token(&format!("{}/q", bus.url), "sender", "third", 600);
    assert_eq!(bus.send("q", "m").await, 401);
    emulator.shutdown().await;
}

#[tokio::test]
async fn who_waited_longest_is_served_first_and_who_left_is_not() {
    let scratch = Scratch::new();
    for store in [Store::Memory, scratch.store()] {
        let (emulator, bus) = start(Options { queues: vec!["q".into()], store, ..Options::default() }).await;
        let admin = emulator.admin();
        let poll = |mode: Method| {
            let bus = bus.clone();
            tokio::spawn(async move {
                let response = bus.request(mode, "q/messages/head?timeout=60").send().await.unwrap();
                (response.status().as_u16(), response.text().await.unwrap())
            })
        };
        let mut polls = Vec::new();
        for n in 0..6 {
            polls.push(poll(if n % 2 == 0 { Method::POST } else { Method::DELETE }));
            // The line is seen from outside: each waits before the next comes.
            let waiting = n + 1;
            eventually("it waits", || admin.waiting("q") == waiting).await;
        }
        // The first and the fourth go away.
        for gone in [0, 3] {
            polls[gone].abort();
        }
        eventually("they are gone", || admin.waiting("q") == 4).await;
        let started = Instant::now();
        for text in ["a", "b", "c", "d"] {
            assert_eq!(bus.send("q", text).await, 201);
        }
        for (n, expected) in [(1, (200, "a")), (2, (201, "b")), (4, (201, "c")), (5, (200, "d"))] {
            let (status, body) = (&mut polls[n]).await.unwrap();
            assert_eq!((status, body.as_str()), expected);
        }
        assert!(started.elapsed() < Duration::from_secs(30));
        assert_eq!(admin.counts("q").unwrap().total, 2);
        emulator.shutdown().await;
    }
}

#[tokio::test]
async fn a_message_that_comes_in_the_moment_of_leaving_is_not_lost() {
    let scratch = Scratch::new();
    for store in [Store::Memory, scratch.store()] {
        let (emulator, bus) = start(Options { queues: vec!["q".into()], store, ..Options::default() }).await;
        let admin = emulator.admin();
        for round in 0..30_u64 {
            let poll = tokio::spawn({
                let bus = bus.clone();
                async move { bus.peek_lock("q", 60).await }
            });
            eventually("it waits", || admin.waiting("q") == 1).await;
            let (sent, ()) = tokio::join!(bus.send("q", "m"), async {
                tokio::time::sleep(Duration::from_micros(round * 50)).await;
                poll.abort();
            });
            assert_eq!(sent, 201);
            // It is there: visible, or locked by who left too late.
            assert_eq!(admin.counts("q").unwrap().total, 1, "round {round}");
            eventually("nobody waits", || admin.waiting("q") == 0).await;
            admin.advance_service_bus_clock(Duration::from_secs(61));
            let locked = bus.peek_lock("q", 0).await.unwrap();
            assert_eq!(bus.complete(&locked.location).await, 200);
        }
        emulator.shutdown().await;
    }
}

#[tokio::test]
async fn an_idle_queue_is_gone_when_the_clock_says_so() {
    let (emulator, bus) = start(Options::default()).await;
    put(&bus, "q", &queue("<AutoDeleteOnIdle>PT5M</AutoDeleteOnIdle>"), &[]).await;
    let admin = emulator.admin();
    admin.advance_service_bus_clock(Duration::from_secs(299));
    assert_eq!(bus.send("q", "m").await, 201);
    admin.advance_service_bus_clock(Duration::from_secs(299));
    assert!(admin.counts("q").is_some());
    admin.advance_service_bus_clock(Duration::from_secs(2));
    assert_eq!(bus.send("q", "m").await, 404);
    emulator.shutdown().await;
}

/// The tables of layout 1, with one queue whose description was only shown then.
const LAYOUT_1: &str = r#"
CREATE TABLE queues (
    key TEXT PRIMARY KEY, options TEXT NOT NULL, next_sequence INTEGER NOT NULL, next_ticket INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE messages (
    queue TEXT NOT NULL, place INTEGER NOT NULL, number INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL, deliveries INTEGER NOT NULL, lock_token BLOB, locked_until INTEGER,
    message TEXT NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX messages_by_number ON messages (queue, place, number);
CREATE TABLE history (
    queue TEXT NOT NULL, message_id TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (queue, message_id)
) WITHOUT ROWID;
CREATE INDEX history_by_time ON history (queue, until);
CREATE TABLE containers (name TEXT PRIMARY KEY, properties TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blobs (container TEXT NOT NULL, name TEXT NOT NULL, properties TEXT NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX blobs_by_name ON blobs (container, name);
CREATE TABLE clocks (id INTEGER PRIMARY KEY CHECK (id = 1), broker INTEGER NOT NULL, storage INTEGER NOT NULL);
INSERT INTO queues VALUES ('old', '{"name":"Old","lock_duration_ms":5000}', 8, 3);
INSERT INTO queues VALUES ('source', '{"name":"source","description":{"elements":{"ForwardTo":"sb://ns/old"}}}', 4, 1);
INSERT INTO messages VALUES ('old', 0, 7, 1795132800000, 2, NULL, NULL,
    '{"content_type":"text/plain","broker":{"message_id":"m7"},"properties":[["n",{"Integer":7}]]}', X'6b657074');
INSERT INTO messages VALUES ('source', 0, 3, 1795132800000, 0, NULL, NULL,
    '{"content_type":null,"broker":{"message_id":"m3"},"properties":[]}', X'776169746564');
PRAGMA user_version = 1;
"#;

#[tokio::test]
async fn a_database_of_the_first_layout_is_upgraded_and_one_of_the_future_refused() {
    let scratch = Scratch::new();
    let path = scratch.0.join("store.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(LAYOUT_1).unwrap();
    for _ in 0..2 {
        let (emulator, bus) = start(Options { store: scratch.store(), ..Options::default() }).await;
        let state = emulator.admin().messages("old");
        let seen: Vec<_> = state.iter().map(|m| (m.message_id.as_str(), m.sequence_number, m.delivery_count)).collect();
        // What waited in the other queue has been forwarded: its description takes effect now.
        assert_eq!(seen, [("m7", Some(7), 2), ("m3", Some(8), 0)]);
        assert!(emulator.admin().messages("source").is_empty());
        assert_eq!(bus.send("nowhere", "m").await, 404);
        emulator.shutdown().await;
    }
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let refused = Emulator::start(Options { store: scratch.store(), ..Options::default() }).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap();
    assert_eq!(source.to_string(), "the database has the layout of another version: 99");
}

/// What layout 2 has beside the first: topics.
const LAYOUT_2: &str = r#"
CREATE TABLE topics (key TEXT PRIMARY KEY, options TEXT NOT NULL, next_sequence INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO topics VALUES ('events', '{"name":"Events","description":{"elements":{"AutoDeleteOnIdle":"PT5M"}},
    "subscriptions":{"events/subscriptions/all":[
        {"name":"$Default","created_at":0,"filter":"True","action":null,"shown":"<Filter/>"}]}}', 5);
INSERT INTO queues VALUES ('events/subscriptions/all', '{"name":"Events/subscriptions/all"}', 3, 1);
INSERT INTO messages VALUES ('events/subscriptions/all', 0, 2, 1795132800000, 1, NULL, NULL,
    '{"content_type":null,"broker":{"message_id":"m2"},"properties":[]}', X'6b657074');
PRAGMA user_version = 2;
"#;

#[tokio::test]
async fn a_database_of_the_second_layout_keeps_its_topics() {
    let scratch = Scratch::new();
    let path = scratch.0.join("store.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(LAYOUT_1).unwrap();
    connection.execute_batch(LAYOUT_2).unwrap();
    drop(connection);
    for count in [2, 3] {
        let (emulator, bus) = start(Options { store: scratch.store(), ..Options::default() }).await;
        assert_eq!(bus.send("events", "m").await, 201);
        let messages = emulator.admin().messages("Events/subscriptions/all");
        let seen: Vec<_> = messages.iter().map(|m| (m.sequence_number, m.delivery_count)).collect();
        assert_eq!(seen, [(Some(2), 1), (Some(3), 0), (Some(4), 0)][..count]);
        assert_eq!(messages[0].message_id, "m2");
        emulator.shutdown().await;
    }
    // Nobody knew when the topic was used: its idleness began with the upgrade, and its description takes effect.
    let (emulator, bus) = start(Options { store: scratch.store(), ..Options::default() }).await;
    emulator.admin().advance_service_bus_clock(Duration::from_secs(301));
    assert_eq!(bus.send("events", "m").await, 404);
    emulator.shutdown().await;
}
