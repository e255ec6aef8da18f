//! Who may send and ask.

use oncebus_core::ingest::access::signature::sign;

use super::*;

const PATH: &str = "/queues/orders/messages";
const STATUS: &str = "/queues/orders/messages/a";

/// The SHA-256 of `s3cret` and of `t1ll`.
const KEYS: &str = "public_url = 'https://example.com'\n[queues.orders]\n[queues.texts]\n[webhooks.twilio]\nqueue = 'texts'\n[[routes]]\nmatch = { headers = { x = { present = true } } }\nqueue = 'texts'\n[[routes]]\nqueue = 'orders'\n[access]\nmode = 'keys'\n[[access.keys]]\nname = 'shop'\nsha256 = '1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0'\n[[access.keys]]\nname = 'till'\nsha256 = 'TILL'\nqueues = ['texts']";
const HMAC: &str = "[queues.orders]\n[access]\nmode = 'hmac'\n[[access.keys]]\nname = 'shop'";

fn keys() -> &'static str {
    let till = oncebus_core::id::sha256_hex(b"t1ll");
    KEYS.replace("TILL", &till).leak()
}

fn with(config: &'static str, secret: Option<&'static str>) -> World {
    let secrets = secret.map(|secret| ("access_secret", secret)).into_iter().collect();
    World { config, secrets, ..World::answering(201) }
}

#[test]
fn who_shows_no_key_is_told_to_and_nothing_is_sent() {
    let world = with(keys(), None);
    for (method, target) in [
        ("POST", PATH),
        ("POST", "/queues/orders/batch"),
        ("POST", "/messages"),
        ("POST", "/routes/test"),
        ("GET", STATUS),
        ("HEAD", STATUS),
        // Whether a queue is there is nobody's business.
        ("POST", "/queues/nope/messages"),
    ] {
        for headers in [vec![], vec![("x-api-key", "wrong")], vec![("authorization", "Basic czNjcmV0")]] {
            let told = world.ask(method, target, &headers, "[]");
            assert_eq!(
                (told.status, told.header("www-authenticate")),
                (401, Some("Bearer realm=\"oncebus\"")),
                "{target}"
            );
            if method != "HEAD" {
                assert_eq!(told.problem(), problem(401, "unauthorized"));
            }
        }
    }
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn who_shows_a_key_may_send_to_its_queues_and_no_other() {
    let world = with(keys(), None);
    assert_eq!(world.ask("POST", PATH, &[("authorization", "Bearer s3cret")], "x").status, 202);
    assert_eq!(world.ask("POST", "/queues/texts/messages", &[("x-api-key", "t1ll")], "x").status, 202);
    assert_eq!(world.ask("POST", "/messages", &[("x-api-key", "t1ll"), ("x", "1")], "x").status, 202);
    world.sent.borrow_mut().clear();
    let json = ("content-type", "application/json");
    for (method, target) in [("POST", PATH), ("POST", "/queues/orders/batch"), ("GET", STATUS), ("POST", "/messages")] {
        let told = world.ask(method, target, &[("x-api-key", "t1ll"), json], "[]");
        assert_eq!((told.problem(), &told.json()["queue"]), (problem(403, "forbidden"), &"orders".into()), "{target}");
    }
    assert_eq!(
        world.ask("GET", "/queues/nope/messages/a", &[("x-api-key", "t1ll")], "").problem(),
        problem(403, "forbidden")
    );
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn health_is_open_and_webhooks_have_signatures_of_their_own() {
    let world = with(keys(), None);
    for target in ["/", "/healthz", "/readyz"] {
        assert_ne!(world.ask("GET", target, &[], "").status, 401, "{target}");
    }
    assert_eq!(world.ask("POST", "/webhooks/twilio", &[], "x").problem(), problem(403, "invalid-signature"));
    assert_eq!(world.ask("GET", PATH, &[], "").problem(), problem(405, "method-not-allowed"));
}

/// Headers of a request that was signed when the world's clock stands.
fn signed(secret: &str, method: &str, target: &str, body: &str) -> Vec<(&'static str, String)> {
    let key = ("idempotency-key".to_owned(), b"k".to_vec());
    let head = Head { method: method.to_owned(), target: target.to_owned(), headers: vec![key] };
    let signature = sign(&Secret::new(secret), UnixTime(1_795_174_201), &head, body.as_bytes());
    vec![
        ("idempotency-key", "k".to_owned()),
        ("oncebus-timestamp", "1795174201".to_owned()),
        ("oncebus-signature", signature),
    ]
}

fn ask(world: &World, method: &str, target: &str, headers: &[(&str, String)], body: &str) -> Told {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world.ask(method, target, &headers, body)
}

#[test]
fn a_signed_body_is_handed_on_as_it_came() {
    let world = with(HMAC, Some("s3cret"));
    let body = "x".repeat(5_000);
    let told = ask(&world, "POST", PATH, &signed("s3cret", "POST", PATH, &body), &body);
    assert_eq!((told.status, told.header("location")), (202, Some("/queues/orders/messages/k")));
    assert_eq!(&world.only_sent().body()[..], body.as_bytes());
    let mut headers = signed("s3cret", "POST", "/queues/orders/batch", "[1, 2]");
    headers.push(("content-type", "application/json".to_owned()));
    assert_eq!(ask(&world, "POST", "/queues/orders/batch", &headers, "[1, 2]").status, 202);
    let told = ask(&with(HMAC, Some("s3cret")), "GET", STATUS, &signed("s3cret", "GET", STATUS, ""), "");
    assert_ne!(told.status, 401);
}

#[test]
fn what_was_not_signed_is_refused() {
    let world = with(HMAC, Some("s3cret"));
    let told = ask(&world, "POST", PATH, &signed("s3cret", "POST", PATH, "x"), "y");
    let challenge = told.header("www-authenticate").map(str::to_owned);
    assert_eq!(
        (told.problem(), challenge.as_deref()),
        (problem(401, "unauthorized"), Some("Oncebus-Signature realm=\"oncebus\""))
    );
    for headers in [signed("wrong", "POST", PATH, "x"), signed("s3cret", "POST", STATUS, "x"), vec![]] {
        assert_eq!(ask(&world, "POST", PATH, &headers, "x").problem(), problem(401, "unauthorized"));
    }
    let long = "x".repeat(262_145);
    assert_eq!(
        ask(&world, "POST", PATH, &signed("s3cret", "POST", PATH, &long), &long).problem(),
        problem(413, "too-large")
    );
    assert!(world.sent.borrow().is_empty());
    // A stranger's body is not read before the headers are there.
    let unread = stream::poll_fn(|_| -> std::task::Poll<Option<Result<Vec<u8>, ()>>> { panic!("was read") });
    let declared = [("content-length", "99000000")];
    assert_eq!(world.ask_with("POST", PATH, &declared, unread).problem(), problem(401, "unauthorized"));
}

#[test]
fn without_a_secret_all_is_refused_and_the_operator_is_told() {
    for secret in [None, Some("")] {
        let told = ask(&with(HMAC, secret), "POST", PATH, &signed("", "POST", PATH, "x"), "x");
        assert_eq!((told.problem(), &told.json()["key"]), (problem(500, "configuration"), &"access_secret".into()));
    }
}
