use proptest::prelude::*;
use serde_json::{Value, json};

use super::handshake::{Consent, consent};
use super::*;
use crate::config::Config;
use crate::message::property;

fn head(headers: &[(&str, &str)]) -> Head {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Head { headers, ..Head::default() }
}

fn in_json(event: &Value) -> Result<Entry, Problem> {
    event_from(&event.to_string())
}

fn event_from(text: &str) -> Result<Entry, Problem> {
    event(&Bytes::copy_from_slice(text.as_bytes()), None)
}

fn body(entry: &Entry) -> &str {
    std::str::from_utf8(&entry.message.body).unwrap()
}

/// The attributes of the specification's own examples.
const HEADERS: [(&str, &str); 7] = [
    ("ce-specversion", "1.0"),
    ("ce-type", "com.example.someevent"),
    ("ce-source", "/mycontext"),
    ("ce-id", "C234-1234-1234"),
    ("ce-time", "2018-04-05T17:31:00Z"),
    ("ce-comexampleextension1", "value"),
    ("ce-comexampleothervalue", "5"),
];

fn example() -> Value {
    json!({ "specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext", "id": "C234-1234-1234",
        "time": "2018-04-05T17:31:00Z", "comexampleextension1": "value", "comexampleothervalue": 5,
        "subject": null, "unsetextension": null })
}

/// The example with more members.
fn with(more: &Value) -> Value {
    let mut event = example();
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

/// The message of an event that came in binary mode.
fn in_binary(content_type: &str, body: &'static [u8]) -> Entry {
    let headers = [HEADERS.as_slice(), &[("content-type", content_type)]].concat();
    binary(&head(&headers)).unwrap().with_body(Bytes::from_static(body))
}

fn sorted(entry: Entry) -> (String, Option<String>, Bytes, Vec<(String, String)>) {
    let mut properties: Vec<(String, String)> =
        entry.message.properties.iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    properties.sort();
    (entry.id, entry.message.content_type, entry.message.body, properties)
}

#[test]
fn the_content_type_alone_tells_the_mode() {
    let of = |content_type: &str| Mode::of(&head(&[("content-type", content_type), ("ce-id", "a")]));
    assert_eq!(of("application/cloudevents+json; charset=UTF-8"), Ok(Some(Mode::Structured)));
    assert_eq!(of("Application/CloudEvents-Batch+JSON"), Ok(Some(Mode::Batched)));
    assert_eq!(of("application/json"), Ok(Some(Mode::Binary)));
    for unknown in ["application/cloudevents", "application/cloudevents+avro", "application/cloudevents-batch+cbor"] {
        assert_eq!(of(unknown).unwrap_err().kind, Kind::UnsupportedContentType, "{unknown}");
    }
    assert_eq!(Mode::of(&head(&[("content-type", "application/json")])), Ok(None));
    assert_eq!(Mode::of(&head(&[("CE-SpecVersion", "1.0")])), Ok(Some(Mode::Binary)));
    assert_eq!(Mode::of(&head(&[("ce-subject", "x")])), Ok(None));
}

/// The specification's own pairs of examples (JSON format, 3.2): in JSON, and the same in binary mode.
#[test]
fn an_event_is_the_same_message_in_every_mode() {
    let pairs = [
        (
            with(&json!({ "datacontenttype": "application/vnd.apache.thrift.binary", "data_base64": "AP9/" })),
            in_binary("application/vnd.apache.thrift.binary", b"\x00\xff\x7f"),
        ),
        (
            with(&json!({ "datacontenttype": "application/xml", "data": "<much wow=\"xml\"/>" })),
            in_binary("application/xml", b"<much wow=\"xml\"/>"),
        ),
        (
            with(
                &json!({ "datacontenttype": "application/json", "data": { "appinfoA": "abc", "appinfoB": 123, "appinfoC": true } }),
            ),
            in_binary("application/json", br#"{"appinfoA":"abc","appinfoB":123,"appinfoC":true}"#),
        ),
        (with(&json!({ "data": "I'm just a string" })), in_binary("application/json", b"\"I'm just a string\"")),
    ];
    for (structured, binary) in pairs {
        assert_eq!(sorted(in_json(&structured).unwrap()), sorted(binary.clone()));
        // As an element of a batch it is no other event.
        let batch = Bytes::from(format!(" [{structured}] "));
        let items = crate::ingest::batch::elements(&batch, 1).unwrap();
        let item = crate::ingest::batch::read(crate::ingest::batch::Form::Events, &items[0], String::new);
        assert_eq!(sorted(item.unwrap()), sorted(binary));
    }
}

#[test]
fn attributes_are_properties_and_source_and_id_the_id() {
    let entry = in_json(&with(&json!({ "partitionkey": "customer 7", "flag": true }))).unwrap();
    assert_eq!(entry.id, "/mycontext C234-1234-1234");
    let properties = &entry.message.properties;
    assert_eq!(properties.text("cloudEvents_type"), Some("com.example.someevent"));
    assert_eq!(properties.text("cloudEvents_comexampleothervalue"), Some("5"));
    assert_eq!(properties.text("cloudEvents_flag"), Some("true"));
    assert_eq!((properties.text("cloudEvents_subject"), properties.text("cloudEvents_datacontenttype")), (None, None));
    assert_eq!(properties.text(property::KEY), Some("customer 7"));
    assert_eq!(properties.text("cloudEvents_partitionkey"), Some("customer 7"));
    // No data: no body, and no type of one.
    assert_eq!((entry.message.body.len(), entry.message.content_type), (0, None));
}

#[test]
fn a_long_identity_is_its_digest() {
    let long = "x".repeat(600);
    let id = in_json(&with(&json!({ "id": long }))).unwrap().id;
    assert_eq!((id.len(), &id[..7]), (71, "sha256:"));
    assert_ne!(id, in_json(&with(&json!({ "id": format!("{long}y") }))).unwrap().id);
}

#[test]
fn a_header_names_another_lock_key_and_no_other_id() {
    let more = [("oncebus-lock-key", "k"), ("idempotency-key", "other"), ("ce-partitionkey", "p")];
    let entry = binary(&head(&[HEADERS.as_slice(), &more].concat())).unwrap();
    assert_eq!(
        (entry.id.as_str(), entry.message.properties.text(property::KEY)),
        ("/mycontext C234-1234-1234", Some("k"))
    );
}

#[test]
fn headers_are_unquoted_and_then_decoded_once() {
    for (header, expected) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("\"a \\\"b\\\" %25\"", "a \"b\" %"),
        ("%2525", "%25"),
        ("100%", "100%"),
        ("größe", "größe"),
        ("%c3%a9", "é"),
    ] {
        let entry = binary(&head(&[HEADERS.as_slice(), &[("ce-subject", header)]].concat())).unwrap();
        assert_eq!(entry.message.properties.text("cloudEvents_subject"), Some(expected), "{header}");
    }
    for wrong in ["%C0%A0", "\"open", "\"a\"b", "%00", "%0A"] {
        let problem = binary(&head(&[HEADERS.as_slice(), &[("ce-subject", wrong)]].concat())).unwrap_err();
        assert_eq!((problem.kind, &problem.to_json()["attribute"]), (Kind::InvalidEvent, &"subject".into()), "{wrong}");
    }
}

#[test]
fn what_is_no_event_is_told_by_its_attribute() {
    for (more, attribute) in [
        (json!({ "id": null }), "id"),
        (json!({ "source": "" }), "source"),
        (json!({ "source": "a b" }), "source"),
        (json!({ "specversion": "0.3" }), "specversion"),
        (json!({ "Subject": "x" }), "Subject"),
        (json!({ "my_extension": "x" }), "my_extension"),
        (json!({ "extension": { "a": 1 } }), "extension"),
        (json!({ "extension": 1.5 }), "extension"),
        (json!({ "subject": "a\u{7f}" }), "subject"),
        (json!({ "partitionkey": "" }), "partitionkey"),
        (json!({ "datacontenttype": "a\nb" }), "datacontenttype"),
        (json!({ "data": 1, "data_base64": "AA==" }), "data_base64"),
        (json!({ "data_base64": "?" }), "data_base64"),
        (json!({ "data_base64": 7 }), "data_base64"),
    ] {
        let problem = in_json(&with(&more)).unwrap_err();
        assert_eq!((problem.kind, problem.to_json()["attribute"].as_str()), (Kind::InvalidEvent, Some(attribute)));
    }
    let twice = event_from(r#"{"id":"a","id":"b","source":"s","type":"t","specversion":"1.0"}"#).unwrap_err();
    assert_eq!(twice.to_json()["attribute"], "id");
    for (name, value) in &HEADERS[..4] {
        let without: Vec<(&str, &str)> = HEADERS.into_iter().filter(|(known, _)| known != name).collect();
        let problem = binary(&head(&without)).unwrap_err();
        assert_eq!(format!("ce-{}", problem.to_json()["attribute"].as_str().unwrap()), *name, "{value}");
    }
    assert_eq!(event_from("[]").unwrap_err().kind, Kind::InvalidEvent);
    assert_eq!(event_from("{").unwrap_err().kind, Kind::Malformed);
}

#[test]
fn data_goes_on_as_it_stands() {
    for (data, expected) in
        [("{ \"b\" :1.0e+2}", "{ \"b\" :1.0e+2}"), ("null", "null"), ("\"a\\u00e9\"", "\"a\\u00e9\""), ("[ ]", "[ ]")]
    {
        let text = format!("{{\"id\":\"a\",\"source\":\"s\",\"type\":\"t\",\"data\":{data} ,\"specversion\":\"1.0\"}}");
        let entry = event_from(&text).unwrap();
        assert_eq!((body(&entry), entry.message.content_type.as_deref()), (expected, Some("application/json")));
    }
    let text = in_json(&with(&json!({ "datacontenttype": "text/plain", "data": "a\n\u{e9}" }))).unwrap();
    assert_eq!(body(&text), "a\n\u{e9}");
    let unset = in_json(&with(&json!({ "data": 1, "data_base64": null }))).unwrap();
    assert_eq!(body(&unset), "1");
    let unpadded = in_json(&with(&json!({ "data_base64": "AA" }))).unwrap();
    assert_eq!(&unpadded.message.body[..], [0]);
}

#[test]
fn only_origins_of_the_configuration_get_consent() {
    let config = |lines: &str| Config::parse(&format!("[queues.a]\n[cloudevents]\n{lines}")).unwrap().cloudevents;
    let ask = |origin: &str, lines: &str| {
        consent(&head(&[("WebHook-Request-Origin", origin)]), &config(lines)).map_err(|problem| problem.kind)
    };
    let one = "allowed_origins = 'eventgrid.azure.net'\nrequests_per_minute = 120";
    let given = Consent { origin: "EventGrid.azure.net".into(), rate: "120".into() };
    assert_eq!(ask("EventGrid.azure.net", one), Ok(Some(given)));
    assert_eq!(ask("evil.example", one), Err(Kind::OriginNotAllowed));
    assert_eq!(ask("eventgrid.azure.net", ""), Err(Kind::OriginNotAllowed));
    let any = ask("anybody.example", "allowed_origins = '*'").unwrap().unwrap();
    assert_eq!((any.origin.as_str(), any.rate.as_str()), ("anybody.example", "*"));
    assert_eq!(ask("ä", "allowed_origins = '*'"), Err(Kind::OriginNotAllowed));
    assert_eq!(consent(&head(&[]), &config(one)), Ok(None));
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_accepted_has_a_usable_id(text in "\\PC{0,60}", header in prop::collection::vec(any::<u8>(), 0..30)) {
        let _ = event_from(&text);
        let head = Head { headers: HEADERS.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).chain([("ce-extension".to_owned(), header)]).collect(), ..Head::default() };
        if let Ok(entry) = binary(&head) {
            prop_assert_eq!(check_logical_id(&entry.id), Ok(()));
        }
    }

    /// Whatever an attribute holds, both ways to write it are the same message.
    #[test]
    fn binary_and_structured_agree(subject in "\\PC{1,20}", id in "\\PC{1,20}", source in "[!-~]{1,20}", data in "\\PC{0,20}") {
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let headers = [("ce-specversion", "1.0".to_owned()), ("ce-type", "t".to_owned()), ("ce-id", encode(&id)), ("ce-source", encode(&source)),
            ("ce-subject", encode(&subject)), ("content-type", "text/plain".to_owned())];
        let head = Head { headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(), ..Head::default() };
        let binary = binary(&head).map(|entry| entry.with_body(Bytes::from(data.clone())));
        let structured = in_json(&json!({ "specversion": "1.0", "type": "t", "id": id, "source": source, "subject": subject,
            "datacontenttype": "text/plain", "data": data }));
        match (binary, structured) {
            (Ok(binary), Ok(structured)) => {
                prop_assert_eq!(body(&binary), data);
                prop_assert_eq!(binary.id.split_once(' '), Some((source.as_str(), id.as_str())));
                prop_assert_eq!(sorted(binary), sorted(structured));
            }
            (Err(one), Err(other)) => prop_assert_eq!(one, other),
            (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
        }
    }
}
