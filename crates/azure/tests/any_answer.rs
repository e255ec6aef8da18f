//! Whatever a server answers is read without a panic, and a message that can be read can be sent on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_azure::servicebus::ServiceBus;
use oncebus_azure::{blob, servicebus};
use oncebus_core::message::Outgoing;
use oncebus_core::time::UnixTime;
use proptest::prelude::*;

const NAMES: [&str; 14] = [
    "brokerproperties",
    "location",
    "date",
    "content-type",
    "content-length",
    "etag",
    "last-modified",
    "retry-after",
    "x-ms-error-code",
    "x-ms-meta-st",
    "oncebus-id",
    "priority",
    "keep-alive",
    "x-",
];

/// Texts that get past the first checks of a parser.
fn near_miss() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![any::<i64>().prop_map(|n| n.to_string()), any::<f64>().prop_map(|n| n.to_string())];
    let scalar = prop_oneof![number, ".{0,8}".prop_map(|text| format!("{text:?}")), Just("null".to_owned())];
    let broker = (scalar.clone(), scalar.clone(), scalar.clone(), scalar.clone()).prop_map(|(a, b, c, d)| {
        format!(r#"{{"SequenceNumber":{a},"LockToken":{b},"MessageId":{c},"DeliveryCount":{d},"EnqueuedTimeUtc":{b}}}"#)
    });
    let date = (0..32u32, 0..10_000u32).prop_map(|(day, year)| format!("Sun, {day:02} Nov {year:04} 08:49:37 GMT"));
    let location = (any::<i64>(), "[ -~]{0,12}").prop_map(|(n, token)| format!("https://ns/q/messages/{n}/{token}"));
    let error = "[ -~]{0,20}".prop_map(|text| format!("<Error><Detail>SubCode=4{text}TrackingId:{text}</Detail>"));
    let tag = "(EnumerationResults|Blobs|Blob|Name|Properties|Etag|Last-Modified|Metadata|NextMarker|a)";
    let piece = (tag, "(|&lt;|&x;|[ -~]{0,6})", 0..4u8).prop_map(|(tag, text, end)| match end {
        0 => format!("<{tag}>{text}"),
        1 => format!("</{tag}>"),
        2 => format!("<{tag}/>"),
        _ => format!("<{tag}>{text}</{tag}>"),
    });
    let xml = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![
        prop_oneof![scalar, broker, date, location, error, xml].prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

/// A header: which of [`NAMES`], and its value.
type Header = (usize, Vec<u8>);

/// Status, headers, body.
fn answer() -> impl Strategy<Value = (u16, Vec<Header>, Vec<u8>)> {
    let status = prop_oneof![Just(200u16), Just(201), Just(204), Just(404), Just(409), Just(412), 100u16..1000];
    (status, prop::collection::vec((0..NAMES.len(), near_miss()), 0..8), near_miss())
}

fn response(status: u16, headers: &[Header], body: &[u8]) -> Response<Bytes> {
    let mut response = Response::builder().status(status).body(Bytes::copy_from_slice(body)).unwrap();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            response.headers_mut().append(HeaderName::from_static(NAMES[*name]), value);
        }
    }
    response
}

fn service_bus() -> ServiceBus {
    let text = "Endpoint=http://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=s";
    ServiceBus::new(&ServiceBusConnection::parse(text).unwrap(), UnixTime(0), std::time::Duration::ZERO)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_answer_makes_a_parser_panic((status, headers, body) in answer()) {
        let answer = || response(status, &headers, &body);
        let _ = servicebus::parse_sent(answer());
        let _ = servicebus::parse_settled(answer());
        let _ = blob::parse_create(answer());
        let _ = blob::parse_head(answer());
        let _ = blob::parse_get(answer());
        let _ = blob::parse_write(answer());
        let _ = blob::parse_container(answer());
        let _ = blob::listing::parse_page(answer());
        let _ = blob::listing::parse_delete(answer());
        if let Ok(Some(delivery)) = servicebus::parse_peek_lock(answer()) {
            // Its lock can be settled, and a copy of its properties can be sent, whatever they are.
            let bus = service_bus();
            for request in [bus.complete("q", &delivery.lock), bus.abandon("q", &delivery.lock), bus.renew("q", &delivery.lock)] {
                prop_assert_eq!(&request.headers()["content-length"], "0");
            }
            let copy = Outgoing { properties: delivery.properties.clone(), body: delivery.body, ..Outgoing::default() };
            let sent = bus.send("q", &copy).unwrap();
            let mut received = Response::builder().status(201).body(sent.body().clone()).unwrap();
            received.headers_mut().extend(sent.headers().clone());
            let lock = r#"{"SequenceNumber":1,"LockToken":"t","MessageId":"m"}"#;
            received.headers_mut().insert("brokerproperties", HeaderValue::from_static(lock));
            let again = servicebus::parse_peek_lock(received).unwrap().unwrap();
            prop_assert_eq!(again.properties.len(), delivery.properties.len());
            for (name, value) in delivery.properties.iter() {
                prop_assert_eq!(again.properties.get(name), Some(value));
            }
        }
    }

    #[test]
    fn a_success_is_never_read_out_of_a_refusal((_, headers, body) in answer(), status in 300u16..600) {
        let answer = || response(status, &headers, &body);
        prop_assert!(servicebus::parse_sent(answer()).is_err());
        prop_assert!(servicebus::parse_settled(answer()).is_err());
        prop_assert!(servicebus::parse_peek_lock(answer()).is_err());
        let created = matches!(blob::parse_create(answer()), Ok(blob::CreateOutcome::Created { .. }));
        prop_assert!(!created);
        let written = matches!(blob::parse_write(answer()), Ok(blob::WriteOutcome::Written { .. }));
        prop_assert!(!written);
        prop_assert!(!matches!(blob::parse_head(answer()), Ok(blob::HeadOutcome::Found(_))));
        prop_assert!(blob::listing::parse_page(answer()).is_err());
        prop_assert!(blob::listing::parse_delete(answer()) != Ok(blob::listing::DeleteOutcome::Deleted));
    }

    #[test]
    fn no_connection_string_panics(text in ".{0,80}", key in "[A-Za-z]{0,12}", host in "[a-z:/@?.\\[\\]0-9]{0,20}") {
        let candidates = [
            text.clone(),
            format!("Endpoint=sb://{host};SharedAccessKeyName=k;SharedAccessKey={text}"),
            format!("Endpoint=sb://ns;SharedAccessSignature=SharedAccessSignature sr={text}&sig=a&se=b;EntityPath={text}"),
            format!("BlobEndpoint=http://{host}/{key};SharedAccessSignature=sig={text}"),
            format!("AccountName={key};AccountKey=a2V5;EndpointSuffix={host}"),
        ];
        for candidate in candidates {
            if let Ok(connection) = ServiceBusConnection::parse(&candidate) {
                let bus = ServiceBus::new(&connection, UnixTime(u64::MAX), std::time::Duration::MAX);
                let _ = bus.peek_lock(&text, u32::MAX);
            }
            if let Ok(connection) = StorageConnection::parse(&candidate) {
                let container = blob::BlobContainer::new(&connection, &text, UnixTime(u64::MAX), std::time::Duration::MAX);
                let _ = container.head(&text);
                let _ = blob::create_container(&connection, &text, UnixTime(u64::MAX));
            }
        }
    }
}
