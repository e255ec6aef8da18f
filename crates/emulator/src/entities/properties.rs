//! The properties of entities by the names of `Config.json`, which are those of the Atom descriptions.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::broker::{Condition, Parameters, Statements};
use crate::http::escape_xml;
use crate::iso_duration;

/// An ISO 8601 duration as the service writes it: `PT30S`, `P1DT2H`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsoDuration(String);

impl IsoDuration {
    /// Takes a text that is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        iso_duration::parse(text).is_some().then(|| Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for IsoDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::new(&text).ok_or_else(|| {
            de::Error::custom(format!("{text:?} is not an ISO 8601 duration of days and less, as PT30S is"))
        })
    }
}

/// Text as an element's.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for IsoDuration {
    fn shown(&self) -> String {
        self.0.clone()
    }
}

impl Shown for bool {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for NonZeroU32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for String {
    fn shown(&self) -> String {
        escape_xml(self)
    }
}

/// Makes the properties of one kind of entity, each optional, in the order in which the service reads them.
macro_rules! properties {
    ($(#[$doc:meta])* $name:ident, $root:literal: $($(#[$field_doc:meta])* $field:ident / $element:ident: $type:ty,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: Option<$type>,)*
        }

        impl $name {
            /// As the description that a management client would send.
            pub(crate) fn description(&self) -> String {
                let mut xml = String::from(concat!("<", $root, ">"));
                $(if let Some(text) = self.$field.as_ref().map(Shown::shown).filter(|text| !text.is_empty()) {
                    xml.push_str(&format!(concat!("<", stringify!($element), ">{}</", stringify!($element), ">"), text));
                })*
                xml.push_str(concat!("</", $root, ">"));
                xml
            }
        }
    };
}

properties! {
    /// What a queue is made with. What is absent has the service's default.
    QueueProperties, "QueueDescription":
    /// How long a peek-lock holds; at most five minutes.
    lock_duration / LockDuration: IsoDuration,
    /// The largest sum of all messages.
    max_size_in_megabytes / MaxSizeInMegabytes: NonZeroU32,
    /// Whether a second message with the same id is dropped.
    requires_duplicate_detection / RequiresDuplicateDetection: bool,
    /// Whether receivers take sessions.
    requires_session / RequiresSession: bool,
    /// The longest time to live of a message.
    default_message_time_to_live / DefaultMessageTimeToLive: IsoDuration,
    /// Whether expired messages are dead-lettered.
    dead_lettering_on_message_expiration / DeadLetteringOnMessageExpiration: bool,
    /// How long an id is remembered; 20 seconds to seven days.
    duplicate_detection_history_time_window / DuplicateDetectionHistoryTimeWindow: IsoDuration,
    /// After so many failed deliveries a message is dead-lettered.
    max_delivery_count / MaxDeliveryCount: NonZeroU32,
    /// Kept and shown.
    enable_batched_operations / EnableBatchedOperations: bool,
    /// `Active`, `Disabled`, `SendDisabled`, `ReceiveDisabled`.
    status / Status: String,
    /// Removed when it was idle for so long.
    auto_delete_on_idle / AutoDeleteOnIdle: IsoDuration,
    /// Whether it has partitions.
    enable_partitioning / EnablePartitioning: bool,
    /// Kept and shown.
    enable_express / EnableExpress: bool,
    /// The queue or topic that gets every message. Empty means none.
    forward_to / ForwardTo: String,
    /// The queue or topic that gets every dead letter. Empty means none.
    forward_dead_lettered_messages_to / ForwardDeadLetteredMessagesTo: String,
    /// Kept and shown.
    user_metadata / UserMetadata: String,
    /// The largest message.
    max_message_size_in_kilobytes / MaxMessageSizeInKilobytes: NonZeroU32,
}

properties! {
    /// What a topic is made with. What is absent has the service's default.
    TopicProperties, "TopicDescription":
    /// The longest time to live of a message.
    default_message_time_to_live / DefaultMessageTimeToLive: IsoDuration,
    /// The largest sum of all messages.
    max_size_in_megabytes / MaxSizeInMegabytes: NonZeroU32,
    /// Whether a second message with the same id is dropped.
    requires_duplicate_detection / RequiresDuplicateDetection: bool,
    /// How long an id is remembered; 20 seconds to seven days.
    duplicate_detection_history_time_window / DuplicateDetectionHistoryTimeWindow: IsoDuration,
    /// Kept and shown.
    enable_batched_operations / EnableBatchedOperations: bool,
    /// `Active`, `Disabled`, `SendDisabled`.
    status / Status: String,
    /// Kept and shown.
    support_ordering / SupportOrdering: bool,
    /// Removed when it was idle for so long.
    auto_delete_on_idle / AutoDeleteOnIdle: IsoDuration,
    /// Whether it has partitions.
    enable_partitioning / EnablePartitioning: bool,
    /// Kept and shown.
    enable_express / EnableExpress: bool,
    /// Kept and shown.
    user_metadata / UserMetadata: String,
    /// The largest message.
    max_message_size_in_kilobytes / MaxMessageSizeInKilobytes: NonZeroU32,
}

properties! {
    /// What a subscription is made with. What is absent has the service's default.
    SubscriptionProperties, "SubscriptionDescription":
    /// How long a peek-lock holds; at most five minutes.
    lock_duration / LockDuration: IsoDuration,
    /// Whether receivers take sessions.
    requires_session / RequiresSession: bool,
    /// The longest time to live of a message.
    default_message_time_to_live / DefaultMessageTimeToLive: IsoDuration,
    /// Whether expired messages are dead-lettered.
    dead_lettering_on_message_expiration / DeadLetteringOnMessageExpiration: bool,
    /// Kept and shown.
    dead_lettering_on_filter_evaluation_exceptions / DeadLetteringOnFilterEvaluationExceptions: bool,
    /// After so many failed deliveries a message is dead-lettered.
    max_delivery_count / MaxDeliveryCount: NonZeroU32,
    /// Kept and shown.
    enable_batched_operations / EnableBatchedOperations: bool,
    /// `Active`, `Disabled`, `ReceiveDisabled`.
    status / Status: String,
    /// The queue or topic that gets every message. Empty means none.
    forward_to / ForwardTo: String,
    /// Kept and shown.
    user_metadata / UserMetadata: String,
    /// The queue or topic that gets every dead letter. Empty means none.
    forward_dead_lettered_messages_to / ForwardDeadLetteredMessagesTo: String,
    /// Removed when it was idle for so long.
    auto_delete_on_idle / AutoDeleteOnIdle: IsoDuration,
}

fn names(target: &Option<String>) -> bool {
    target.as_ref().is_some_and(|target| !target.is_empty())
}

impl QueueProperties {
    pub(super) fn forwards(&self) -> bool {
        names(&self.forward_to) || names(&self.forward_dead_lettered_messages_to)
    }
}

impl SubscriptionProperties {
    pub(super) fn forwards(&self) -> bool {
        names(&self.forward_to) || names(&self.forward_dead_lettered_messages_to)
    }
}

/// A rule's filter and action.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RuleFields")]
pub struct RuleProperties {
    filter: Filter,
    action: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Filter {
    Sql(String),
    Correlation(Correlation),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RuleFields {
    filter_type: FilterType,
    sql_filter: Option<SqlFilter>,
    correlation_filter: Option<Correlation>,
    action: Option<SqlAction>,
}

#[derive(Deserialize)]
enum FilterType {
    Sql,
    Correlation,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SqlFilter {
    #[serde(deserialize_with = "condition")]
    sql_expression: String,
    #[serde(rename = "CompatibilityLevel")]
    _compatibility_level: Option<de::IgnoredAny>,
    #[serde(rename = "RequiresPreprocessing")]
    _requires_preprocessing: Option<de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SqlAction {
    #[serde(deserialize_with = "statements")]
    sql_expression: String,
    #[serde(rename = "CompatibilityLevel")]
    _compatibility_level: Option<de::IgnoredAny>,
    #[serde(rename = "RequiresPreprocessing")]
    _requires_preprocessing: Option<de::IgnoredAny>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Correlation {
    correlation_id: Option<String>,
    message_id: Option<String>,
    to: Option<String>,
    reply_to: Option<String>,
    label: Option<String>,
    session_id: Option<String>,
    reply_to_session_id: Option<String>,
    content_type: Option<String>,
    properties: BTreeMap<String, Scalar>,
    #[serde(rename = "RequiresPreprocessing")]
    _requires_preprocessing: bool,
}

/// A property's value.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
struct Scalar {
    /// Of XML Schema.
    kind: String,
    text: String,
}

impl TryFrom<Value> for Scalar {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let (kind, text) = match value {
            Value::String(text) => ("string", text),
            Value::Bool(flag) => ("boolean", flag.to_string()),
            Value::Number(number) if number.is_i64() => ("int", number.to_string()),
            Value::Number(number) => ("double", number.to_string()),
            _ => return Err("a property is a text, a number or a truth value"),
        };
        Ok(Self { kind: kind.to_owned(), text })
    }
}

fn condition<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    Condition::parse(&text, &Parameters::default()).map_err(de::Error::custom)?;
    Ok(text)
}

fn statements<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    Statements::parse(&text, &Parameters::default()).map_err(de::Error::custom)?;
    Ok(text)
}

impl TryFrom<RuleFields> for RuleProperties {
    type Error = &'static str;

    fn try_from(fields: RuleFields) -> Result<Self, Self::Error> {
        let filter = match fields.filter_type {
            FilterType::Sql => Filter::Sql(fields.sql_filter.ok_or("SqlFilter is missing")?.sql_expression),
            FilterType::Correlation => {
                Filter::Correlation(fields.correlation_filter.ok_or("CorrelationFilter is missing")?)
            }
        };
        Ok(Self { filter, action: fields.action.map(|action| action.sql_expression) })
    }
}

impl RuleProperties {
    /// A rule with this SQL as its filter.
    #[must_use]
    pub fn sql(expression: &str) -> Self {
        Self { filter: Filter::Sql(expression.to_owned()), action: None }
    }

    /// As the description that a management client would send.
    pub(crate) fn description(&self) -> String {
        let filter = match &self.filter {
            Filter::Sql(expression) => format!(
                "<Filter i:type=\"SqlFilter\"><SqlExpression>{}</SqlExpression><CompatibilityLevel>20</CompatibilityLevel></Filter>",
                escape_xml(expression)
            ),
            Filter::Correlation(correlation) => correlation.xml(),
        };
        let action = match &self.action {
            Some(statements) => format!(
                "<Action i:type=\"SqlRuleAction\"><SqlExpression>{}</SqlExpression><CompatibilityLevel>20</CompatibilityLevel></Action>",
                escape_xml(statements)
            ),
            None => "<Action i:type=\"EmptyRuleAction\"/>".to_owned(),
        };
        format!(
            "<RuleDescription xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:d=\"http://www.w3.org/2001/XMLSchema\">{filter}{action}</RuleDescription>"
        )
    }
}

impl Correlation {
    fn xml(&self) -> String {
        let mut xml = "<Filter i:type=\"CorrelationFilter\">".to_owned();
        for (name, value) in [
            ("CorrelationId", &self.correlation_id),
            ("MessageId", &self.message_id),
            ("To", &self.to),
            ("ReplyTo", &self.reply_to),
            ("Label", &self.label),
            ("SessionId", &self.session_id),
            ("ReplyToSessionId", &self.reply_to_session_id),
            ("ContentType", &self.content_type),
        ] {
            if let Some(value) = value {
                xml.push_str(&format!("<{name}>{}</{name}>", escape_xml(value)));
            }
        }
        if !self.properties.is_empty() {
            xml.push_str("<Properties>");
            for (key, Scalar { kind, text }) in &self.properties {
                xml.push_str(&format!(
                    "<KeyValueOfstringanyType><Key>{}</Key><Value i:type=\"d:{kind}\" xmlns:d=\"http://www.w3.org/2001/XMLSchema\">{}</Value></KeyValueOfstringanyType>",
                    escape_xml(key),
                    escape_xml(text)
                ));
            }
            xml.push_str("</Properties>");
        }
        xml.push_str("</Filter>");
        xml
    }
}
