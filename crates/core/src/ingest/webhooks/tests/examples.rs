//! What the providers' documentation shows, and what they leave to be known.

use super::*;
use crate::message::property;

/// The secret and the body of GitHub's documentation.
#[test]
fn github() {
    let secret = "It's a Secret to Everybody";
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let headers = [
        ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("X-GitHub-Event", "issues"),
        ("X-Hub-Signature-256", signature),
        ("content-type", "text/plain"),
    ];
    let hook = webhook("kind = 'github'");
    let sent = Sent::new(&headers, "Hello, World!", NOW);
    let entry = sent.message(&hook, secret);
    assert_eq!(
        (entry.id.as_str(), &entry.message.body[..]),
        ("72d3162e-cc78-11e3-81ab-4c9367dc0958", &b"Hello, World!"[..])
    );
    let properties = &entry.message.properties;
    assert_eq!((properties.text("x-github-event"), properties.text("webhook")), (Some("issues"), Some("hook")));
    assert_eq!(properties.text(property::KEY), None);
    for wrong in [
        // SHA-1 alone is no signature, and neither is one in capitals, or without its prefix.
        ("X-Hub-Signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"),
        ("X-Hub-Signature-256", &signature.to_uppercase()),
        ("X-Hub-Signature-256", &signature[7..]),
        ("X-Hub-Signature-256", "sha256="),
        ("X-Hub-Signature-256", ""),
    ] {
        let headers = [headers[0], wrong];
        assert_eq!(
            Sent::new(&headers, "Hello, World!", NOW).refusal(&hook, secret),
            Kind::InvalidSignature,
            "{wrong:?}"
        );
    }
    let without_id = Sent::new(&headers[1..], "Hello, World!", NOW);
    assert_eq!(without_id.refusal(&hook, secret), Kind::InvalidId);
    let twice = [headers[0], headers[2], headers[2]];
    assert_eq!(Sent::new(&twice, "Hello, World!", NOW).refusal(&hook, secret), Kind::InvalidSignature);
}

/// The request of Slack's documentation: a slash command.
#[test]
fn slack() {
    let secret = "8f742231b10e8888abcd99yyyzzz85a5";
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let headers = [
        ("X-Slack-Request-Timestamp", "1531420618"),
        ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let hook = webhook("kind = 'slack'");
    let sent = Sent::new(&headers, body, UnixTime(1_531_420_618));
    assert_eq!(
        sent.message(&hook, secret).id,
        payload_hash(Some("application/x-www-form-urlencoded"), body.as_bytes())
    );
    assert_eq!(Sent { now: NOW, ..sent.clone() }.refusal(&hook, secret), Kind::StaleTimestamp);
    assert_eq!(Sent { now: NOW, ..sent }.refusal(&hook, "other"), Kind::InvalidSignature);
}

#[test]
fn slack_asks_whether_somebody_is_there_and_tells_events_by_their_id() {
    let hook = webhook("kind = 'slack'");
    let keys = hook.keys(&[Secret::new("s")]).unwrap();
    let sent = |body: &str| {
        let time = NOW.0.to_string();
        let signature = keys.sign(Algorithm::Sha256, &[b"v0:", time.as_bytes(), b":", body.as_bytes()]);
        let signature = format!("v0={}", hex::encode(signature));
        let headers = [
            ("x-slack-request-timestamp", time.as_str()),
            ("x-slack-signature", &signature),
            ("content-type", "application/json"),
        ];
        Sent::new(&headers, Bytes::copy_from_slice(body.as_bytes()), NOW)
    };
    let question =
        r#"{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    let answer = Accepted::Challenge("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P".to_owned());
    assert_eq!(sent(question).told(&hook, &["s"]), Ok(answer));
    assert_eq!(sent(question).refusal(&hook, "other"), Kind::InvalidSignature, "a stranger is told nothing");
    let event = r#"{"type":"event_callback","event_id":"Ev08MFMKH6","challenge":"x"}"#;
    assert_eq!(sent(event).message(&hook, "s").id, "Ev08MFMKH6");
    for other in [r#"{"type":"app_rate_limited"}"#, "{", r#"{"event_id":""}"#] {
        assert_eq!(sent(other).message(&hook, "s").id, payload_hash(Some("application/json"), other.as_bytes()));
    }
}

/// The vector of the specification's libraries.
#[test]
fn standard_webhooks() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
    let hook = webhook("kind = 'standard'");
    let then = UnixTime(1_614_265_330);
    let list = format!("v1,AAAA v1a,{} v2,x  {signature}", "A".repeat(88));
    for family in ["webhook", "svix"] {
        for signature in [signature, &list] {
            let names = ["id", "timestamp", "signature"].map(|name| format!("{family}-{name}"));
            let headers = [(names[0].as_str(), id), (&names[1], "1614265330"), (&names[2], signature)];
            let sent = Sent::new(&headers, body, then);
            assert_eq!(sent.message(&hook, secret).id, id);
            // Without the prefix and without padding it is the same secret; beside another one it still counts.
            assert!(sent.told(&hook, &["", "whsec_bm90aGluZyBvZiB0aGUgc29ydA", &secret[6..]]).is_ok());
            for (now, kind) in
                [(-301, Some(Kind::StaleTimestamp)), (-300, None), (300, None), (301, Some(Kind::StaleTimestamp))]
            {
                let now = UnixTime(then.0.checked_add_signed(now).unwrap());
                let told = Sent { now, ..sent.clone() }.told(&hook, &[secret]);
                assert_eq!(told.err().map(|problem| problem.kind), kind);
            }
            let mixed = [(if family == "svix" { "webhook-id" } else { "svix-id" }, id), headers[1], headers[2]];
            assert_eq!(Sent::new(&mixed, body, then).refusal(&hook, secret), Kind::InvalidSignature);
        }
    }
}

#[test]
fn an_empty_id_is_none_even_if_it_is_signed() {
    let hook = webhook("kind = 'standard'");
    let keys = hook.keys(&[Secret::new("c2VjcmV0")]).unwrap();
    let time = NOW.0.to_string();
    let signature = keys.sign(Algorithm::Sha256, &[b".", time.as_bytes(), b".", b"x"]);
    let signature = format!("v1,{}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, signature));
    let headers = [("webhook-timestamp", time.as_str()), ("webhook-signature", &signature)];
    assert_eq!(Sent::new(&headers, "x", NOW).refusal(&hook, "c2VjcmV0"), Kind::InvalidSignature);
}

/// Computed with OpenSSL: `printf '%s' "1492774577.$body" | openssl dgst -sha256 -hmac whsec_test`.
#[test]
fn stripe() {
    let (secret, then) = ("whsec_test", UnixTime(1_492_774_577));
    let body = r#"{"id":"evt_1","object":"event","type":"charge.succeeded"}"#;
    let right = "b3e13e5447fdc7345d487944bdbf0936288eae7f90ef03fd6b930d5d5a1d35d8";
    let hook = webhook("kind = 'stripe'");
    let zeros = "0".repeat(64);
    for header in [
        format!("t=1492774577,v1={right}"),
        format!("t=1492774577, v1={zeros}, v1={right}, v0={zeros}"),
        format!("v1={right},t=1492774577"),
    ] {
        let sent = Sent::new(&[("Stripe-Signature", &header)], body, then);
        assert_eq!(sent.message(&hook, secret).id, "evt_1");
        assert_eq!(Sent { now: NOW, ..sent }.refusal(&hook, secret), Kind::StaleTimestamp);
    }
    for header in [
        format!("t=1492774577,v0={right}"),
        format!("t=1492774578,v1={right}"),
        format!("t=,v1={right}"),
        format!("v1={right}"),
        format!("t=1492774577,v1={}", right.to_uppercase()),
        "t=1492774577".to_owned(),
        String::new(),
    ] {
        let sent = Sent::new(&[("Stripe-Signature", &header)], body, then);
        assert_eq!(sent.refusal(&hook, secret), Kind::InvalidSignature, "{header}");
    }
}

#[test]
fn a_signed_body_that_is_no_event_is_malformed_and_one_without_an_id_has_none() {
    let hook = webhook("kind = 'stripe'");
    let keys = hook.keys(&[Secret::new("s")]).unwrap();
    for (body, kind) in [
        ("{", Kind::Malformed),
        ("[]", Kind::Malformed),
        ("{}", Kind::InvalidId),
        (r#"{"id":""}"#, Kind::InvalidId),
        (r#"{"id":"a\n"}"#, Kind::InvalidId),
        (r#"{"id":7}"#, Kind::Malformed),
    ] {
        let time = NOW.0.to_string();
        let signature = hex::encode(keys.sign(Algorithm::Sha256, &[time.as_bytes(), b".", body.as_bytes()]));
        let header = format!("t={time},v1={signature}");
        assert_eq!(Sent::new(&[("stripe-signature", &header)], body, NOW).refusal(&hook, "s"), kind, "{body}");
    }
}

/// Computed with OpenSSL: `printf '%s' "$body" | openssl dgst -sha256 -hmac hush -binary | base64`.
#[test]
fn shopify() {
    let body = r#"{"id":820982911946154508,"email":"jon@example.com"}"#;
    let hook = webhook("kind = 'shopify'");
    for prefix in ["X-Shopify", "Shopify"] {
        let names = ["Hmac-Sha256", "Webhook-Id", "Topic"].map(|name| format!("{prefix}-{name}"));
        let headers = [
            (names[0].as_str(), "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo8="),
            (&names[1], "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"),
            (&names[2], "orders/create"),
        ];
        let sent = Sent::new(&headers, body, NOW);
        let entry = sent.message(&hook, "hush");
        assert_eq!(entry.id, "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043");
        assert_eq!(entry.message.properties.text(&names[2]), Some("orders/create"));
        assert_eq!(Sent::new(&headers[..1], body, NOW).refusal(&hook, "hush"), Kind::InvalidId);
        assert_eq!(Sent::new(&headers[1..], body, NOW).refusal(&hook, "hush"), Kind::InvalidSignature);
    }
}

#[test]
fn anybody_else_who_signs_by_hmac() {
    let hook = webhook(
        "kind = 'hmac'\nheader = 'X-Sig'\nalgorithm = 'sha512'\nencoding = 'base64'\nprefix = 'v1='\n\
         timestamp_header = 'X-Time'\ntolerance_seconds = 60\nsigned = \"{id}\\n{timestamp}\\n{body}\"\nkey_from = ['header:X-Id']\n\
         lock_key_from = ['json:/customer']\nproperties = ['X-Type']",
    );
    let keys = hook.keys(&[Secret::new("s")]).unwrap();
    let (time, body) = (NOW.0.to_string(), r#"{"customer":7}"#);
    let content = format!("a/1\n{time}\n{body}");
    let signature = keys.sign(Algorithm::Sha512, &[content.as_bytes()]);
    let signature = format!("v1={}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, signature));
    let headers = [
        ("x-sig", signature.as_str()),
        ("x-time", &time),
        ("x-id", "a/1"),
        ("x-type", "t"),
        ("content-type", "application/json"),
    ];
    let sent = Sent::new(&headers, body, NOW);
    let entry = sent.message(&hook, "s");
    let properties = &entry.message.properties;
    assert_eq!(
        (entry.id.as_str(), properties.text(property::KEY), properties.text("x-type")),
        ("a/1", Some("7"), Some("t"))
    );
    assert_eq!(Sent { now: UnixTime(NOW.0 + 61), ..sent }.refusal(&hook, "s"), Kind::StaleTimestamp);
    for other in 1..3 {
        let mut headers = headers;
        headers[other].1 = "1";
        assert_eq!(Sent::new(&headers, body, NOW).refusal(&hook, "s"), Kind::InvalidSignature);
    }
    // As little as can be said: hex of SHA-256 over the body, known by its payload.
    let hook = webhook("kind = 'hmac'\nheader = 'X-Sig'");
    let signature = hex::encode_upper(keys.sign(Algorithm::Sha256, &[b"x"]));
    let entry = Sent::new(&[("X-Sig", &signature)], "x", NOW).message(&hook, "s");
    assert_eq!(entry.id, payload_hash(None, b"x"));
}

#[test]
fn an_id_and_a_key_may_stand_elsewhere_than_the_source_has_them() {
    let hook = webhook("kind = 'github'\nkey_from = ['json:/id']\nlock_key_from = ['json:/repository/id']");
    let keys = hook.keys(&[Secret::new("s")]).unwrap();
    let sent = |body: &str| {
        let signature = format!("sha256={}", hex::encode(keys.sign(Algorithm::Sha256, &[body.as_bytes()])));
        Sent::new(
            &[("x-hub-signature-256", &signature), ("content-type", "application/json")],
            Bytes::copy_from_slice(body.as_bytes()),
            NOW,
        )
    };
    let entry = sent(r#"{"id":"a","repository":{"id":12}}"#).message(&hook, "s");
    assert_eq!((entry.id.as_str(), entry.message.properties.text(property::KEY)), ("a", Some("12")));
    assert_eq!(sent(r#"{"id":"a"}"#).message(&hook, "s").message.properties.text(property::KEY), None);
    assert_eq!(sent(r#"{"id":null}"#).refusal(&hook, "s"), Kind::InvalidId);
    assert_eq!(sent(r#"{"id":"a","repository":{"id":"\u0000"}}"#).refusal(&hook, "s"), Kind::Malformed);
}
