//! The body of a batch: a JSON array of messages.

use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value;

use super::properties::{boolean, custom_from_json, parse_broker};
use crate::broker::{BrokerProperties, Message};

/// The content type that makes a body a batch. With parameters it is an ordinary message.
pub(super) const CONTENT_TYPE: &str = "application/vnd.microsoft.servicebus.json";

/// What a message of a batch shows as its content type: it cannot bring one.
const DELIVERED_AS: &str = "application/xml; charset=utf-8";

/// Reads a batch.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Message>, &'static str> {
    // Some clients begin every text with a byte order mark.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let items: Vec<Value> = serde_json::from_slice(body).map_err(|_| "the batch must be a JSON array")?;
    items.iter().map(message).collect()
}

fn message(item: &Value) -> Result<Message, &'static str> {
    let Value::Object(item) = item else { return Err("each message of a batch must be a JSON object") };
    let text = match item.get("Body") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return Err("Body must be a string"),
    };
    let is_base64 = boolean(item.get("IsBodyBase64"), "IsBodyBase64 must be true or false")?;
    let body = if is_base64.unwrap_or(false) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| "Body is not base64")?;
        Bytes::from(bytes)
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    };
    let broker = match item.get("BrokerProperties") {
        None | Some(Value::Null) => BrokerProperties::default(),
        Some(object) => parse_broker(object)?,
    };
    let properties = match item.get("UserProperties") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(object)) => {
            object.iter().filter_map(|(name, value)| Some((name.clone(), custom_from_json(value)?))).collect()
        }
        Some(_) => return Err("UserProperties must be a JSON object"),
    };
    let content_type = Some(DELIVERED_AS.to_owned());
    Ok(Message { body, content_type, broker, properties, ..Message::default() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::PropertyValue;

    #[test]
    fn the_documented_batch_is_read() {
        let body = br#"[{"Body":"first","BrokerProperties":{"Label":"M1","TimeToLiveTimeSpan":"0.00:00:40"}},
            {"Body":"AAEC","IsBodyBase64":true,"UserProperties":{"Priority":"Low","n":3,"gone":null}}]"#;
        let messages = parse(body).unwrap();
        assert_eq!(messages[0].body, "first");
        assert_eq!(messages[0].broker.time_to_live, Some(Duration::from_secs(40)));
        assert_eq!(&messages[1].body[..], [0, 1, 2]);
        let expected =
            [("Priority".to_owned(), PropertyValue::Text("Low".into())), ("n".to_owned(), PropertyValue::Integer(3))];
        assert_eq!(messages[1].properties, expected);
    }

    #[test]
    fn clients_write_flags_as_text_and_begin_with_a_byte_order_mark() {
        let body =
            "\u{feff}[{\"Body\":\"AAEC\",\"IsBodyBase64\":\"True\"},{\"Body\":\"AAEC\",\"IsBodyBase64\":\"false\"}]";
        let messages = parse(body.as_bytes()).unwrap();
        assert_eq!((&messages[0].body[..], &messages[1].body[..]), (&[0, 1, 2][..], &b"AAEC"[..]));
    }

    #[test]
    fn anything_else_is_refused_whole() {
        for bad in [
            "",
            "{}",
            "[1]",
            r#"[{"Body":1}]"#,
            r#"[{"Body":"x"},{"BrokerProperties":[]}]"#,
            r#"[{"UserProperties":"x"}]"#,
            r#"[{"Body":"?","IsBodyBase64":true}]"#,
            r#"[{"Body":"AAEC","IsBodyBase64":1}]"#,
            r#"[{"Body":"AAEC","IsBodyBase64":"yes"}]"#,
            "\u{feff}\u{feff}[]",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
