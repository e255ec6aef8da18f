//! The front door on the real component: repetitions, delays, access, waiting.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::time::Duration;

use http::{Method, StatusCode};
use oncebus_e2e::{Setup, World};

/// Posts a message to `orders` with these headers.
async fn post(world: &World, headers: &[(&str, &str)], body: &str) -> reqwest::Response {
    let request = world.request(Method::POST, "/queues/orders/messages").body(body.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("an answer")
}

fn problem(answer: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(answer).expect("JSON");
    json["type"].as_str().expect("a type").rsplit(':').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_at_the_door_is_one_message_for_one_payload() {
    let world = World::with(Setup::default().with_defaults("idempotency = 'record'")).await;
    let key = ("Idempotency-Key", "\"k-1\"");
    // All at once: one is first, the others are told so or told to wait, and nobody is told anything else.
    let keys = [key];
    let all = futures::future::join_all((0..8).map(|_| post(&world, &keys, "a"))).await;
    let statuses: Vec<StatusCode> = all.iter().map(reqwest::Response::status).collect();
    assert!(statuses.contains(&StatusCode::ACCEPTED), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status.as_u16(), 202 | 409)), "{statuses:?}");
    assert!(
        all.iter()
            .all(|answer| answer.status() == StatusCode::ACCEPTED || answer.headers().contains_key("retry-after"))
    );
    assert_eq!(world.queued("orders"), 1);

    let again = post(&world, &[key], "a").await;
    assert_eq!(
        (again.status(), &again.headers()["location"]),
        (StatusCode::ACCEPTED, &"/queues/orders/messages/k-1".parse().unwrap())
    );
    let other = post(&world, &[key], "b").await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem(&other.text().await.unwrap()), "key-reused");
    assert_eq!(world.queued("orders"), 1);
    assert_eq!(world.blob_names().await.iter().filter(|name| name.starts_with("door/")).count(), 1);
    assert_eq!(world.run("orders").await.done, 1);
    assert_eq!(world.stored(), ["k-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_comes_when_the_broker_says_so() {
    let world = World::start().await;
    // The broker's clock is an hour from ours: it is its hour that counts.
    world.admin().advance_clock(Duration::from_secs(3_600));
    let later = post(&world, &[("Idempotency-Key", "later"), ("Oncebus-Delay", "60")], "{}").await;
    assert_eq!(later.status(), StatusCode::ACCEPTED);
    assert_eq!(world.run("orders").await.received, 0);
    world.admin().advance_clock(Duration::from_secs(61));
    assert_eq!(world.run("orders").await.done, 1);
    assert_eq!(world.stored(), ["later"]);
    let past = post(&world, &[("Idempotency-Key", "past"), ("Oncebus-Deliver-At", "2020-01-01T00:00:00Z")], "{}").await;
    assert_eq!(past.status(), StatusCode::ACCEPTED);
    assert_eq!(world.run("orders").await.done, 1);
    let short = post(&world, &[("Idempotency-Key", "short"), ("Oncebus-TTL", "5")], "{}").await;
    assert_eq!(short.status(), StatusCode::ACCEPTED);
    world.admin().advance_clock(Duration::from_secs(6));
    assert_eq!(world.run("orders").await.received, 0, "its time was up");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gets_the_result_of_a_message_that_had_no_record_yet() {
    let world = World::start().await;
    world.send("orders", "w", "{}").await;
    let path = "/queues/orders/messages/w?wait=25";
    let waiting = world.request(Method::GET, path).send();
    let (answer, summary) = tokio::join!(waiting, world.run("orders"));
    let answer = answer.unwrap();
    assert_eq!((answer.status(), summary.done), (StatusCode::OK, 1));
    let etag = answer.headers()["etag"].clone();
    assert!(!answer.headers().contains_key("retry-after"));
    let json: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(json["state"], "done", "{json}");
    let same = world.request(Method::GET, path).header("If-None-Match", etag).send().await.unwrap();
    assert_eq!((same.status(), same.text().await.unwrap()), (StatusCode::NOT_MODIFIED, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_stays_outside_and_health_does_not_ask() {
    let key = "ocb_test";
    let sha256 = oncebus_core::id::sha256_hex(key.as_bytes());
    let access =
        format!("[access]\nmode = 'keys'\n[[access.keys]]\nname = 'shop'\nsha256 = '{sha256}'\nqueues = ['orders']\n");
    let setup = Setup::default();
    let world = World::with(Setup { config: format!("{}\n{access}", setup.config), ..setup }).await;
    let outside = post(&world, &[], "x").await;
    assert_eq!(
        (outside.status(), &outside.headers()["www-authenticate"]),
        (StatusCode::UNAUTHORIZED, &"Bearer realm=\"oncebus\"".parse().unwrap())
    );
    assert_eq!(problem(&outside.text().await.unwrap()), "unauthorized");
    assert_eq!(post(&world, &[("X-Api-Key", key)], "x").await.status(), StatusCode::ACCEPTED);
    let elsewhere =
        world.request(Method::POST, "/queues/texts/messages").bearer_auth(key).body("x").send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::FORBIDDEN);
    assert_eq!(world.request(Method::GET, "/healthz").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!((world.queued("orders"), world.queued("texts")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_is_taken_as_it_was_signed() {
    use oncebus_core::ingest::access::signature::sign;
    use oncebus_core::ingest::head::Head;
    use oncebus_runtime::platform::Clock as _;

    let setup = Setup::default().with_variable("access_secret", "s3cret");
    let access = "[access]\nmode = 'hmac'\n[[access.keys]]\nname = 'shop'\n";
    let world = World::with(Setup { config: format!("{}\n{access}", setup.config), ..setup }).await;
    let now = oncebus_runtime::platform::native::Native::new().unwrap().wall();
    let head = Head { method: "POST".into(), target: "/queues/orders/messages".into(), headers: Vec::new() };
    let signature = sign(&oncebus_core::secret::Secret::new("s3cret"), now, &head, b"signed");
    let now = now.0.to_string();
    let headers = [("Oncebus-Timestamp", now.as_str()), ("Oncebus-Signature", signature.as_str())];
    assert_eq!(post(&world, &headers, "signed").await.status(), StatusCode::ACCEPTED);
    assert_eq!(post(&world, &headers, "forged").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.queued("orders"), 1);
}
