//! `POST /webhooks/twilio`.

use oncebus_core::ingest::form::pairs;
use oncebus_core::ingest::twilio::sign;

use super::*;

const PATH: &str = "/webhooks/twilio?x=1";
const FORM: &str = "MessageSid=SM1&From=%2B4930&Body=Hi+there";
const TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn signature(body: &str) -> String {
    sign(&Secret::new("12345"), "https://example.com/webhooks/twilio?x=1", &pairs(body.as_bytes()))
}

#[test]
fn a_signed_form_is_sent_as_it_came_and_answered_with_empty_twiml() {
    let world = World::answering(201);
    let told = world.ask("POST", PATH, &[TYPE, ("X-Twilio-Signature", &signature(FORM))], FORM);
    assert_eq!((told.status, told.header("content-type")), (200, Some("text/xml; charset=utf-8")));
    assert_eq!(told.body, b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>");
    let sent = world.only_sent();
    assert_eq!((sent.uri().path(), &sent.body()[..]), ("/texts/messages", FORM.as_bytes()));
    assert_eq!((sent_header(&sent, "oncebus-id"), sent_header(&sent, "oncebus-key")), ("\"SM1\"", "\"+4930\""));
    assert_eq!(sent.headers()["content-type"], TYPE.1);
}

#[test]
fn nothing_is_sent_without_the_right_signature() {
    let world = World::new(|request| panic!("nothing is sent: {request:?}"));
    let right = signature(FORM);
    let header = ("x-twilio-signature", right.as_str());
    for (target, headers, body) in [
        (PATH, vec![TYPE], FORM),
        (PATH, vec![TYPE, ("x-twilio-signature", "")], FORM),
        (PATH, vec![TYPE, header, header], FORM),
        (PATH, vec![TYPE, header], "MessageSid=SM2&From=%2B4930&Body=Hi+there"),
        ("/webhooks/twilio", vec![TYPE, header], FORM),
        (PATH, vec![header], FORM),
        // Not even what is malformed is looked at.
        (PATH, vec![TYPE], ""),
    ] {
        assert_eq!(
            world.ask("POST", target, &headers, body).problem(),
            problem(403, "invalid-signature"),
            "{headers:?}"
        );
    }
    let unnamed = signature("From=1");
    let told = world.ask("POST", PATH, &[TYPE, ("x-twilio-signature", &unnamed)], "From=1");
    assert_eq!(told.problem(), problem(400, "malformed"));
}

#[test]
fn what_is_not_configured_is_refused_loudly() {
    let right = signature(FORM);
    let headers = [TYPE, ("x-twilio-signature", right.as_str())];
    let without_token = World { token: None, ..World::answering(201) };
    let told = without_token.ask("POST", PATH, &headers, FORM);
    assert_eq!((told.problem(), &told.json()["key"]), (problem(500, "configuration"), &"twilio_auth_token".into()));
    let without_url = World { config: "[queues.t]\n[webhooks.twilio]\nqueue = 't'", ..World::answering(201) };
    let told = without_url.ask("POST", PATH, &headers, FORM);
    assert_eq!((told.problem(), &told.json()["key"]), (problem(500, "configuration"), &"public_url".into()));
    let without_queue = World { config: "[queues.t]", ..World::answering(201) };
    assert_eq!(without_queue.ask("POST", PATH, &headers, FORM).problem(), problem(404, "not-found"));
}

#[test]
fn a_broker_that_does_not_answer_is_no_success_for_twilio() {
    let world = World::answering(503);
    let told = world.ask("POST", PATH, &[TYPE, ("x-twilio-signature", &signature(FORM))], FORM);
    assert_eq!(told.problem(), problem(503, "throttled"));
}
