//! The front door: what is accepted, what is refused, and with what.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use base64::Engine as _;
use hmac::Mac as _;
use http::{Method, StatusCode};
use oncebus_e2e::{TWILIO_TOKEN, World};
use serde_json::Value;

async fn json(answer: reqwest::Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

async fn batch(world: &World, content_type: &str, body: impl Into<String>) -> (StatusCode, Value) {
    let request = world.request(Method::POST, "/queues/orders/batch").header("content-type", content_type);
    let answer = request.body(body.into()).send().await.unwrap();
    (answer.status(), json(answer).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_accepted_with_its_location() {
    let world = World::start().await;
    let request = world.request(Method::POST, "/queues/orders/messages").header("Idempotency-Key", "\"order 1/a\"");
    let answer = request.body(vec![0, 159, 146, 150]).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("/queues/orders/messages/order%201%2F"), "{location}");
    assert_eq!(answer.text().await.unwrap(), "");
    assert_eq!(world.run("orders").await.done, 1);
    let state = json(world.request(Method::GET, &location).send().await.unwrap()).await;
    assert_eq!((state["state"].as_str(), state["id"].as_str()), (Some("done"), Some("order 1/a")), "{state}");
    let body = world.query("SELECT hex(body) FROM messages");
    assert_eq!(format!("{body:?}"), r#"[[Text("009F9296")]]"#, "a body is opaque bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_reaches_the_processor_and_the_logs_of_both() {
    let world = World::start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let send = async || {
        let request = world.request(Method::POST, "/queues/orders/messages").header("Idempotency-Key", "\"m\"");
        let answer = request.header("traceparent", parent).body("x").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    };
    send().await;
    send().await;
    assert_eq!(world.run("orders").await.duplicate, 1);
    let properties = format!("{:?}", world.query("SELECT properties FROM messages"));
    assert!(properties.contains("traceparent") && properties.contains(parent), "{properties}");
    let lines: Vec<Value> = world.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let traced = |operation: &str| {
        let is = |line: &&Value| {
            line["messaging.operation.type"] == operation && line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        };
        lines.iter().filter(is).count()
    };
    // What is not notable of a message has no line: the first of the two is done, the second a duplicate.
    assert_eq!((traced("send"), traced("process")), (2, 1), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_id_one_is_made_up() {
    let world = World::start().await;
    let answer = world.request(Method::POST, "/queues/orders/messages").body("x").send().await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let id = location.strip_prefix("/queues/orders/messages/").unwrap();
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'), "a UUIDv7: {id}");
    let unknown = world.request(Method::GET, &location).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND, "no record before its first processing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why() {
    let world = World::start().await;
    let large = "x".repeat(262_145);
    let cases: [(Method, &str, &str, u16, &str); 7] = [
        (Method::POST, "/queues/nowhere/messages", "x", 404, "unknown-queue"),
        (Method::POST, "/queues/nowhere/batch", "[]", 404, "unknown-queue"),
        (Method::POST, "/queues/orders/messages", &large, 413, "too-large"),
        (Method::DELETE, "/queues/orders/messages", "", 405, "method-not-allowed"),
        (Method::GET, "/nowhere", "", 404, "not-found"),
        (Method::POST, "/webhooks/twilio", "MessageSid=SM1", 403, "invalid-signature"),
        (Method::GET, "/queues/orders/messages/nobody", "", 404, "unknown-message"),
    ];
    for (method, path, body, status, kind) in cases {
        let answer = world.request(method, path).body(body.to_owned()).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), path), (status, path));
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        assert_eq!(json(answer).await["type"], format!("urn:oncebus:problem:{kind}"), "{path}");
    }
    assert_eq!(world.queued("orders"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_have_as_many_bytes_as_the_refusal_says() {
    let world = World::start().await;
    let post = async |bytes: usize| {
        let request = world.request(Method::POST, "/queues/orders/messages").header("content-type", "text/plain");
        let request = request.header("Idempotency-Key", "large").header("Oncebus-Lock-Key", "customer-1");
        request.body("x".repeat(bytes)).send().await.unwrap()
    };
    let refused = json(post(262_144).await).await;
    let limit = usize::try_from(refused["limit_bytes"].as_u64().unwrap()).unwrap();
    assert_eq!(refused["detail"], format!("the body may come to {limit} bytes, not 262144"));
    let refused = post(limit + 1).await;
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(json(refused).await["limit_bytes"], limit);
    assert_eq!(post(limit).await.status(), StatusCode::ACCEPTED);
    assert_eq!(world.run("orders").await.done, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_split_and_stored_whole() {
    let world = World::start().await;
    // About 600 KB: three Service Bus batches.
    let text = "y".repeat(1_500);
    let items: Vec<Value> =
        (0..400).map(|n| serde_json::json!({ "id": format!("a-{n}"), "body": { "n": n, "text": text } })).collect();
    let (status, _) = batch(&world, "application/json", Value::from(items).to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let lines: String = (0..50).map(|n| format!("{{\"id\":\"l-{n}\",\"body\":{n}}}\n")).collect();
    let (status, _) = batch(&world, "application/x-ndjson", lines).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let calls = world.admin().calls();
    assert!((3..=5).contains(&calls["service-bus.send-batch"]), "{calls:?}");
    assert_eq!(world.queued("orders"), 450);
    let mut stored = 0;
    while stored < 450 {
        let done = world.run_for("orders", 5).await.unwrap().summary().done;
        assert!(done > 0, "{stored} are stored and no more come");
        stored += done;
    }
    assert_eq!(world.stored().len(), 450);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_item_is_answered_by_index_and_the_others_are_accepted() {
    let world = World::start().await;
    let lines = "{\"id\":\"a\",\"body\":1}\n{not json\n{\"id\":\"\",\"body\":2}\n{\"id\":\"d\",\"body\":3}\n";
    let (status, answer) = batch(&world, "application/x-ndjson", lines).await;
    assert_eq!(status, StatusCode::MULTI_STATUS, "{answer}");
    let items = answer["items"].as_array().unwrap();
    let statuses: Vec<u64> = items.iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 400, 400, 202], "{answer}");
    assert_eq!(world.queued("orders"), 2);
    let (status, answer) = batch(&world, "application/json", "[1, 2").await;
    assert_eq!((status, answer["type"].as_str()), (StatusCode::BAD_REQUEST, Some("urn:oncebus:problem:malformed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_and_a_single_post_of_the_same_message_are_one() {
    let world = World::start().await;
    let (status, _) = batch(&world, "application/json", r#"[{"id":"m-1","body":{"a":1}}]"#).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    world.send("orders", "m-1", r#"{"a":1}"#).await;
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.duplicate, summary.mismatched), (1, 1, 0), "{summary:?}");
}

fn signature(url: &str, pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    let signed: String = pairs.iter().fold(url.to_owned(), |text, (name, value)| text + name + value);
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(TWILIO_TOKEN.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_twilio_message_is_answered_with_empty_twiml_and_stored_once() {
    let world = World::start().await;
    let pairs = [("MessageSid", "SM1"), ("From", "+15551234"), ("Body", "hello you"), ("NumMedia", "0"), ("Blank", "")];
    let form = "MessageSid=SM1&From=%2B15551234&Body=hello+you&NumMedia=0&Blank=";
    let signed = signature("https://hooks.example.com/webhooks/twilio", &pairs);
    for _ in 0..2 {
        let request = world.request(Method::POST, "/webhooks/twilio").header("X-Twilio-Signature", &signed);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/xml"));
        assert!(answer.text().await.unwrap().contains("<Response/>"));
    }
    let tampered = world.request(Method::POST, "/webhooks/twilio").header("X-Twilio-Signature", &signed);
    let tampered =
        tampered.header("content-type", "application/x-www-form-urlencoded").body(form.replace("hello", "bye"));
    assert_eq!(tampered.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let summary = world.run("texts").await;
    assert_eq!((summary.done, summary.duplicate), (1, 1), "{summary:?}");
    let row = world.query("SELECT id, lock_key, body FROM messages");
    assert_eq!(format!("{row:?}"), format!(r#"[[Text("SM1"), Text("+15551234"), Text("{form}")]]"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_nothing_and_readiness_both_services() {
    let world = World::start().await;
    assert_eq!(world.request(Method::GET, "/healthz").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(world.request(Method::GET, "/readyz").send().await.unwrap().status(), StatusCode::OK);
}
