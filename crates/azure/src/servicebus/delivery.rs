//! A message as the broker hands it out.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, header};
use oncebus_core::message::{Addressing, Delivery, LockRef};
use oncebus_core::time::UnixTime;
use serde_json::{Map, Value};

use super::headers::{BROKER_PROPERTIES, read_properties};
use crate::dates::from_http_date;

/// `TimeSpan.Max` in whole seconds: what the broker says of a message that does not expire.
const FOR_EVER: Duration = Duration::from_secs(922_337_203_685);

/// The longest lock token that is believed to be one, in bytes. Real ones are GUIDs of 36 characters.
const MAX_LOCK_TOKEN: usize = 256;

/// Reads a locked message, or says in a few words why it is none.
///
/// Needed are `MessageId`, `SequenceNumber` and `LockToken`; the last two are taken from `Location` where `BrokerProperties`
/// lacks them. Whatever else is missing or strange is left out: a message must not get stuck on what nobody asked for.
pub(super) fn read(response: &Response<Bytes>) -> Result<Delivery, &'static str> {
    let headers = response.headers();
    let broker = broker_properties(headers)?;
    let (sequence_in_location, token_in_location) = location(headers).unzip();
    let sequence_number = integer(&broker, "SequenceNumber").or(sequence_in_location).ok_or("no SequenceNumber")?;
    let lock_token = text(&broker, "LockToken").or(token_in_location).ok_or("no LockToken")?;
    if lock_token.is_empty() || lock_token.len() > MAX_LOCK_TOKEN {
        return Err("the LockToken is not a lock token");
    }
    Ok(Delivery {
        lock: LockRef { sequence_number, lock_token },
        message_id: text(&broker, "MessageId").ok_or("no MessageId")?,
        // Absent is read as a first delivery: the record is looked at either way.
        delivery_count: integer(&broker, "DeliveryCount").and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        enqueued_at: date(&broker, "EnqueuedTimeUtc"),
        locked_until: date(&broker, "LockedUntilUtc"),
        answered_at: header_text(headers, &header::DATE).and_then(from_http_date),
        content_type: header_text(headers, &header::CONTENT_TYPE).map(str::to_owned),
        body: response.body().clone(),
        properties: read_properties(headers),
        addressing: Addressing {
            correlation_id: text(&broker, "CorrelationId"),
            label: text(&broker, "Label"),
            reply_to: text(&broker, "ReplyTo"),
            to: text(&broker, "To"),
            partition_key: text(&broker, "PartitionKey"),
        },
        time_to_live: broker.get("TimeToLive").and_then(time_to_live),
    })
}

fn broker_properties(headers: &HeaderMap) -> Result<Map<String, Value>, &'static str> {
    let header = headers.get(BROKER_PROPERTIES).ok_or("no BrokerProperties")?;
    // Bytes rather than text: JSON may carry UTF-8 here, which a header's text may not.
    let json = String::from_utf8_lossy(header.as_bytes());
    serde_json::from_str(&json).map_err(|_| "BrokerProperties is not a JSON object")
}

/// Text; a number counts as its digits, since an id may be one.
fn text(broker: &Map<String, Value>, name: &str) -> Option<String> {
    match broker.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Seconds; `None` for those of a message that does not expire.
fn time_to_live(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok().filter(|ttl| *ttl < FOR_EVER)
}

/// A whole number, or its digits in quotes. Never by way of a float: sequence numbers of partitioned queues exceed 2^53.
fn integer(broker: &Map<String, Value>, name: &str) -> Option<i64> {
    match broker.get(name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.trim().parse().ok(),
        _ => None,
    }
}

fn date(broker: &Map<String, Value>, name: &str) -> Option<UnixTime> {
    from_http_date(broker.get(name)?.as_str()?)
}

/// `…/messages/{sequence number}/{lock token}`
fn location(headers: &HeaderMap) -> Option<(i64, String)> {
    let mut segments = header_text(headers, &header::LOCATION)?.rsplit('/');
    let token = segments.next()?;
    let sequence = segments.next()?.parse().ok()?;
    Some((sequence, token.to_owned()))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use oncebus_core::message::PropertyValue;

    use super::*;

    fn response(broker: &str, others: &[(&str, &str)]) -> Response<Bytes> {
        let mut response = Response::builder().status(201).header("BrokerProperties", broker);
        for (name, value) in others {
            response = response.header(*name, *value);
        }
        response.body(Bytes::from_static(b"body")).unwrap()
    }

    #[test]
    fn numbers_may_be_in_quotes_and_ids_may_be_numbers() {
        let quoted = r#"{"SequenceNumber":"72057594037927937","LockToken":"t","MessageId":7,"DeliveryCount":"3"}"#;
        let delivery = read(&response(quoted, &[])).unwrap();
        assert_eq!(delivery.lock.sequence_number, 72_057_594_037_927_937);
        assert_eq!((delivery.message_id.as_str(), delivery.delivery_count), ("7", 3));
    }

    #[test]
    fn a_time_to_live_without_an_end_is_none() {
        let lives = |ttl: &str| {
            let broker = format!(r#"{{"SequenceNumber":1,"LockToken":"t","MessageId":"m","TimeToLive":{ttl}}}"#);
            read(&response(&broker, &[])).unwrap().time_to_live
        };
        assert_eq!((lives("40"), lives("1.5")), (Some(Duration::from_secs(40)), Some(Duration::from_millis(1_500))));
        for none in ["922337203685.47754", "1e300", "-1", "\"40\"", "null"] {
            assert_eq!(lives(none), None, "{none}");
        }
    }

    #[test]
    fn the_lock_may_be_named_by_the_location_alone() {
        let location = ("Location", "https://ns/q/messages/12/fe9f47ca");
        let delivery = read(&response(r#"{"MessageId":"m"}"#, &[location])).unwrap();
        assert_eq!(delivery.lock, LockRef { sequence_number: 12, lock_token: "fe9f47ca".into() });
        assert_eq!(delivery.delivery_count, 1);
    }

    #[test]
    fn what_is_no_message_is_refused_with_a_reason() {
        for (broker, reason) in [
            ("", "BrokerProperties is not a JSON object"),
            ("[1]", "BrokerProperties is not a JSON object"),
            ("{}", "no SequenceNumber"),
            (r#"{"SequenceNumber":1.5,"LockToken":"t","MessageId":"m"}"#, "no SequenceNumber"),
            (r#"{"SequenceNumber":1,"MessageId":"m"}"#, "no LockToken"),
            (r#"{"SequenceNumber":1,"LockToken":"","MessageId":"m"}"#, "the LockToken is not a lock token"),
            (r#"{"SequenceNumber":1,"LockToken":"t","MessageId":null}"#, "no MessageId"),
        ] {
            assert_eq!(read(&response(broker, &[])), Err(reason), "{broker}");
        }
        assert_eq!(read(&Response::new(Bytes::new())), Err("no BrokerProperties"));
    }

    #[test]
    fn headers_of_http_are_no_properties() {
        let broker = r#"{"SequenceNumber":1,"LockToken":"t","MessageId":"m"}"#;
        let others = [
            ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Server", "Microsoft-HTTPAPI/2.0"),
            ("Strict-Transport-Security", "max-age=31536000"),
            ("Keep-Alive", "timeout=5"),
            ("Content-Length", "4"),
            ("X-Colour", "\"red\""),
        ];
        let delivery = read(&response(broker, &others)).unwrap();
        assert_eq!(delivery.properties.iter().collect::<Vec<_>>(), [("x-colour", &PropertyValue::from("red"))]);
        assert_eq!(delivery.answered_at, Some(UnixTime(784_111_777)));
        assert_eq!(delivery.content_type, None);
    }
}
