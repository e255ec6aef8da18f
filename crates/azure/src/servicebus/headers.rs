//! How a message is spelled in HTTP headers: `BrokerProperties` is one header of JSON, each application property a
//! header of its own whose value is a JSON scalar.
//!
//! What we refuse to send as a property is exactly what we don't read as one, so that a copy of a received message can
//! always be sent.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue, InvalidHeaderName};
use http::{HeaderMap, header};
use oncebus_core::message::{Outgoing, Properties, PropertyValue};
use serde::Serialize;
use serde_json::Value;

use crate::dates::to_http_date;
use crate::wire::ascii_json;

pub(super) const BROKER_PROPERTIES: HeaderName = HeaderName::from_static("brokerproperties");

/// The longest `MessageId` and `PartitionKey`, in characters: the broker's limit.
const MAX_ID: usize = 128;

/// Headers that belong to HTTP or to the broker: never sent as a property, never read as one.
///
/// The first two lines are what the broker was seen not to store; the rest is what servers, and what is between, add.
const RESERVED: [&str; 26] = [
    "accept",
    "accept-encoding",
    "user-agent",
    "connection",
    "content-length",
    "content-md5",
    "content-type",
    "host",
    "authorization",
    "brokerproperties",
    "transfer-encoding",
    "content-encoding",
    "server",
    "location",
    "date",
    "strict-transport-security",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "via",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "retry-after",
];

/// Why a message cannot be sent over REST.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A property whose name is not an HTTP token.
    #[error("the property name {name:?} is not an http token: expected letters, digits and !#$%&'*+-.^_`|~")]
    PropertyName {
        /// The name.
        name: String,
    },
    /// A property whose name means something else in HTTP or to the broker.
    #[error("the property name {name:?} is reserved")]
    ReservedProperty {
        /// The name.
        name: String,
    },
    /// A property that is not a finite number.
    #[error("the property {name:?} is not a finite number")]
    PropertyValue {
        /// The name.
        name: String,
    },
    /// More properties than a request has room for.
    #[error("there are too many properties: {count}")]
    TooManyProperties {
        /// How many.
        count: usize,
    },
    /// A content type that is not printable.
    #[error("the content type has characters that a header cannot carry")]
    ContentType,
    /// A field beyond the broker's limit.
    #[error("{field} has {characters} characters: at most {MAX_ID} are allowed")]
    TooLong {
        /// Which.
        field: &'static str,
        /// How long it is.
        characters: usize,
    },
}

/// Adds the headers of a single send.
pub(super) fn encode(message: &Outgoing, headers: &mut HeaderMap) -> Result<(), EncodeError> {
    // An empty content type is what the broker stores as none.
    if let Some(content_type) = message.content_type.as_deref().filter(|text| !text.is_empty()) {
        let value = HeaderValue::from_str(content_type).map_err(|_| EncodeError::ContentType)?;
        headers.insert(header::CONTENT_TYPE, value);
    }
    let broker = BrokerProperties::of(message, TtlForm::Seconds)?;
    if broker != BrokerProperties::default() {
        headers.insert(BROKER_PROPERTIES, json_value(&broker));
    }
    for (name, value) in message.properties.iter() {
        let header = property_name(name)?;
        let value = json_value(&property_to_json(name, value)?);
        headers
            .try_insert(header, value)
            .map_err(|_| EncodeError::TooManyProperties { count: message.properties.len() })?;
    }
    Ok(())
}

/// JSON as a header value.
#[expect(clippy::expect_used, reason = "strings and finite numbers are JSON, and escaped JSON is printable ASCII")]
fn json_value(value: &impl Serialize) -> HeaderValue {
    let json = serde_json::to_string(value).expect("strings and finite numbers");
    HeaderValue::try_from(ascii_json(&json)).expect("printable ASCII")
}

/// A property's name as a header's: an HTTP token that is not reserved.
fn property_name(name: &str) -> Result<HeaderName, EncodeError> {
    let header = name
        .parse::<HeaderName>()
        .map_err(|_: InvalidHeaderName| EncodeError::PropertyName { name: name.to_owned() })?;
    if is_reserved(&header) {
        return Err(EncodeError::ReservedProperty { name: name.to_owned() });
    }
    Ok(header)
}

fn is_reserved(header: &HeaderName) -> bool {
    RESERVED.contains(&header.as_str())
}

/// A property as JSON, its name checked.
fn property_to_json(name: &str, value: &PropertyValue) -> Result<Value, EncodeError> {
    check_property(name, value)?;
    Ok(match value {
        PropertyValue::Text(text) => Value::from(text.as_str()),
        PropertyValue::Integer(number) => Value::from(*number),
        PropertyValue::Bool(truth) => Value::from(*truth),
        PropertyValue::Double(number) => Value::from(*number),
    })
}

/// Whether a property can be sent: in a batch it must be fit for a header too, for it is received as one.
pub(crate) fn check_property(name: &str, value: &PropertyValue) -> Result<(), EncodeError> {
    property_name(name)?;
    match value {
        PropertyValue::Double(number) if !number.is_finite() => {
            Err(EncodeError::PropertyValue { name: name.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The application properties of a received message: every header that is not reserved.
pub(super) fn read_properties(headers: &HeaderMap) -> Properties {
    let mut properties = Properties::new();
    for name in headers.keys().filter(|name| !is_reserved(name)) {
        if let Some(value) = headers.get(name).and_then(read_value) {
            properties.set(name.as_str(), value);
        }
    }
    properties
}

/// A JSON scalar, or the text as it is: senders are not always careful, and a message must not get stuck on that.
fn read_value(header: &HeaderValue) -> Option<PropertyValue> {
    let text = String::from_utf8_lossy(header.as_bytes());
    match serde_json::from_str(&text) {
        Ok(Value::Null) => None,
        Ok(Value::Bool(truth)) => Some(PropertyValue::Bool(truth)),
        Ok(Value::String(string)) => Some(PropertyValue::Text(string)),
        Ok(Value::Number(number)) => {
            number.as_i64().map(PropertyValue::Integer).or_else(|| number.as_f64().map(PropertyValue::Double))
        }
        Ok(Value::Array(_) | Value::Object(_)) | Err(_) => Some(PropertyValue::Text(text.into_owned())),
    }
}

/// What a sender may set of the broker's own properties.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BrokerProperties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_enqueue_time_utc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_live: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_live_time_span: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
}

/// A time to live is spelled as a number in a header, and as a time span in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TtlForm {
    Seconds,
    TimeSpan,
}

impl<'a> BrokerProperties<'a> {
    pub(crate) fn of(message: &'a Outgoing, ttl: TtlForm) -> Result<Self, EncodeError> {
        let (seconds, span) = match (message.time_to_live, ttl) {
            (None, _) => (None, None),
            (Some(ttl), TtlForm::Seconds) => (Some(seconds(ttl)), None),
            (Some(ttl), TtlForm::TimeSpan) => (None, Some(time_span(ttl))),
        };
        Ok(Self {
            correlation_id: message.addressing.correlation_id.as_deref(),
            label: message.addressing.label.as_deref(),
            message_id: limited("MessageId", message.message_id.as_deref())?,
            partition_key: limited("PartitionKey", message.addressing.partition_key.as_deref())?,
            reply_to: message.addressing.reply_to.as_deref(),
            scheduled_enqueue_time_utc: message.scheduled_for.map(to_http_date),
            time_to_live: seconds,
            time_to_live_time_span: span,
            to: message.addressing.to.as_deref(),
        })
    }
}

fn limited<'a>(field: &'static str, text: Option<&'a str>) -> Result<Option<&'a str>, EncodeError> {
    match text.map_or(0, |text| text.chars().count()) {
        characters if characters > MAX_ID => Err(EncodeError::TooLong { field, characters }),
        _ => Ok(text),
    }
}

/// Seconds as JSON: whole where they are.
fn seconds(ttl: Duration) -> Value {
    match ttl.subsec_nanos() {
        0 => Value::from(ttl.as_secs()),
        _ => Value::from(ttl.as_secs_f64()),
    }
}

/// `d.hh:mm:ss`, with a fraction of 100 ns where there is one.
fn time_span(ttl: Duration) -> String {
    let seconds = ttl.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let fraction = match ttl.subsec_nanos() / 100 {
        0 => String::new(),
        ticks => format!(".{ticks:07}"),
    };
    format!("{days}.{hours:02}:{minutes:02}:{:02}{fraction}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use oncebus_core::time::UnixTime;

    use oncebus_core::message::Addressing;

    use super::*;

    fn encoded(message: &Outgoing) -> Result<HeaderMap, EncodeError> {
        let mut headers = HeaderMap::new();
        encode(message, &mut headers).map(|()| headers)
    }

    fn with_property(name: &str, value: impl Into<PropertyValue>) -> Outgoing {
        Outgoing { properties: Properties::from_iter([(name, value)]), ..Outgoing::default() }
    }

    #[test]
    fn a_bare_message_has_no_headers_of_its_own() {
        let message = Outgoing { content_type: Some(String::new()), ..Outgoing::default() };
        assert!(encoded(&message).unwrap().is_empty());
    }

    #[test]
    fn broker_properties_are_one_ascii_header() {
        let message = Outgoing {
            message_id: Some("a".into()),
            addressing: Addressing { label: Some("Grüße".into()), ..Addressing::default() },
            time_to_live: Some(Duration::from_millis(1500)),
            scheduled_for: Some(UnixTime(784_111_777)),
            ..Outgoing::default()
        };
        let headers = encoded(&message).unwrap();
        assert_eq!(
            headers["brokerproperties"],
            r#"{"Label":"Gr\u00fc\u00dfe","MessageId":"a","ScheduledEnqueueTimeUtc":"Sun, 06 Nov 1994 08:49:37 GMT","TimeToLive":1.5}"#
        );
    }

    #[test]
    fn every_kind_of_value_comes_back_as_it_was_sent() {
        let mut sent = Properties::new();
        sent.set("text", "say \"é\"\n\u{1f980}");
        sent.set("number-like", "42");
        sent.set("number", PropertyValue::Integer(i64::MIN));
        sent.set("double", PropertyValue::Double(2.75));
        sent.set("whole", PropertyValue::Double(2.0));
        sent.set("truth", PropertyValue::Bool(true));
        let headers = encoded(&Outgoing { properties: sent.clone(), ..Outgoing::default() }).unwrap();
        assert!(headers.values().all(|value| value.to_str().is_ok()));
        let received = read_properties(&headers);
        assert_eq!(received.len(), sent.len());
        for (name, value) in sent.iter() {
            assert_eq!(received.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn a_value_that_is_not_a_json_scalar_is_text() {
        for text in ["servicebus", "[1]", "{\"a\":1}", "'x'", "", "\"open"] {
            let header = HeaderValue::from_str(text).unwrap();
            assert_eq!(read_value(&header), Some(PropertyValue::from(text)));
        }
        assert_eq!(read_value(&HeaderValue::from_static("null")), None);
        let beyond = read_value(&HeaderValue::from_static("18446744073709551615"));
        assert_eq!(beyond, Some(PropertyValue::Double(18_446_744_073_709_551_615.0)));
    }

    #[test]
    fn a_name_that_http_cannot_carry_is_refused_by_name() {
        for name in ["", "a b", "é", "a:b", "a\n"] {
            let error = encoded(&with_property(name, "x")).unwrap_err();
            assert_eq!(error, EncodeError::PropertyName { name: name.to_owned() });
        }
        for name in ["Content-Type", "authorization", "BrokerProperties", "Transfer-Encoding", "host", "Date"] {
            let error = encoded(&with_property(name, "x")).unwrap_err();
            assert_eq!(error, EncodeError::ReservedProperty { name: name.to_owned() });
            assert!(error.to_string().contains(name));
        }
    }

    #[test]
    fn what_the_broker_would_refuse_is_refused_here() {
        let long = "é".repeat(MAX_ID + 1);
        let error = encoded(&Outgoing { message_id: Some(long.clone()), ..Outgoing::default() }).unwrap_err();
        assert_eq!(error.to_string(), "MessageId has 129 characters: at most 128 are allowed");
        let error = encoded(&Outgoing {
            addressing: Addressing { partition_key: Some(long), ..Addressing::default() },
            ..Outgoing::default()
        })
        .unwrap_err();
        assert_eq!(error, EncodeError::TooLong { field: "PartitionKey", characters: 129 });
        let fits = Outgoing { message_id: Some("é".repeat(MAX_ID)), ..Outgoing::default() };
        assert!(encoded(&fits).is_ok());
        let error = encoded(&Outgoing { content_type: Some("a\nb".into()), ..Outgoing::default() }).unwrap_err();
        assert_eq!(error, EncodeError::ContentType);
        let error = encoded(&with_property("nan", PropertyValue::Double(f64::NAN))).unwrap_err();
        assert_eq!(error, EncodeError::PropertyValue { name: "nan".into() });
    }

    #[test]
    fn more_properties_than_a_request_holds_are_refused() {
        let mut headers = HeaderMap::new();
        while headers.try_append("x-other", HeaderValue::from_static("1")).is_ok() && headers.len() < 100_000 {
            let name = HeaderName::try_from(format!("x-{}", headers.len())).unwrap();
            if headers.try_insert(name, HeaderValue::from_static("1")).is_err() {
                break;
            }
        }
        let error = encode(&with_property("one-more", "x"), &mut headers).unwrap_err();
        assert_eq!(error, EncodeError::TooManyProperties { count: 1 });
    }

    #[test]
    fn a_time_span_has_days() {
        assert_eq!(time_span(Duration::from_secs(40)), "0.00:00:40");
        assert_eq!(time_span(Duration::from_secs(3 * 86_400 + 3_661)), "3.01:01:01");
        assert_eq!(time_span(Duration::from_millis(1_500)), "0.00:00:01.5000000");
    }
}
