//! `POST /webhooks/{name}`.

use super::*;

/// Signed with the secret `12345`, as are all of these: Twilio's for the public URL `https://example.com`.
const PATH: &str = "/webhooks/twilio?x=1";
const FORM: &str = "MessageSid=SM1&From=%2B4930&Body=Hi+there";
const TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const SIGNED: (&str, &str) = ("X-Twilio-Signature", "vDXL1nUETYzzYFEYBW903dxHMds=");

/// GitHub's and Slack's, at [`World`]'s time; and the answer that Slack expects.
const PUSH: &str = r#"{"ref":"refs/heads/main"}"#;
const PUSH_SIGNED: (&str, &str) =
    ("x-hub-signature-256", "sha256=229da28fcd0e45e1a546a12793dc6e6365383333c6611a29bed6d72c2b3b5f43");
const QUESTION: &str = r#"{"type":"url_verification","challenge":"c1"}"#;
const QUESTION_SIGNED: (&str, &str) =
    ("x-slack-signature", "v0=d743a56db02a2b55099dd7b56c49297d4642c8b0feca300ff6f2182ddf02537c");
const EVENT: &str = r#"{"type":"event_callback","event_id":"Ev1"}"#;
const EVENT_SIGNED: (&str, &str) =
    ("x-slack-signature", "v0=8e73f0407355e62ec7ef3fbb800cbaa5e21a102a1ab9e3b924a16ea9b82f1801");
const TIME: (&str, &str) = ("x-slack-request-timestamp", "1795174201");
const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_signed_form_is_sent_as_it_came_and_answered_with_empty_twiml() {
    let world = World::answering(201);
    let told = world.ask("POST", PATH, &[TYPE, SIGNED], FORM);
    assert_eq!((told.status, told.header("content-type")), (200, Some("text/xml; charset=utf-8")));
    assert_eq!(told.body, b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>");
    let sent = world.only_sent();
    assert_eq!((sent.uri().path(), &sent.body()[..]), ("/texts/messages", FORM.as_bytes()));
    assert_eq!((sent_header(&sent, "oncebus-id"), sent_header(&sent, "oncebus-key")), ("\"SM1\"", "\"+4930\""));
    assert_eq!((sent_header(&sent, "webhook"), sent_header(&sent, "content-type")), ("\"twilio\"", TYPE.1));
}

#[test]
fn nothing_is_sent_without_the_right_signature() {
    let world = World::new(|request| panic!("nothing is sent: {request:?}"));
    for (target, headers, body) in [
        (PATH, vec![TYPE], FORM),
        (PATH, vec![TYPE, (SIGNED.0, "")], FORM),
        (PATH, vec![TYPE, SIGNED, SIGNED], FORM),
        (PATH, vec![TYPE, SIGNED], "MessageSid=SM2&From=%2B4930&Body=Hi+there"),
        ("/webhooks/twilio", vec![TYPE, SIGNED], FORM),
        (PATH, vec![SIGNED], FORM),
        // Not even what is malformed is looked at.
        (PATH, vec![TYPE], "MessageSid=%ff"),
        ("/webhooks/github", vec![JSON], PUSH),
        ("/webhooks/github", vec![JSON, ("x-github-delivery", "d1"), (PUSH_SIGNED.0, "sha256=00")], PUSH),
        ("/webhooks/slack", vec![JSON, TIME], QUESTION),
        ("/webhooks/slack", vec![JSON, TIME, EVENT_SIGNED], QUESTION),
    ] {
        let told = world.ask("POST", target, &headers, body);
        assert_eq!(told.problem(), problem(403, "invalid-signature"), "{headers:?}");
    }
}

#[test]
fn what_is_known_of_an_event_goes_on_as_properties() {
    let world = World::answering(201);
    let headers = [JSON, PUSH_SIGNED, ("X-GitHub-Delivery", "d 1"), ("X-GitHub-Event", "push"), ("X-Other", "x")];
    let told = world.ask("POST", "/webhooks/github", &headers, PUSH);
    assert_eq!((told.status, told.header("location")), (202, Some("/queues/orders/messages/d%201")));
    assert!(told.body.is_empty());
    let sent = world.only_sent();
    assert_eq!((sent_header(&sent, "oncebus-id"), sent_header(&sent, "x-github-event")), ("\"d 1\"", "\"push\""));
    assert!(!sent.headers().contains_key("x-other") && !sent.headers().contains_key("x-hub-signature-256"));
    let without_id = [JSON, PUSH_SIGNED];
    let told = world.ask("POST", "/webhooks/github", &without_id, PUSH);
    assert_eq!(told.problem(), problem(400, "invalid-id"));
}

#[test]
fn slack_is_answered_at_once_and_its_events_are_sent() {
    let world = World::answering(201);
    let told = world.ask("POST", "/webhooks/slack", &[JSON, TIME, QUESTION_SIGNED], QUESTION);
    assert_eq!((told.status, told.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert_eq!(told.body, b"c1");
    assert!(world.sent.borrow().is_empty());
    let told = world.ask("POST", "/webhooks/slack", &[JSON, TIME, EVENT_SIGNED], EVENT);
    assert_eq!((told.status, told.body.as_slice()), (200, &b""[..]));
    assert_eq!(sent_header(&world.only_sent(), "oncebus-id"), "\"Ev1\"");
}

#[test]
fn a_signature_of_another_time_is_told_apart() {
    let world = World { now: Cell::new(Duration::from_secs(301)), ..World::answering(201) };
    let told = world.ask("POST", "/webhooks/slack", &[JSON, TIME, EVENT_SIGNED], EVENT);
    assert_eq!(told.problem(), problem(403, "stale-timestamp"));
    let told = world.ask("POST", "/webhooks/slack", &[JSON, TIME, QUESTION_SIGNED], EVENT);
    assert_eq!(told.problem(), problem(403, "invalid-signature"));
}

#[test]
fn what_is_not_configured_is_refused_loudly() {
    let headers = [TYPE, SIGNED];
    let without_secret = World { webhook_secrets: &[], ..World::answering(201) };
    let told = without_secret.ask("POST", PATH, &headers, FORM);
    let key = told.json()["key"].clone();
    assert_eq!((told.problem(), key), (problem(500, "configuration"), "webhooks.twilio.secrets".into()));
    let without_url = World { config: "[queues.t]\n[webhooks.twilio]\nqueue = 't'", ..World::answering(201) };
    let told = without_url.ask("POST", PATH, &headers, FORM);
    assert_eq!((told.problem(), &told.json()["key"]), (problem(500, "configuration"), &"public_url".into()));
    let without_hook = World { config: "[queues.t]", ..World::answering(201) };
    assert_eq!(without_hook.ask("POST", PATH, &headers, FORM).problem(), problem(404, "not-found"));
}

#[test]
fn any_of_several_secrets_will_do() {
    let world = World { webhook_secrets: &["old", "12345"], ..World::answering(201) };
    assert_eq!(world.ask("POST", PATH, &[TYPE, SIGNED], FORM).status, 200);
}

#[test]
fn a_broker_that_does_not_answer_is_no_success() {
    let world = World::answering(503);
    assert_eq!(world.ask("POST", PATH, &[TYPE, SIGNED], FORM).problem(), problem(503, "throttled"));
    let told = world.ask("POST", "/webhooks/slack", &[JSON, TIME, EVENT_SIGNED], EVENT);
    assert_eq!(told.problem(), problem(503, "throttled"));
}

#[test]
fn without_a_queue_the_routes_say_where_it_goes() {
    let config = "[queues.a]\n[queues.b]\n[webhooks.github]\n[webhooks.slack]\n[[routes]]\nmatch.source = 'slack'\nqueue = 'a'\n[[routes]]\nmatch.headers.X-GitHub-Event = { equals = 'push' }\nqueue = 'b'";
    let world = World { config, ..World::answering(201) };
    let headers = [JSON, PUSH_SIGNED, ("x-github-delivery", "d1"), ("x-github-event", "push")];
    let told = world.ask("POST", "/webhooks/github", &headers, PUSH);
    assert_eq!((told.status, told.header("location")), (202, Some("/queues/b/messages/d1")));
    assert_eq!(world.only_sent().uri().path(), "/b/messages");
    assert_eq!(world.ask("POST", "/webhooks/slack", &[JSON, TIME, EVENT_SIGNED], EVENT).status, 200);
    assert_eq!(world.only_sent().uri().path(), "/a/messages");
    let told = world.ask("POST", "/webhooks/github", &headers[..3], PUSH);
    assert_eq!(told.problem(), problem(422, "no-route"));
    // Whether there is a route is for those who signed.
    let told = world.ask("POST", "/webhooks/github", &headers[2..3], PUSH);
    assert_eq!(told.problem(), problem(403, "invalid-signature"));
}

#[test]
fn a_message_may_be_as_large_as_any_other() {
    let world = World::new(|request| panic!("nothing is sent: {request:?}"));
    let told = world.ask("POST", "/webhooks/github", &[PUSH_SIGNED], &"x".repeat(2_049));
    assert_eq!(told.problem(), problem(413, "too-large"));
}
