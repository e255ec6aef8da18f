//! Our requests against those that were recorded with the live service, and its answers read by us.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Request, Response};
use oncebus_azure::batch::Batch;
use oncebus_azure::connection::ServiceBusConnection;
use oncebus_azure::servicebus::{ServiceBus, ServiceBusErrorKind, parse_peek_lock, parse_sent, parse_settled};
use oncebus_core::message::{Addressing, LockRef, Outgoing, Properties, PropertyValue};
use oncebus_core::time::UnixTime;
use serde_json::Value;

/// The clients' own: sent with every request, stored by nobody.
const NOT_OURS: [&str; 4] = ["accept", "accept-encoding", "connection", "user-agent"];
const ATOM: &str = "application/atom+xml;type=entry;charset=utf-8";

struct Exchange(Value);

/// The `n`th exchange of the one source whose name ends so.
fn exchange(source: &str, n: u64) -> Exchange {
    let lines = include_str!("fixtures/exchanges.jsonl").lines();
    let mut found = lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|exchange| exchange["source"].as_str().unwrap().ends_with(source) && exchange["n"] == n);
    let exchange = found.next().unwrap_or_else(|| panic!("no exchange {n} of {source}"));
    assert!(found.next().is_none(), "{source} is not one source");
    Exchange(exchange)
}

fn python(test: &str, n: u64) -> Exchange {
    exchange(&format!("test_servicebus_servicebus.{test}.yaml"), n)
}

fn body(recorded: &Value) -> Bytes {
    match recorded {
        Value::Null => Bytes::new(),
        Value::String(text) => Bytes::copy_from_slice(text.as_bytes()),
        other => BASE64.decode(other["base64"].as_str().unwrap()).unwrap().into(),
    }
}

fn headers(recorded: &Value) -> BTreeMap<String, String> {
    let headers = recorded.as_object().unwrap().iter();
    headers.map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned())).collect()
}

impl Exchange {
    fn response(&self) -> Response<Bytes> {
        let mut response = Response::builder().status(u16::try_from(self.0["status"].as_u64().unwrap()).unwrap());
        for (name, value) in headers(&self.0["resp_headers"]) {
            response = response.header(name, value);
        }
        response.body(body(&self.0["resp_body"])).unwrap()
    }

    /// Method, address, headers and body are what was recorded.
    fn assert_is(&self, ours: &Request<Bytes>) {
        self.assert_head_is(ours);
        let mut recorded = headers(&self.0["req_headers"]);
        recorded.retain(|name, _| !NOT_OURS.contains(&name.as_str()));
        let theirs = body(&self.0["req_body"]);
        if theirs.is_empty() {
            recorded.remove("content-type");
        }
        assert_eq!(ours.body(), &theirs);
        assert_eq!(our_headers(ours), meanings(recorded));
    }

    fn assert_head_is(&self, ours: &Request<Bytes>) {
        assert_eq!(self.0["method"], ours.method().as_str());
        assert_eq!(self.0["url"], ours.uri().to_string());
    }
}

fn our_headers(request: &Request<Bytes>) -> BTreeMap<String, Value> {
    let headers = request.headers().iter().filter(|(name, _)| *name != "authorization");
    meanings(headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect())
}

/// Header values as the JSON they are, where they are: spaces in it mean nothing.
fn meanings(headers: BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let meaning = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    headers.into_iter().map(|(name, value)| (name, meaning(value))).collect()
}

fn service_bus() -> ServiceBus {
    let connection = ServiceBusConnection::parse(
        "Endpoint=sb://fakesbnamespace.servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=abc=",
    );
    ServiceBus::new(&connection.unwrap(), UnixTime(1_795_174_201), Duration::from_secs(3600))
}

fn message(content_type: &str, body: impl Into<Bytes>) -> Outgoing {
    Outgoing { content_type: Some(content_type.to_owned()), body: body.into(), ..Outgoing::default() }
}

fn lock(sequence_number: i64, lock_token: &str) -> LockRef {
    LockRef { sequence_number, lock_token: lock_token.to_owned() }
}

#[test]
fn the_token_is_for_the_whole_namespace() {
    let bus = service_bus();
    assert_eq!(bus.token_expires_at(), Some(UnixTime(1_795_177_801)));
    let request = bus.peek_lock("q", 0);
    let token = request.headers()["authorization"].to_str().unwrap();
    let prefix = "SharedAccessSignature sr=https%3A%2F%2Ffakesbnamespace.servicebus.windows.net&sig=";
    assert!(token.starts_with(prefix), "{token}");
    assert!(token.ends_with("&se=1795177801&skn=RootManageSharedAccessKey"), "{token}");
}

#[test]
fn a_ready_made_token_is_sent_as_it_is() {
    let token = "SharedAccessSignature sr=sb%3a%2f%2fns&sig=a%3D&se=1795174201&skn=k";
    let text = format!("Endpoint=sb://ns;SharedAccessSignature={token}");
    let bus = ServiceBus::new(&ServiceBusConnection::parse(&text).unwrap(), UnixTime(0), Duration::from_secs(1));
    assert_eq!(bus.peek_lock("q", 0).headers()["authorization"], token);
    assert_eq!(bus.token_expires_at(), Some(UnixTime(1_795_174_201)));
}

#[test]
fn sending() {
    let cases = [
        ("test_send_queue_message", "utqueue138314b4", message(ATOM, "send message")),
        ("test_send_queue_message_unicode", "utqueuec7f517fa", message(ATOM, "receive message啊齄丂狛狜")),
        (
            "test_send_queue_message_with_custom_message_type",
            "utqueuea14d1f2e",
            message("text/xml", "<text>peek lock message custom message type</text>"),
        ),
        (
            "test_unicode_receive_queue_message_binary_data",
            "utqueue5f9c1e10",
            message(ATOM, (0..=255).cycle().take(1024).collect::<Vec<u8>>()),
        ),
        ("test_receive_queue_message_delete_with_slash", "ut/queue24191d54", message(ATOM, "peek lock message delete")),
    ];
    for (test, queue, message) in cases {
        let recorded = python(test, 1);
        recorded.assert_is(&service_bus().send(queue, &message).unwrap());
        assert_eq!(parse_sent(recorded.response()), Ok(()), "{test}");
    }
}

fn labelled(label: &str) -> Addressing {
    Addressing { label: Some(label.to_owned()), ..Addressing::default() }
}

#[test]
fn sending_with_a_label() {
    // The recorded client sends `ForcePersistence: false` too, which is the default, and which we have no use for.
    let recorded = python("test_receive_queue_message_with_broker_properties", 1);
    let message = Outgoing { addressing: labelled("My label"), ..message(ATOM, "receive message") };
    let request = service_bus().send("utqueuebf4b1f98", &message).unwrap();
    recorded.assert_head_is(&request);
    let mut theirs = meanings(headers(&recorded.0["req_headers"]));
    let theirs = theirs.get_mut("brokerproperties").unwrap();
    theirs.as_object_mut().unwrap().remove("ForcePersistence");
    assert_eq!(&our_headers(&request)["brokerproperties"], theirs);
}

fn all_kinds_of_properties() -> Properties {
    let mut properties = Properties::new();
    properties.set("active", PropertyValue::Bool(true));
    properties.set("deceased", PropertyValue::Bool(false));
    properties.set("dob", "Wed, 14 Dec 2011 00:00:00 GMT");
    properties.set("double_quote_message", "This \"should\" work fine");
    #[expect(clippy::approx_constant, reason = "the recorded value")]
    properties.set("floating", PropertyValue::Double(3.14));
    properties.set("hello", "world");
    properties.set("large", PropertyValue::Integer(8_555_111_000));
    properties.set("number", PropertyValue::Integer(42));
    properties.set("quote_message", "This 'should' work fine");
    properties
}

#[test]
fn properties_of_every_kind_are_sent_and_received() {
    let test = "test_send_queue_message_with_custom_message_properties";
    let message = Outgoing { properties: all_kinds_of_properties(), ..message(ATOM, "message with properties") };
    python(test, 1).assert_is(&service_bus().send("utqueue652e21b9", &message).unwrap());

    let recorded = python(test, 2);
    recorded.assert_is(&service_bus().peek_lock("utqueue652e21b9", 5));
    let delivery = parse_peek_lock(recorded.response()).unwrap().unwrap();
    assert_eq!(delivery.body, message.body);
    assert_eq!(delivery.properties.len(), message.properties.len());
    for (name, value) in message.properties.iter() {
        assert_eq!(delivery.properties.get(name), Some(value), "{name}");
    }
    python(test, 3).assert_is(&service_bus().complete("utqueue652e21b9", &delivery.lock));
}

#[test]
fn sending_a_batch() {
    let message = |label: &str, body: &'static str, properties: &[(&str, &str)]| Outgoing {
        addressing: labelled(label),
        body: Bytes::from_static(body.as_bytes()),
        properties: properties.iter().copied().collect(),
        ..Outgoing::default()
    };
    let first = message("M1", "This is the first message", &[]);
    let mut batch = Batch::new();
    batch.push(&Outgoing { time_to_live: Some(Duration::from_secs(40)), ..first }).unwrap();
    batch.push(&message("M2", "This is the second message", &[("Priority", "Low")])).unwrap();
    batch.push(&message("M3", "This is the third message", &[("Customer", "ABC"), ("Priority", "Medium")])).unwrap();
    let request = service_bus().send_batch("utqueue97ed1715", batch.clone());

    let recorded = python("test_send_queue_message_batch", 1);
    recorded.assert_head_is(&request);
    assert_eq!(request.headers()["content-type"], headers(&recorded.0["req_headers"])["content-type"]);
    assert_eq!(request.headers()["content-length"], batch.size().to_string().as_str());
    assert_eq!(request.headers().len(), 3, "and the token; nothing else");
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!(json(request.body()), json(&body(&recorded.0["req_body"])));
    assert_eq!(parse_sent(recorded.response()), Ok(()));
}

#[test]
fn a_lock_is_taken_renewed_abandoned_taken_again_and_completed() {
    let (test, queue) = ("test_receive_queue_message_unlock", "utqueuef8dd18d8");
    let bus = service_bus();
    let recorded = python(test, 2);
    recorded.assert_is(&bus.peek_lock(queue, 60));
    let first = parse_peek_lock(recorded.response()).unwrap().unwrap();
    assert_eq!(first.lock, lock(1, "41f822ef-0c89-4f17-96e9-1df6c1f1a81e"));
    assert_eq!(first.message_id, "93dedba50a09441aa3ab1491f6c8a847");
    assert_eq!(first.delivery_count, 1);
    // Thu, 11 Aug 2016 23:42:15 GMT, and a minute later.
    assert_eq!(first.enqueued_at, Some(UnixTime(1_470_958_935)));
    assert_eq!(first.answered_at, Some(UnixTime(1_470_958_935)));
    assert_eq!(first.locked_until, Some(UnixTime(1_470_958_995)));
    assert_eq!(first.content_type.as_deref(), Some(ATOM));
    assert_eq!(first.body, "peek lock message unlock");
    assert!(first.properties.is_empty());

    for (n, request) in [(3, bus.renew(queue, &first.lock)), (4, bus.abandon(queue, &first.lock))] {
        python(test, n).assert_is(&request);
        assert_eq!(parse_settled(python(test, n).response()), Ok(()));
    }

    let second = parse_peek_lock(python(test, 5).response()).unwrap().unwrap();
    assert_eq!(second.message_id, first.message_id);
    assert_eq!(second.delivery_count, 2);
    assert_eq!(second.lock, lock(1, "5d053743-3928-4c52-84d5-eae0ec9144c4"));
    python(test, 6).assert_is(&bus.complete(queue, &second.lock));
    assert_eq!(parse_settled(python(test, 6).response()), Ok(()));
}

#[test]
fn a_queue_may_be_a_path() {
    let bus = service_bus();
    for (test, queue, timeout, n) in [
        ("test_receive_queue_message_delete_with_slash", "ut/queue24191d54", 60, 2),
        ("test_receive_subscription_message_delete", "uttopicb3e91bbf/subscriptions/MySubscription", 5, 3),
    ] {
        python(test, n).assert_is(&bus.peek_lock(queue, timeout));
        let delivery = parse_peek_lock(python(test, n).response()).unwrap().unwrap();
        python(test, n + 1).assert_is(&bus.complete(queue, &delivery.lock));
    }
}

#[test]
fn an_empty_queue_answers_nothing() {
    let recorded = python("test_get_dead_letter_queue", 1);
    recorded.assert_is(&service_bus().peek_lock("utqueue51c815e2/$DeadLetterQueue", 2));
    assert_eq!(parse_peek_lock(recorded.response()), Ok(None));
}

#[test]
fn a_message_without_a_content_type_has_none() {
    let delivery = parse_peek_lock(exchange("#test10", 5).response()).unwrap().unwrap();
    assert_eq!(delivery.content_type, None);
    assert_eq!(delivery.body, "hi there again");
    assert_eq!(delivery.lock, lock(1, "acccce0e-7596-4e0c-b216-2d18638ac0dd"));
}

#[test]
fn refusals_are_read_in_all_their_shapes() {
    use ServiceBusErrorKind::{BadRequest, EntityNotFound};
    let cases = [
        (exchange("#test2", 1), EntityNotFound, None, Some("bed561f2-ad85-434c-a92e-8a9162c28bdf_G21")),
        (
            python("test_delete_queue_with_non_existing_queue_fail_not_exist", 0),
            EntityNotFound,
            None,
            Some("01bd5467-6f9c-452a-aa50-17ffff36672e_G44"),
        ),
        // The text of this one stands in the reason phrase alone, which HTTP/2 and WASI don't have.
        (python("test_delete_rule_with_non_existing_rule", 2), EntityNotFound, None, None),
        (
            python("test_create_queue_with_already_existing_queue_fail_on_exist", 1),
            BadRequest,
            Some(40_900),
            Some("fc76434b-a479-46d5-9103-25654dbf3899_G0"),
        ),
        (
            python("test_unicode_create_queue_unicode_name", 0),
            BadRequest,
            None,
            Some("a27a9087-9994-4db9-aaf5-4a1146dcdbfe_G18"),
        ),
        (
            exchange("test_mgmt_queue_update_invalid.yaml", 3),
            EntityNotFound,
            Some(40_400),
            Some("c9ee15af-c1fa-4806-87ea-51774a354cb6_G3"),
        ),
        (
            exchange("test_mgmt_queue_update_invalid.yaml", 4),
            BadRequest,
            Some(40_000),
            Some("49e129a4-b4bb-476d-a768-9f68e90f5871_G3"),
        ),
    ];
    for (recorded, kind, sub_code, tracking_id) in cases {
        let error = parse_sent(recorded.response()).unwrap_err();
        assert_eq!(
            (error.kind, error.sub_code, error.tracking_id.as_deref()),
            (kind, sub_code, tracking_id),
            "{error}"
        );
        assert_eq!(u64::from(error.status), recorded.0["status"]);
        assert!(!error.detail.is_empty() && !error.detail.contains(['\n', '<']), "{error}");
        assert!(!error.is_retryable());
        // The same refusal of a settling call: a 404 means that the lock is lost.
        let settling = parse_settled(recorded.response()).unwrap_err().kind;
        assert_eq!(settling, if error.status == 404 { ServiceBusErrorKind::LockLost } else { kind });
    }
}
