//! The Service Bus data plane as a client sees it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use std::time::{Duration, Instant};

use oncebus_emulator::{AccessRule, Claim, Emulator, MessageState, Options, QueueOptions};
use reqwest::Method;
use support::{Bus, eventually, raw, token};

async fn start(queues: Vec<QueueOptions>) -> (Emulator, Bus) {
    let emulator = Emulator::start(Options { queues, ..Options::default() }).await.unwrap();
    let bus = Bus::new(&emulator.service_bus_url());
    (emulator, bus)
}

/// The header block of an answer: the status line, then the names in order, `date` and values apart.
fn shape(answer: &str) -> (String, Vec<String>) {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().to_owned();
    let mut names: Vec<_> = lines.map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
    names.sort();
    (status, names)
}

fn request(bus: &Bus, method: &str, path: &str, extra: &str, body: &str) -> (String, String) {
    let address = bus.url.trim_start_matches("http://").to_owned();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: {}\r\n\
         Content-Length: {}\r\n{extra}\r\n{body}",
        bus.token,
        body.len()
    );
    (address, request)
}

async fn wire(bus: &Bus, method: &str, path: &str, extra: &str, body: &str) -> String {
    let (address, request) = request(bus, method, path, extra, body);
    raw(&address, &request).await
}

/// `connection: close` is hyper's answer to ours; nothing else may be added.
const COMMON: [&str; 4] = ["connection", "date", "server", "strict-transport-security"];

fn expected(more: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = COMMON.iter().chain(more).map(|name| (*name).to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn answers_carry_the_recorded_headers_and_no_other() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    let empty = expected(&["content-type", "transfer-encoding"]);

    let sent = wire(&bus, "POST", "q/messages", "Content-Type: text/plain\r\nnumber: 42\r\n", "hello").await;
    assert_eq!(shape(&sent), ("HTTP/1.1 201 Created".into(), empty.clone()));
    assert!(sent.contains("Content-Type: application/xml; charset=utf-8\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\n0\r\n\r\n"), "{sent}");

    let locked = wire(&bus, "POST", "q/Messages/Head?timeout=0", "", "").await;
    let names = ["brokerproperties", "content-type", "location", "number", "transfer-encoding"];
    assert_eq!(shape(&locked), ("HTTP/1.1 201 Created".into(), expected(&names)));
    assert!(locked.contains("number: 42\r\n") && locked.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{locked}");
    let location = locked.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
    for name in
        ["BrokerProperties: {", "Transfer-Encoding: chunked", "Strict-Transport-Security: ", "Server: ", "Date: "]
    {
        assert!(locked.contains(&format!("\r\n{name}")), "{name} in {locked}");
    }
    let path = location.strip_prefix(&format!("{}/", bus.url)).unwrap();
    assert!(path.starts_with("q/messages/1/"), "{path}");

    for method in ["POST", "PUT"] {
        assert_eq!(shape(&wire(&bus, method, path, "", "").await), ("HTTP/1.1 200 OK".into(), empty.clone()));
    }
    let names = ["brokerproperties", "content-type", "number", "transfer-encoding"];
    let received = wire(&bus, "DELETE", "q/messages/head?timeout=0", "", "").await;
    assert_eq!(shape(&received), ("HTTP/1.1 200 OK".into(), expected(&names)));

    let nothing = wire(&bus, "POST", "q/messages/head?timeout=0", "", "").await;
    let names = expected(&["content-length", "content-type"]);
    assert_eq!(shape(&nothing), ("HTTP/1.1 204 No Content".into(), names));
    assert!(nothing.contains("Content-Length: 0\r\n"), "{nothing}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn broker_properties_are_compact_and_in_alphabetical_order() {
    let (emulator, bus) = start(vec!["ut/Queue".into()]).await;
    let properties = r#"{"To":"me", "Label":"hé\"", "TimeToLive": 40, "SessionId":"s", "DeliveryCount":"7"}"#;
    let request = bus.request(Method::POST, "ut/queue/messages").header("brokerproperties", properties.as_bytes());
    assert_eq!(request.send().await.unwrap().status(), 201);
    let locked = bus.peek_lock("UT/Queue", 0).await.unwrap();
    assert!(locked.location.contains("/UT/Queue/messages/1/"), "{}", locked.location);
    let text = &locked.headers["brokerproperties"];
    let keys: Vec<_> = locked.broker.as_object().unwrap().keys().cloned().collect();
    let at: Vec<_> = keys.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(at.is_sorted(), "{text}");
    assert!(text.is_ascii() && text.contains(r#""Label":"h\u00e9\"","#), "{text}");
    assert!(text.contains(r#""DeliveryCount":1,"EnqueuedSequenceNumber":0,"#), "{text}");
    assert!(text.contains(r#""PartitionKey":"s","#) && text.contains(r#""TimeToLive":40,"#), "{text}");
    assert_eq!(locked.broker["MessageId"].as_str().unwrap().len(), 32);
    // No content type was sent: none comes back.
    assert!(!locked.headers.contains_key("content-type"));
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_batch_is_delivered_in_order_with_its_properties() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    let batch = r#"[{"Body":"first","BrokerProperties":{"Label":"M1","TimeToLiveTimeSpan":"0.00:00:40"}},
        {"Body":"second","BrokerProperties":{"Label":"M2"},"UserProperties":{"Priority":"Low"}}]"#;
    assert_eq!(bus.send_batch("q", batch).await, 201);
    assert_eq!(bus.send_batch("q", "[{").await, 400);
    let first = bus.peek_lock("q", 0).await.unwrap();
    let second = bus.peek_lock("q", 0).await.unwrap();
    assert_eq!((first.body.as_str(), &first.broker["TimeToLive"]), ("first", &40.into()));
    assert_eq!((second.body.as_str(), second.headers["priority"].as_str()), ("second", "\"Low\""));
    assert_eq!(second.headers["content-type"], "application/xml; charset=utf-8");
    assert!(bus.peek_lock("q", 0).await.is_none());
    emulator.shutdown().await;
}

#[tokio::test]
async fn of_a_batch_the_whole_text_counts() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    // Each escape is six bytes of text and one of the message.
    let escaped = |count: usize| format!("[{{\"Body\":\"{}\"}}]", "\\u0041".repeat(count));
    assert_eq!(bus.send_batch("q", &escaped(40_000)).await, 201);
    assert_eq!(bus.send_batch("q", &escaped(50_000)).await, 403);
    assert_eq!(emulator.admin().messages("q").len(), 1);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_property_neither_comes_from_the_connection_nor_takes_a_header_of_the_gateway() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    let hop = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n";
    let sent =
        wire(&bus, "POST", "q/messages", &format!("{hop}Strict-Transport-Security: never\r\nmine: 1\r\n"), "m").await;
    assert!(sent.starts_with("HTTP/1.1 201 "), "{sent}");
    let received = wire(&bus, "DELETE", "q/messages/head?timeout=0", "", "").await;
    assert_eq!(shape(&received).1, expected(&["brokerproperties", "mine", "transfer-encoding"]));
    assert!(received.contains("Strict-Transport-Security: max-age=31536000\r\n"), "{received}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_comes() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.peek_lock("q", 60).await }
    });
    let started = Instant::now();
    assert_eq!(bus.send("q", "m").await, 201);
    assert_eq!(waiting.await.unwrap().unwrap().body, "m");
    assert!(started.elapsed() < Duration::from_secs(10));
    emulator.shutdown().await;
}

#[tokio::test]
async fn every_waiting_poll_gets_its_message() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    let poll = |_| {
        tokio::spawn({
            let bus = bus.clone();
            async move { bus.peek_lock("q", 60).await.unwrap().body }
        })
    };
    let waiting: Vec<_> = (0..8).map(poll).collect();
    let batch: Vec<_> = (0..5).map(|n| format!(r#"{{"Body":"{n}"}}"#)).collect();
    assert_eq!(bus.send_batch("q", &format!("[{}]", batch.join(","))).await, 201);
    for n in 5..8 {
        assert_eq!(bus.send("q", &n.to_string()).await, 201);
    }
    let mut bodies = Vec::new();
    for poll in waiting {
        bodies.push(poll.await.unwrap());
    }
    bodies.sort();
    assert_eq!(bodies, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_lock_ends_and_when_a_schedule_falls_due() {
    let (emulator, bus) = start(vec![QueueOptions { lock_duration: Duration::from_millis(200), .."q".into() }]).await;
    bus.send("q", "m").await;
    let first = bus.peek_lock("q", 0).await.unwrap();
    // Nobody but time itself does anything now.
    let second = bus.peek_lock("q", 60).await.unwrap();
    assert_eq!((second.body.as_str(), &second.broker["DeliveryCount"]), ("m", &2.into()));
    assert_eq!(bus.complete(&first.location).await, 404);
    assert_eq!(bus.complete(&second.location).await, 200);

    let due = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(1000));
    let properties = format!(r#"{{"ScheduledEnqueueTimeUtc":"{due}"}}"#);
    let request = bus.request(Method::POST, "q/messages").header("brokerproperties", properties);
    assert_eq!(request.send().await.unwrap().status(), 201);
    assert!(bus.peek_lock("q", 0).await.is_none());
    assert_eq!(emulator.admin().messages("q")[0].state, MessageState::Scheduled);
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.peek_lock("q", 200).await }
    });
    // The poll outlives the first move and is there for the second.
    emulator.admin().advance_clock(Duration::from_secs(900));
    emulator.admin().advance_clock(Duration::from_secs(100));
    let delivery = waiting.await.unwrap();
    let delivery = match delivery {
        Some(delivery) => delivery,
        // The poll began before the first move and ended by it.
        None => bus.peek_lock("q", 0).await.unwrap(),
    };
    assert_eq!(delivery.broker["ScheduledEnqueueTimeUtc"], due.as_str());
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_ends_at_its_timeout_by_the_emulators_clock() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    let started = Instant::now();
    assert!(bus.peek_lock("q", 1).await.is_none());
    let took = started.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}");

    let admin = emulator.admin();
    let polls = |n: u64| {
        move |calls: std::collections::BTreeMap<String, u64>| {
            calls.get("service-bus.peek-lock-empty").copied().unwrap_or(0) >= n
        }
    };
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.peek_lock("q", 120).await }
    });
    // Each look moves the clock until the poll has ended, however late it began.
    let done = polls(2);
    eventually("the poll ends", || {
        admin.advance_clock(Duration::from_secs(60));
        done(admin.calls())
    })
    .await;
    assert!(waiting.await.unwrap().is_none());
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_client_that_goes_away_loses_no_message() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    let admin = emulator.admin();
    for _ in 0..20 {
        let (address, request) = request(&bus, "DELETE", "q/messages/head?timeout=60", "", "");
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        drop(stream);
    }
    // The hang-ups reach the emulator before the message: they were sent before it, on loopback.
    assert_eq!(bus.send("q", "m").await, 201);
    let delivery = bus.peek_lock("q", 60).await.unwrap();
    assert_eq!((delivery.body.as_str(), &delivery.broker["DeliveryCount"]), ("m", &1.into()));
    assert_eq!(admin.calls().get("service-bus.receive-and-delete"), None);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_message_nobody_can_take_ends_in_the_dead_letter_queue() {
    let (emulator, bus) = start(vec![QueueOptions { max_delivery_count: 2, .."q".into() }]).await;
    bus.send("q", "poison").await;
    for _ in 0..2 {
        let locked = bus.peek_lock("q", 0).await.unwrap();
        assert_eq!(bus.abandon(&locked.location).await, 200);
    }
    assert!(bus.peek_lock("q", 0).await.is_none());
    let dead = bus.peek_lock("q/$DeadLetterQueue", 0).await.unwrap();
    assert_eq!(dead.headers["deadletterreason"], "\"MaxDeliveryCountExceeded\"");
    let description = "\"Message could not be consumed after 2 delivery attempts.\"";
    assert_eq!(dead.headers["deadlettererrordescription"], description);
    let views = emulator.admin().messages("q/$DeadLetterQueue");
    assert_eq!((views.len(), views[0].state), (1, MessageState::Locked));
    assert_eq!(bus.complete(&dead.location).await, 200);
    assert!(emulator.admin().messages("q/$deadletterqueue").is_empty());
    emulator.shutdown().await;
}

#[tokio::test]
async fn settling_goes_by_message_id_too_and_a_lost_lock_is_404() {
    let (emulator, bus) = start(vec!["q".into()]).await;
    let properties = r#"{"MessageId":"order 7/a"}"#;
    bus.request(Method::POST, "q/messages").header("brokerproperties", properties).send().await.unwrap();
    let locked = bus.peek_lock("q", 0).await.unwrap();
    let token = locked.broker["LockToken"].as_str().unwrap();
    assert_eq!(bus.renew(&format!("q/messages/order%207%2Fa/{token}")).await, 200);
    assert_eq!(bus.renew(&format!("q/messages/another/{token}")).await, 404);
    emulator.admin().advance_clock(Duration::from_secs(61));
    assert_eq!(bus.complete(&locked.location).await, 404);
    assert_eq!(bus.complete("q/messages/1/no-token").await, 404);
    emulator.shutdown().await;
}

#[tokio::test]
async fn refusals_have_the_statuses_and_words_of_the_service() {
    let rules = vec![AccessRule::default(), AccessRule::new("listen", "k", &[Claim::Listen])];
    let options = Options { queues: vec!["q".into()], access_rules: rules, ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let url = emulator.service_bus_url();
    let bus = Bus::new(&url);
    let ask = async |token: &str, path: &str, body: String| {
        let request = bus.http.post(format!("{url}/{path}")).header("authorization", token).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let good = bus.token.clone();
    let expired = token(&url, "RootManageSharedAccessKey", "SAS_KEY_VALUE", -1);
    let forged = token(&url, "RootManageSharedAccessKey", "another", 60);
    let listen = token(&url, "listen", "k", 60);
    let small = String::from("m");
    for (token, path, body, status, words) in [
        ("", "q/messages", &small, 401, "MissingToken: The authorization header wasn't found."),
        (&expired, "q/messages", &small, 401, "ExpiredToken: The token is expired."),
        (&forged, "q/messages", &small, 401, "40103: Invalid authorization token signature"),
        (&listen, "q/messages", &small, 401, "Send claims required"),
        (&good, "none/messages", &small, 404, "40400: Endpoint not found."),
        (&good, "q/messages", &"x".repeat(256 * 1024 + 1), 403, "exceeds the limit"),
        (&good, "q/messages/head?timeout=soon", &small, 400, "timeout"),
    ] {
        let (got, text) = ask(token, path, body.clone()).await;
        assert_eq!(got, status, "{path}: {text}");
        assert!(text.contains(words) && text.starts_with(&format!("<Error><Code>{status}</Code><Detail>")), "{text}");
    }
    let raw = wire(&bus, "POST", "none/messages", "", "").await;
    assert!(raw.starts_with("HTTP/1.1 404 40400: Endpoint not found.\r\n"), "{raw}");
    assert_eq!(emulator.admin().calls()["service-bus.refused"], 4);
    emulator.shutdown().await;
}
