//! An event in JSON: by itself (structured mode), or as an element of a batch.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Attributes, invalid};
use crate::ingest::entry::{Entry, check_content_type, is_json};
use crate::ingest::json::{Members, slice, text, unreadable};
use crate::problem::{Kind, Problem};

const JSON: &str = "application/json";

/// Producers pad, or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The event that a body is.
///
/// # Errors
/// It is no JSON, or no event.
pub fn event(body: &Bytes, key: Option<&str>) -> Result<Entry, Problem> {
    let raw: &RawValue = serde_json::from_slice(body).map_err(|error| unreadable("the event", &error))?;
    event_of(raw, body, key)
}

/// The event at this place of a body.
///
/// # Errors
/// It is none.
pub fn event_of(raw: &RawValue, whole: &Bytes, key: Option<&str>) -> Result<Entry, Problem> {
    let members = Members::of(raw).ok_or_else(|| Problem::new(Kind::InvalidEvent, "a CloudEvent is a JSON object"))?;
    let mut attributes = Attributes::default();
    let (mut data, mut content_type) = (None, None);
    for (name, value) in members {
        match name.as_ref() {
            // Of `data` alone, null is a value. Everything else is unset by it.
            name if name != "data" && value.get() == "null" => {}
            "data" | "data_base64" if data.is_some() => {
                return Err(invalid(&name, "is there beside other data"));
            }
            "data" => data = Some(Data::Json(value)),
            "data_base64" => data = Some(Data::Base64(value)),
            "datacontenttype" => {
                let given = text(value).ok_or_else(|| invalid(&name, "must be a string"))?;
                check_content_type(&given).map_err(|what| invalid(&name, what))?;
                content_type = Some(given);
            }
            _ => {
                let value = canonical(value)
                    .ok_or_else(|| invalid(&name, "must be a string, a whole number, true or false"))?;
                attributes.add(name, value)?;
            }
        }
    }
    let content_type = match (content_type, &data) {
        (Some(given), _) => Some(given),
        (None, Some(_)) => Some(JSON.into()),
        (None, None) => None,
    };
    let body = data.map(|data| data.bytes(content_type.as_deref(), whole)).transpose()?.unwrap_or_default();
    attributes.into_entry(content_type.as_deref(), body, key)
}

/// The value of an attribute as text.
fn canonical(value: &RawValue) -> Option<Cow<'_, str>> {
    let raw = value.get();
    match raw.as_bytes().first()? {
        b'"' => text(value),
        b't' | b'f' => Some(raw.into()),
        // Not a number's other spellings: an integer has but one.
        _ if raw.parse::<i64>().is_ok_and(|number| number.to_string() == raw) => Some(raw.into()),
        _ => None,
    }
}

/// What an event is about.
enum Data<'a> {
    Json(&'a RawValue),
    Base64(&'a RawValue),
}

impl Data<'_> {
    fn bytes(&self, content_type: Option<&str>, whole: &Bytes) -> Result<Bytes, Problem> {
        match self {
            Self::Json(raw) if raw.get().starts_with('"') && !content_type.is_some_and(is_json) => {
                let text = text(raw).ok_or_else(|| invalid("data", "cannot be read"))?;
                Ok(text.into_owned().into())
            }
            Self::Json(raw) => Ok(slice(whole, raw)),
            Self::Base64(raw) => {
                let text = text(raw).ok_or_else(|| invalid("data_base64", "must be a string"))?;
                let bytes = BASE64.decode(text.as_bytes()).map_err(|_| invalid("data_base64", "is not base64"))?;
                Ok(bytes.into())
            }
        }
    }
}
