//! Webhooks of every kind: signed here as their providers sign, taken by the component, and found in the store.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::Mac as _;
use http::{Method, StatusCode};
use oncebus_e2e::{Setup, World};

const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0cw==";

async fn world() -> World {
    let mut setup = Setup::default();
    for (name, more) in [
        ("standard", ""),
        ("github", "secrets = ['hmac_webhook_secret', 'github_webhook_secret']"),
        ("stripe", ""),
        ("slack", ""),
        ("shopify", ""),
        ("hmac", "header = 'X-Sig'\nkey_from = ['json:/n']\nlock_key_from = ['json:/from']"),
        ("unset", "kind = 'github'\nsecrets = ['hmac_webhook_secret', 'nowhere']"),
    ] {
        setup.config.push_str(&format!("\n[webhooks.{name}]\nqueue = 'orders'\n{more}\n"));
        let variable = match name {
            "slack" => "slack_signing_secret".to_owned(),
            "shopify" => "shopify_client_secret".to_owned(),
            // The kind `hmac` has its own below; without it, `unset` has none.
            "hmac" | "unset" => continue,
            _ => format!("{name}_webhook_secret"),
        };
        setup = setup.with_variable(&variable, SECRET);
    }
    setup.config =
        setup.config.replace("key_from = ['json:/n']", "key_from = ['json:/n']\nsecrets = ['stripe_webhook_secret']");
    World::with(setup).await
}

fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string()
}

fn hmac(key: &[u8], content: &str) -> Vec<u8> {
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(content.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// What a provider would send at this time.
fn signed(name: &str, time: &str, body: &str) -> Vec<(&'static str, String)> {
    let hexed = |content: &str| hex::encode(hmac(SECRET.as_bytes(), content));
    match name {
        "standard" => {
            let key = BASE64_STANDARD.decode(SECRET).unwrap();
            let signature = BASE64_STANDARD.encode(hmac(&key, &format!("msg_1.{time}.{body}")));
            let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
            names.into_iter().zip(["msg_1".to_owned(), time.to_owned(), format!("v1,{signature}")]).collect()
        }
        "github" => vec![
            ("X-Hub-Signature-256", format!("sha256={}", hexed(body))),
            ("X-GitHub-Delivery", "delivery-1".to_owned()),
            ("X-GitHub-Event", "push".to_owned()),
        ],
        "stripe" => vec![("Stripe-Signature", format!("t={time},v1={}", hexed(&format!("{time}.{body}"))))],
        "slack" => vec![
            ("X-Slack-Signature", format!("v0={}", hexed(&format!("v0:{time}:{body}")))),
            ("X-Slack-Request-Timestamp", time.to_owned()),
        ],
        "shopify" => vec![
            ("X-Shopify-Hmac-Sha256", BASE64_STANDARD.encode(hmac(SECRET.as_bytes(), body))),
            ("X-Shopify-Webhook-Id", "webhook-1".to_owned()),
        ],
        _ => vec![("X-Sig", hexed(body))],
    }
}

async fn post(world: &World, name: &str, headers: &[(&str, String)], body: &str) -> reqwest::Response {
    let request = world.request(Method::POST, &format!("/webhooks/{name}")).header("content-type", "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    request.body(body.to_owned()).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_taken_once_and_refused_with_another_byte() {
    let world = world().await;
    let cases = [
        ("standard", "msg_1", r#"{"a":1}"#, StatusCode::ACCEPTED),
        ("github", "delivery-1", r#"{"ref":"refs/heads/ä"}"#, StatusCode::ACCEPTED),
        ("stripe", "evt_1", r#"{"id":"evt_1"}"#, StatusCode::ACCEPTED),
        ("slack", "Ev1", r#"{"type":"event_callback","event_id":"Ev1"}"#, StatusCode::OK),
        ("shopify", "webhook-1", r#"{"id":820982911946154508}"#, StatusCode::OK),
        ("hmac", "18446744073709551615", r#"{ "n": 18446744073709551615, "from": "me" }"#, StatusCode::ACCEPTED),
    ];
    for (name, id, body, status) in cases {
        let headers = signed(name, &now(), body);
        for _ in 0..2 {
            let answer = post(&world, name, &headers, body).await;
            assert_eq!(answer.status(), status, "{name}: {}", answer.text().await.unwrap());
            let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(location, (status == StatusCode::ACCEPTED).then(|| format!("/queues/orders/messages/{id}")));
            assert_eq!(answer.text().await.unwrap(), "");
        }
        let tampered = post(&world, name, &headers, &format!("{body} ")).await;
        assert_eq!(tampered.status(), StatusCode::FORBIDDEN, "{name}");
        assert!(tampered.text().await.unwrap().contains("invalid-signature"), "{name}");
        let unsigned = post(&world, name, &headers[1..], body).await;
        assert_eq!(unsigned.status(), StatusCode::FORBIDDEN, "{name}");
    }
    let mut done = (0, 0);
    while done.0 + done.1 < 12 {
        let summary = world.run("orders").await;
        assert!(summary.received > 0, "{summary:?} after {done:?}");
        done = (done.0 + summary.done, done.1 + summary.duplicate);
    }
    assert_eq!(done, (6, 6));
    for (_, id, body, _) in cases {
        let row = world.query(&format!("SELECT body FROM messages WHERE id = '{id}'"));
        assert_eq!(format!("{row:?}"), format!("[[Text({body:?})]]"));
    }
    let key = world.query("SELECT lock_key FROM messages WHERE lock_key IS NOT NULL");
    assert_eq!(format!("{key:?}"), r#"[[Text("me")]]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_gets_its_challenge_back_and_old_requests_are_told_so() {
    let world = world().await;
    let body = r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#;
    let answer = post(&world, "slack", &signed("slack", &now(), body), body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert_eq!(answer.text().await.unwrap(), "3eZbrw1a");
    for name in ["slack", "stripe", "standard"] {
        let answer = post(&world, name, &signed(name, "1531420618", body), body).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(answer.text().await.unwrap().contains("stale-timestamp"));
    }
    assert_eq!(world.queued("orders"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_without_a_secret_refuses_everything() {
    let world = world().await;
    for key in ["", SECRET] {
        let signature = hex::encode(hmac(key.as_bytes(), "x"));
        let headers = [("X-Hub-Signature-256", format!("sha256={signature}")), ("X-GitHub-Delivery", "d".to_owned())];
        let answer = post(&world, "unset", &headers, "x").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let told = answer.text().await.unwrap();
        assert!(told.contains("webhooks.unset.secrets") && !told.contains("nowhere"), "{told}");
    }
    assert_eq!(world.queued("orders"), 0);
}
