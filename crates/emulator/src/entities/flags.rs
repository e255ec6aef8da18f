//! Entities from flags: `NAME[,key=value…]`.

use std::num::NonZeroU32;

use super::Entities;
use super::properties::{IsoDuration, QueueProperties, RuleProperties, SubscriptionProperties, TopicProperties};
use crate::broker::{Condition, Parameters};

/// Why a flag is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// Not one of the keys.
    #[error("unknown key {0}")]
    Key(String),
    /// The key needs a value, or the value is none of its kind.
    #[error("{0} cannot be {1:?}")]
    Value(&'static str, String),
    /// `TOPIC/NAME` is missing a part.
    #[error("{0:?} must be {1}")]
    Shape(String, &'static str),
    /// The SQL cannot be read.
    #[error("{0:?}: {1}")]
    Sql(String, String),
    /// A rule's subscription is not declared.
    #[error("{0} is declared by no --subscription")]
    NoSubscription(String),
}

/// What the keys can say.
#[derive(Debug, Default)]
struct Keys {
    lock: Option<IsoDuration>,
    deliveries: Option<NonZeroU32>,
    time_to_live: Option<IsoDuration>,
    duplicates: Option<IsoDuration>,
    sessions: Option<bool>,
    dead_letter_expired: Option<bool>,
    forward_to: Option<String>,
    forward_dead_letters_to: Option<String>,
}

impl Keys {
    /// Reads `NAME[,key=value…]`, of which only these keys are allowed.
    fn read<'a>(text: &'a str, allowed: &[&str]) -> Result<(&'a str, Self), FlagError> {
        let (name, rest) = text.split_once(',').unwrap_or((text, ""));
        let mut keys = Self::default();
        for pair in rest.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !allowed.contains(&key) {
                return Err(FlagError::Key(key.to_owned()));
            }
            keys.set(key, value)?;
        }
        Ok((name, keys))
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), FlagError> {
        let time = |key| duration(value).ok_or_else(|| FlagError::Value(key, value.to_owned()));
        let flag = |key| match value {
            "" | "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(FlagError::Value(key, value.to_owned())),
        };
        match key {
            "lock" => self.lock = Some(time("lock")?),
            "max-delivery" => {
                let count = value.parse().map_err(|_| FlagError::Value("max-delivery", value.to_owned()))?;
                self.deliveries = Some(count);
            }
            "ttl" => self.time_to_live = Some(time("ttl")?),
            "dedup" => self.duplicates = Some(time("dedup")?),
            "sessions" => self.sessions = flag("sessions")?,
            "dead-letter-expired" => self.dead_letter_expired = flag("dead-letter-expired")?,
            "forward-to" => self.forward_to = Some(value.to_owned()),
            "forward-dead-letters-to" => self.forward_dead_letters_to = Some(value.to_owned()),
            other => return Err(FlagError::Key(other.to_owned())),
        }
        Ok(())
    }
}

/// `500ms`, `30s`, `5m`, `1h`, `2d`, or an ISO 8601 duration.
fn duration(text: &str) -> Option<IsoDuration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits)?;
    if text.starts_with('P') {
        return IsoDuration::new(text);
    }
    let number: u32 = digits.parse().ok()?;
    match unit {
        "ms" => IsoDuration::new(&format!("PT{}.{:03}S", number / 1000, number % 1000)),
        "s" | "m" | "h" => IsoDuration::new(&format!("PT{number}{}", unit.to_uppercase())),
        "d" => IsoDuration::new(&format!("P{number}D")),
        _ => None,
    }
}

impl Entities {
    /// Reads `NAME[,lock=30s][,max-delivery=5][,ttl=1h][,dedup=10m][,sessions][,dead-letter-expired]`
    /// `[,forward-to=NAME][,forward-dead-letters-to=NAME]`.
    ///
    /// # Errors
    /// When a key is unknown or a value is none.
    pub fn queue_flag(self, text: &str, lock_seconds: u64, deliveries: NonZeroU32) -> Result<Self, FlagError> {
        let allowed = [
            "lock",
            "max-delivery",
            "ttl",
            "dedup",
            "sessions",
            "dead-letter-expired",
            "forward-to",
            "forward-dead-letters-to",
        ];
        let (name, keys) = Keys::read(text, &allowed)?;
        let properties = QueueProperties {
            lock_duration: keys.lock.or_else(|| IsoDuration::new(&format!("PT{lock_seconds}S"))),
            max_delivery_count: keys.deliveries.or(Some(deliveries)),
            default_message_time_to_live: keys.time_to_live,
            requires_duplicate_detection: keys.duplicates.as_ref().map(|_| true),
            duplicate_detection_history_time_window: keys.duplicates,
            requires_session: keys.sessions,
            dead_lettering_on_message_expiration: keys.dead_letter_expired,
            forward_to: keys.forward_to,
            forward_dead_lettered_messages_to: keys.forward_dead_letters_to,
            ..QueueProperties::default()
        };
        Ok(self.with_queue(name, &properties))
    }

    /// Reads `NAME[,ttl=1h][,dedup=10m]`.
    ///
    /// # Errors
    /// As [`Self::queue_flag`].
    pub fn topic_flag(self, text: &str) -> Result<Self, FlagError> {
        let (name, keys) = Keys::read(text, &["ttl", "dedup"])?;
        let properties = TopicProperties {
            default_message_time_to_live: keys.time_to_live,
            requires_duplicate_detection: keys.duplicates.as_ref().map(|_| true),
            duplicate_detection_history_time_window: keys.duplicates,
            ..TopicProperties::default()
        };
        Ok(self.with_topic(name, &properties))
    }

    /// Reads `TOPIC/NAME` with the keys of a queue but `dedup`.
    ///
    /// # Errors
    /// As [`Self::queue_flag`], and when the topic is missing.
    pub fn subscription_flag(self, text: &str, lock_seconds: u64, deliveries: NonZeroU32) -> Result<Self, FlagError> {
        let allowed =
            ["lock", "max-delivery", "ttl", "sessions", "dead-letter-expired", "forward-to", "forward-dead-letters-to"];
        let (path, keys) = Keys::read(text, &allowed)?;
        let (topic, name) =
            path.rsplit_once('/').ok_or_else(|| FlagError::Shape(path.to_owned(), "TOPIC/SUBSCRIPTION"))?;
        let properties = SubscriptionProperties {
            lock_duration: keys.lock.or_else(|| IsoDuration::new(&format!("PT{lock_seconds}S"))),
            max_delivery_count: keys.deliveries.or(Some(deliveries)),
            default_message_time_to_live: keys.time_to_live,
            requires_session: keys.sessions,
            dead_lettering_on_message_expiration: keys.dead_letter_expired,
            forward_to: keys.forward_to,
            forward_dead_lettered_messages_to: keys.forward_dead_letters_to,
            ..SubscriptionProperties::default()
        };
        Ok(self.with_subscription(topic, name, &properties))
    }

    /// Reads `TOPIC/SUBSCRIPTION/RULE=SQL`. The subscription must have been added before.
    ///
    /// # Errors
    /// When a part is missing or the SQL cannot be read.
    pub fn rule_flag(self, text: &str) -> Result<Self, FlagError> {
        let shape = || FlagError::Shape(text.to_owned(), "TOPIC/SUBSCRIPTION/RULE=SQL");
        let (path, sql) = text.split_once('=').ok_or_else(shape)?;
        let (rest, name) = path.rsplit_once('/').ok_or_else(shape)?;
        let (topic, subscription) = rest.rsplit_once('/').ok_or_else(shape)?;
        Condition::parse(sql, &Parameters::default())
            .map_err(|error| FlagError::Sql(sql.to_owned(), error.to_string()))?;
        let declared = format!("{topic}/subscriptions/{subscription}");
        if !self.in_order().any(|one| one.path.eq_ignore_ascii_case(&declared)) {
            return Err(FlagError::NoSubscription(rest.to_owned()));
        }
        Ok(self.with_rule(topic, subscription, name, &RuleProperties::sql(sql)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();

    fn described(entities: &Entities) -> Vec<(String, String)> {
        entities.in_order().map(|one| (one.path.clone(), one.description.clone())).collect()
    }

    #[test]
    fn keys_become_properties_in_the_order_of_the_service() {
        let entities = Entities::default()
            .queue_flag("ut/q,max-delivery=5,lock=30s,dedup=1h,sessions,forward-dead-letters-to=dead", 60, TEN)
            .unwrap();
        let expected = "<QueueDescription><LockDuration>PT30S</LockDuration>\
                        <RequiresDuplicateDetection>true</RequiresDuplicateDetection>\
                        <RequiresSession>true</RequiresSession>\
                        <DuplicateDetectionHistoryTimeWindow>PT1H</DuplicateDetectionHistoryTimeWindow>\
                        <MaxDeliveryCount>5</MaxDeliveryCount>\
                        <ForwardDeadLetteredMessagesTo>dead</ForwardDeadLetteredMessagesTo></QueueDescription>";
        assert_eq!(described(&entities), [("ut/q".to_owned(), expected.to_owned())]);
        for (text, iso) in [("1500ms", "PT1.500S"), ("5m", "PT5M"), ("2d", "P2D"), ("P1DT2H", "P1DT2H")] {
            assert_eq!(duration(text), IsoDuration::new(iso), "{text}");
        }
    }

    #[test]
    fn subscriptions_and_rules_name_what_they_belong_to() {
        let entities = Entities::default().topic_flag("a/t,ttl=1h").unwrap();
        let entities = entities.subscription_flag("a/t/s", 60, TEN).unwrap();
        let entities = entities.rule_flag("a/t/s/eu=region = 'eu' AND n >= 1").unwrap();
        let declared = entities.in_order().nth(1).unwrap();
        assert_eq!(declared.path, "a/t/subscriptions/s");
        let (name, rule) = &declared.rules.as_ref().unwrap()[0];
        assert_eq!(name, "eu");
        assert!(rule.contains("<SqlExpression>region = 'eu' AND n &gt;= 1</SqlExpression>"), "{rule}");
    }

    #[test]
    fn what_is_wrong_with_a_flag_is_said() {
        let none = Entities::default;
        for (text, problem) in [
            ("q,lck=3s", "unknown key lck"),
            ("q,lock=soon", "lock cannot be \"soon\""),
            ("q,lock=3", "lock cannot be \"3\""),
            ("q,max-delivery=0", "max-delivery cannot be \"0\""),
            ("q,sessions=maybe", "sessions cannot be \"maybe\""),
        ] {
            assert_eq!(none().queue_flag(text, 60, TEN).unwrap_err().to_string(), problem);
        }
        assert_eq!(none().topic_flag("t,sessions").unwrap_err().to_string(), "unknown key sessions");
        assert_eq!(none().subscription_flag("s", 60, TEN).unwrap_err().to_string(), "\"s\" must be TOPIC/SUBSCRIPTION");
        assert_eq!(none().rule_flag("t/s/r=1=1").unwrap_err().to_string(), "t/s is declared by no --subscription");
        assert!(none().rule_flag("t/s/r=((").is_err());
    }
}
