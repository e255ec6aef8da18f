//! Broker properties and custom properties on the wire.
//!
//! A message's broker properties are one header of compact JSON; each custom property is a header whose
//! value is a JSON scalar. Everything that is read here comes from outside and may be anything.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use uuid::Uuid;

use super::headers::{TAKEN, properties_among};
use crate::behaviour::Behaviour;
use crate::broker::{BrokerProperties, Delivery, PropertyValue};
use crate::http::{Peer, casing};
use crate::time::UnixMillis;

/// What the service says for "for ever": the longest time span, in seconds, as it prints it.
const FOR_EVER: &str = "922337203685.47754";
const FOR_EVER_SECONDS: f64 = 922_337_203_685.0;

/// Reads a `BrokerProperties` object. Unknown keys and those that only the broker sets are ignored.
pub(super) fn parse_broker(object: &Value) -> Result<BrokerProperties, &'static str> {
    let Value::Object(object) = object else { return Err("BrokerProperties must be a JSON object") };
    let text = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err("a property of BrokerProperties has the wrong type"),
    };
    Ok(BrokerProperties {
        message_id: text("MessageId")?.unwrap_or_default(),
        correlation_id: text("CorrelationId")?,
        label: text("Label")?,
        to: text("To")?,
        reply_to: text("ReplyTo")?,
        reply_to_session_id: text("ReplyToSessionId")?,
        session_id: text("SessionId")?,
        partition_key: text("PartitionKey")?,
        via_partition_key: text("ViaPartitionKey")?,
        force_persistence: boolean(object.get("ForcePersistence"), "ForcePersistence must be true or false")?,
        time_to_live: match text("TimeToLiveTimeSpan")? {
            Some(span) => {
                let ttl = parse_time_span(&span).ok_or("TimeToLiveTimeSpan must be d.hh:mm:ss")?;
                (ttl.as_secs_f64() < FOR_EVER_SECONDS).then_some(ttl)
            }
            None => seconds(object.get("TimeToLive"))?,
        },
        scheduled_enqueue_time: match text("ScheduledEnqueueTimeUtc")? {
            None => None,
            Some(text) => Some(UnixMillis::parse_date(&text).ok_or("ScheduledEnqueueTimeUtc must be a date")?),
        },
    })
}

/// Reads a flag as clients write them, or says what is `wrong`.
pub(super) fn boolean(value: Option<&Value>, wrong: &'static str) -> Result<Option<bool>, &'static str> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(wrong),
    }
}

fn seconds(value: Option<&Value>) -> Result<Option<Duration>, &'static str> {
    const WRONG: &str = "TimeToLive must be a positive number of seconds";
    let seconds = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    match seconds {
        Some(seconds) if seconds >= FOR_EVER_SECONDS => Ok(None),
        Some(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| WRONG),
        _ => Err(WRONG),
    }
}

/// Reads `[d.]hh:mm:ss[.fffffff]`.
fn parse_time_span(text: &str) -> Option<Duration> {
    let (head, seconds) = text.rsplit_once(':')?;
    let (head, minutes) = head.rsplit_once(':')?;
    let (days, hours) = head.split_once('.').unwrap_or(("0", head));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let (days, hours, minutes) = (digits(days)?, digits(hours)?, digits(minutes)?);
    let seconds = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    if hours > 23 || minutes > 59 || seconds >= Duration::from_secs(60) {
        return None;
    }
    Some(Duration::from_secs((u64::from(days) * 24 + u64::from(hours)) * 3600 + u64::from(minutes) * 60) + seconds)
}

/// The custom properties among a request's headers, under the names that the client wrote.
pub(super) fn custom_from_headers(
    headers: &HeaderMap,
    peer: Option<&Peer>,
    behaviour: &Behaviour,
) -> Vec<(String, PropertyValue)> {
    let custom = properties_among(headers).filter(|(name, _)| behaviour.stores_header(name.as_str()));
    let read = |(name, value): (&HeaderName, _)| Some((name.as_str().to_owned(), parse_custom(&header_text(value))?));
    let mut properties: Vec<_> = custom.filter_map(read).collect();
    // They stay as they are for as long as the message is queued.
    properties.shrink_to_fit();
    if let (false, Some(peer)) = (properties.is_empty(), peer) {
        casing::as_written(properties.iter_mut().map(|(name, _)| name), &peer.head());
    }
    properties
}

/// What a header says: UTF-8, and where it is none, Latin-1, which is what HTTP/1.1 clients write then.
fn header_text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.as_bytes().iter().copied().map(char::from).collect()),
    }
}

/// Reads one header's value. What is no JSON scalar is text; `null` is nothing.
fn parse_custom(text: &str) -> Option<PropertyValue> {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Array(_) | Value::Object(_))) => Some(PropertyValue::Text(value.to_string())),
        Ok(value) => custom_from_json(&value),
        Err(_) => Some(PropertyValue::Text(text.to_owned())),
    }
}

/// A JSON value as a property; `null` is nothing, and what has parts is kept as its text.
pub(super) fn custom_from_json(value: &Value) -> Option<PropertyValue> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => PropertyValue::Boolean(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => PropertyValue::Integer(whole),
            (None, Some(double)) => PropertyValue::Double(double),
            (None, None) => PropertyValue::Text(number.to_string()),
        },
        Value::String(text) => PropertyValue::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => PropertyValue::Text(value.to_string()),
    })
}

/// Writes the custom properties into an answer. A name that no header can have is left out, as is what
/// exceeds the number of headers that an answer can have.
pub(super) fn write_custom(properties: &[(String, PropertyValue)], headers: &mut HeaderMap) {
    for (name, value) in properties {
        let Ok(name) = HeaderName::try_from(name.as_str()) else { continue };
        if TAKEN.contains(&name.as_str()) {
            continue;
        }
        if let Ok(value) = HeaderValue::try_from(custom_text(value)) {
            let _ = headers.try_insert(name, value);
        }
    }
}

fn custom_text(value: &PropertyValue) -> String {
    match value {
        PropertyValue::Text(text) => json_text(text),
        PropertyValue::Integer(whole) => whole.to_string(),
        PropertyValue::Double(double) => serde_json::Number::from_f64(*double).map_or("0".into(), |n| n.to_string()),
        PropertyValue::Boolean(flag) => flag.to_string(),
    }
}

/// Text as a JSON string that is safe in a header: everything beyond printable ASCII as `\u` and four hex digits.
fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_json_text(&mut out, text);
    out
}

fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    // As a rule all of it is plain, and goes in one piece.
    let mut rest = text;
    while let Some(at) = rest.find(|c| !matches!(c, ' '..='~') || c == '"' || c == '\\') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            other => {
                for unit in other.unwrap_or_default().encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// The `BrokerProperties` header of a delivery: keys in alphabetical order, absent ones left out.
pub(super) fn write_broker(delivery: &Delivery) -> String {
    let entry = &delivery.entry;
    let sent = &entry.message.broker;
    let mut json = Object::new();
    json.text("CorrelationId", sent.correlation_id.as_deref());
    json.text("DeadLetterSource", entry.message.dead_letter_source.as_deref());
    json.raw("DeliveryCount", entry.deliveries);
    json.raw("EnqueuedSequenceNumber", delivery.enqueued_sequence_number);
    json.date("EnqueuedTimeUtc", Some(entry.enqueued_at));
    if let Some(flag) = sent.force_persistence {
        json.raw("ForcePersistence", flag);
    }
    json.text("Label", sent.label.as_deref());
    if let Some(lock) = entry.lock {
        json.text("LockToken", Some(lock.token.as_hyphenated().encode_lower(&mut Uuid::encode_buffer())));
        json.date("LockedUntilUtc", Some(lock.until));
    }
    json.text("MessageId", Some(&sent.message_id));
    json.text("PartitionKey", sent.partition_key.as_deref());
    json.text("ReplyTo", sent.reply_to.as_deref());
    json.text("ReplyToSessionId", sent.reply_to_session_id.as_deref());
    json.date("ScheduledEnqueueTimeUtc", sent.scheduled_enqueue_time);
    json.raw("SequenceNumber", delivery.sequence_number);
    json.text("SessionId", sent.session_id.as_deref());
    json.text("State", Some("Active"));
    match sent.time_to_live {
        None => json.raw("TimeToLive", FOR_EVER),
        Some(ttl) => json.raw("TimeToLive", ttl.as_secs_f64()),
    }
    json.text("To", sent.to.as_deref());
    json.text("ViaPartitionKey", sent.via_partition_key.as_deref());
    json.finish()
}

/// A JSON object in the making.
struct Object(String);

impl Object {
    /// With room for what a delivery has to say, as a rule.
    fn new() -> Self {
        Self(String::with_capacity(512))
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn raw(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let _ = write!(self.0, "{value}");
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.name(name);
            push_json_text(&mut self.0, value);
        }
    }

    fn date(&mut self, name: &str, value: Option<UnixMillis>) {
        self.text(name, value.map(UnixMillis::http_date).as_deref());
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(sent: &str) -> Option<String> {
        parse_custom(sent).map(|value| custom_text(&value))
    }

    #[test]
    fn custom_properties_come_back_normalised() {
        for same in [
            "\"hi there\"",
            "\"This \\\"should\\\" work\"",
            "1",
            "8555111000",
            "-4294967296",
            "3.14",
            "true",
            "false",
            "\"Wed, 14 Dec 2011 00:00:00 GMT\"",
            "\"This 'should' <work> & fine\"",
        ] {
            assert_eq!(round_trip(same).as_deref(), Some(same));
        }
        for (sent, returned) in [
            ("servicebus", "\"servicebus\""),
            ("\"a\\nb\"", "\"a\\u000ab\""),
            ("\"\\u00fc\"", "\"\\u00fc\""),
            ("ü😀", "\"\\u00fc\\ud83d\\ude00\""),
            ("00-abc-01", "\"00-abc-01\""),
            ("", "\"\""),
        ] {
            assert_eq!(round_trip(sent).as_deref(), Some(returned));
        }
        assert_eq!(round_trip("null"), None);
    }

    #[test]
    fn a_header_is_utf_8_or_latin_1() {
        let read = |bytes: &[u8]| header_text(&HeaderValue::from_bytes(bytes).unwrap()).into_owned();
        assert_eq!(read("\"grüße\"".as_bytes()), "\"grüße\"");
        assert_eq!(read(b"\"gr\xfc\xdfe\""), "\"grüße\"");
    }

    #[test]
    fn more_properties_than_an_answer_has_room_for_are_cut() {
        let many = (0..40_000).map(|n| (format!("p{n}"), PropertyValue::Boolean(true))).collect::<Vec<_>>();
        let mut headers = HeaderMap::new();
        write_custom(&many, &mut headers);
        assert!((10_000..40_000).contains(&headers.len()), "{}", headers.len());
    }

    #[test]
    fn time_to_live_is_seconds_or_a_time_span() {
        let parse = |json: &str| parse_broker(&serde_json::from_str(json).unwrap()).map(|p| p.time_to_live);
        assert_eq!(parse(r#"{"TimeToLive":40}"#), Ok(Some(Duration::from_secs(40))));
        assert_eq!(parse(r#"{"TimeToLive":1.5}"#), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(parse(r#"{"TimeToLive":922337203685.47754}"#), Ok(None));
        assert_eq!(parse(r#"{"TimeToLiveTimeSpan":"0.00:00:40"}"#), Ok(Some(Duration::from_secs(40))));
        assert_eq!(parse(r#"{"TimeToLiveTimeSpan":"1.02:03:04"}"#), Ok(Some(Duration::from_secs(93_784))));
        assert_eq!(parse(r#"{"TimeToLiveTimeSpan":"22333766.02:00:03"}"#), Ok(None));
        for bad in [
            r#"{"TimeToLive":-1}"#,
            r#"{"TimeToLive":"PT5M"}"#,
            r#"{"TimeToLiveTimeSpan":"x"}"#,
            "[]",
            r#"{"Label":[]}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn read_only_and_unknown_keys_are_ignored() {
        let json = r#"{"DeliveryCount":"1","SequenceNumber":"12","ContentType":"x","Foo":{},"Label":"M1","ForcePersistence":"false"}"#;
        let parsed = parse_broker(&serde_json::from_str(json).unwrap()).unwrap();
        let expected = BrokerProperties {
            label: Some("M1".into()),
            force_persistence: Some(false),
            ..BrokerProperties::default()
        };
        assert_eq!(parsed, expected);
    }
}
