//! Properties by name: those of the broker, after `sys.`, and custom ones.

use super::super::message::{Message, PropertyValue};

/// The broker properties that exist, in lower case. Asking for another one is an error.
const BROKER: [&str; 24] = [
    "contenttype",
    "correlationid",
    "deadlettersource",
    "deliverycount",
    "enqueuedsequencenumber",
    "enqueuedtimeutc",
    "expiresatutc",
    "forcepersistence",
    "label",
    "lockeduntilutc",
    "locktoken",
    "messageid",
    "partitionkey",
    "replyto",
    "replytosessionid",
    "scheduledenqueuetimeutc",
    "sequencenumber",
    "sessionid",
    "size",
    "state",
    "subject",
    "timetolive",
    "to",
    "viapartitionkey",
];

pub(super) fn is_broker_property(name: &str) -> bool {
    BROKER.contains(&name.to_ascii_lowercase().as_str())
}

/// A broker property by its name, in any case. Those that a message gets only when it is delivered are
/// absent here.
pub(in crate::broker) fn broker_property(message: &Message, name: &str) -> Option<PropertyValue> {
    let broker = &message.broker;
    let text = match name.to_ascii_lowercase().as_str() {
        "label" | "subject" => broker.label.clone(),
        "correlationid" => broker.correlation_id.clone(),
        "to" => broker.to.clone(),
        "replyto" => broker.reply_to.clone(),
        "replytosessionid" => broker.reply_to_session_id.clone(),
        "sessionid" => broker.session_id.clone(),
        "partitionkey" => broker.partition_key.clone(),
        "viapartitionkey" => broker.via_partition_key.clone(),
        "messageid" => Some(broker.message_id.clone()),
        "contenttype" => message.content_type.clone(),
        "deadlettersource" => message.dead_letter_source.clone(),
        "scheduledenqueuetimeutc" => broker.scheduled_enqueue_time.map(crate::time::UnixMillis::http_date),
        "forcepersistence" => return broker.force_persistence.map(PropertyValue::Boolean),
        "timetolive" => return broker.time_to_live.map(|ttl| PropertyValue::Double(ttl.as_secs_f64())),
        "enqueuedsequencenumber" => {
            return i64::try_from(message.enqueued_sequence_number).ok().map(PropertyValue::Integer);
        }
        "size" => return i64::try_from(message.size()).ok().map(PropertyValue::Integer),
        _ => None,
    };
    text.map(PropertyValue::Text)
}

/// A property by its name, with `sys.` before it when it is the broker's.
pub(super) fn get(message: &Message, name: &str) -> Option<PropertyValue> {
    match name.strip_prefix("sys.") {
        Some(name) => broker_property(message, name),
        None => {
            let found = message.properties.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        }
    }
}

/// Sets a property, or removes it.
pub(super) fn set(message: &mut Message, name: &str, value: Option<PropertyValue>) {
    match (name.strip_prefix("sys."), value) {
        (Some(name), value) => set_broker(message, name, value),
        (None, Some(value)) => message.set_property(name, value),
        (None, None) => message.properties.retain(|(n, _)| !n.eq_ignore_ascii_case(name)),
    }
}

fn set_broker(message: &mut Message, name: &str, value: Option<PropertyValue>) {
    let text = match value {
        Some(PropertyValue::Text(text)) => Some(text),
        _ => None,
    };
    let broker = &mut message.broker;
    match name.to_ascii_lowercase().as_str() {
        "label" | "subject" => broker.label = text,
        "correlationid" => broker.correlation_id = text,
        "to" => broker.to = text,
        "replyto" => broker.reply_to = text,
        "replytosessionid" => broker.reply_to_session_id = text,
        "contenttype" => message.content_type = text,
        _ => {}
    }
}
