//! Which entities there are at the start: as the official emulator's `Config.json` says it, or as flags do.
//!
//! An entity is declared by the same description that a management client would send, and made by the same
//! code: what that refuses is refused here, with the place in the file. An entity that a durable store has
//! already keeps its messages and gets the properties of the declaration; what Azure lets nobody change
//! (`RequiresSession`, `RequiresDuplicateDetection`) is refused. A subscription whose declaration names rules
//! has those and no others, else what it had, or `$Default`. Entities of the store that nobody declares stay.
//!
//! What is not said has Azure's defaults, not those of the official emulator (which lets a message live for
//! an hour and has three deliveries); its caps on counts and durations do not apply, Azure's do.

mod config;
mod flags;
mod properties;

pub use flags::FlagError;
pub use properties::{QueueProperties, RuleProperties, SubscriptionProperties, TopicProperties};

use config::Document;

/// Entities to make, in the order in which they can be made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entities(Vec<Declaration>);

/// One entity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declaration {
    /// `q`, `t`, or `t/subscriptions/s`.
    pub(crate) path: String,
    /// The description as XML.
    pub(crate) description: String,
    /// The rules of a subscription, if it says any: name and description.
    pub(crate) rules: Option<Vec<(String, String)>>,
    /// Where it was declared: a place in a file, or a flag.
    pub(crate) origin: String,
    /// Whether it names other entities, which must be there first.
    forwards: bool,
}

/// Why a `Config.json` is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// `UserConfig.Namespaces[0].Queues[1].Properties.LockDuration`.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

impl Entities {
    /// Reads a `Config.json` of the official emulator.
    ///
    /// # Errors
    /// With the place of what is wrong: an unknown property, a value of the wrong kind, a duration that is
    /// none, an expression that cannot be read.
    pub fn from_config(json: &[u8]) -> Result<Self, ConfigError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let document: Document = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| ConfigError { place: place(error.path()), problem: error.inner().to_string() })?;
        deserializer.end().map_err(|error| ConfigError { place: "end".to_owned(), problem: error.to_string() })?;
        Ok(document.entities())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds others after these; one of the same path takes the place of an earlier one.
    pub fn extend(&mut self, others: Self) {
        for other in others.0 {
            self.0.retain(|one| !one.path.eq_ignore_ascii_case(&other.path));
            self.0.push(other);
        }
    }

    /// Adds a queue.
    #[must_use]
    pub fn with_queue(self, name: &str, properties: &QueueProperties) -> Self {
        let forwards = properties.forwards();
        self.with(name.to_owned(), properties.description(), None, forwards, format!("queue {name}"))
    }

    /// Adds a topic.
    #[must_use]
    pub fn with_topic(self, name: &str, properties: &TopicProperties) -> Self {
        self.with(name.to_owned(), properties.description(), None, false, format!("topic {name}"))
    }

    /// Adds a subscription; its topic must be there or be declared too.
    #[must_use]
    pub fn with_subscription(self, topic: &str, name: &str, properties: &SubscriptionProperties) -> Self {
        let (path, origin) = (format!("{topic}/subscriptions/{name}"), format!("subscription {topic}/{name}"));
        self.with(path, properties.description(), None, properties.forwards(), origin)
    }

    /// Adds a rule to a subscription that was added before; the first takes the place of `$Default`. One of
    /// a subscription that was not is lost.
    #[must_use]
    pub fn with_rule(mut self, topic: &str, subscription: &str, name: &str, properties: &RuleProperties) -> Self {
        let path = format!("{topic}/subscriptions/{subscription}");
        if let Some(declared) = self.0.iter_mut().find(|one| one.path.eq_ignore_ascii_case(&path)) {
            let rules = declared.rules.get_or_insert_default();
            rules.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            rules.push((name.to_owned(), properties.description()));
        }
        self
    }

    fn with(
        mut self,
        path: String,
        description: String,
        rules: Option<Vec<(String, String)>>,
        forwards: bool,
        origin: String,
    ) -> Self {
        self.extend(Self(vec![Declaration { path, description, rules, origin, forwards }]));
        self
    }

    /// In the order in which they can be made: what forwards comes last, since its target must be there.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Declaration> {
        let some = |forwards| self.0.iter().filter(move |one| one.forwards == forwards);
        some(false).chain(some(true))
    }
}

/// Never nothing: a property may be called so.
fn place(path: &serde_path_to_error::Path) -> String {
    Some(path.to_string()).filter(|place| !place.is_empty()).unwrap_or_else(|| "\"\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with everything that the official emulator's schema knows.
    const CONFIG: &str = include_str!("../../tests/fixtures/Config.json");

    fn place_of(json: &str) -> (String, String) {
        let error = Entities::from_config(json.as_bytes()).unwrap_err();
        (error.place, error.problem)
    }

    #[test]
    fn everything_in_a_file_is_declared_and_knows_where_it_stands() {
        let entities = Entities::from_config(CONFIG.as_bytes()).unwrap();
        let all: Vec<(&str, &str)> = entities.in_order().map(|one| (one.path.as_str(), one.origin.as_str())).collect();
        let subscriptions = "UserConfig.Namespaces[0].Topics[0].Subscriptions";
        assert_eq!(
            all,
            [
                ("orders", "UserConfig.Namespaces[0].Queues[0]"),
                ("orders.audit", "UserConfig.Namespaces[0].Queues[2]"),
                ("events", "UserConfig.Namespaces[0].Topics[0]"),
                ("events/subscriptions/all", &*format!("{subscriptions}[0]")),
                ("events/subscriptions/eu", &*format!("{subscriptions}[1]")),
                ("events/subscriptions/mail", &*format!("{subscriptions}[2]")),
                ("orders.copy", "UserConfig.Namespaces[0].Queues[1]"),
            ]
        );
        let rules = entities.0.iter().find(|one| one.path.ends_with("/mail")).unwrap().rules.as_ref().unwrap();
        assert_eq!(rules.len(), 1);
        assert!(rules[0].1.contains("<Key>number</Key><Value i:type=\"d:int\""), "{}", rules[0].1);
        assert!(entities.0[0].description.contains("<LockDuration>PT30S</LockDuration>"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let queue = |properties: &str| {
            format!(
                r#"{{"UserConfig":{{"Namespaces":[{{"Name":"n","Queues":[{{"Name":"q","Properties":{properties}}}]}}]}}}}"#
            )
        };
        let at = |name: &str| format!("UserConfig.Namespaces[0].Queues[0].Properties.{name}");
        for (properties, name, problem) in [
            (r#"{"LockDuration":"60"}"#, "LockDuration", "not an ISO 8601 duration"),
            (r#"{"LockDuration":60}"#, "LockDuration", "invalid type"),
            (r#"{"MaxDeliveryCount":0}"#, "MaxDeliveryCount", "nonzero"),
            (r#"{"MaxDeliveryCuont":3}"#, "MaxDeliveryCuont", "unknown field"),
            (r#"{"RequiresSession":"yes"}"#, "RequiresSession", "invalid type"),
        ] {
            let (place, text) = place_of(&queue(properties));
            assert_eq!(place, at(name));
            assert!(text.contains(problem), "{text}");
        }
        let (place, text) = place_of(r#"{"UserConfig":{"Namespaces":[{"Name":"n"},{"Name":"m"}]}}"#);
        assert_eq!((place.as_str(), text.contains("exactly one namespace")), ("UserConfig.Namespaces", true));
        let rule = |rule: &str| {
            format!(
                r#"{{"UserConfig":{{"Namespaces":[{{"Name":"n","Topics":[{{"Name":"t","Subscriptions":[{{"Name":"s","Rules":[{{"Name":"r","Properties":{rule}}}]}}]}}]}}]}}}}"#
            )
        };
        let place = "UserConfig.Namespaces[0].Topics[0].Subscriptions[0].Rules[0].Properties";
        for (properties, below, problem) in [
            (r#"{"FilterType":"Sql","SqlFilter":{"SqlExpression":"a = = 1"}}"#, ".SqlFilter.SqlExpression", ""),
            (r#"{"FilterType":"Sql"}"#, "", "SqlFilter is missing"),
            (r#"{"FilterType":"Correlation"}"#, "", "CorrelationFilter is missing"),
            (r#"{"FilterType":"Magic"}"#, ".FilterType", "unknown variant"),
            (
                r#"{"FilterType":"Correlation","CorrelationFilter":{"Properties":{"a":[1]}}}"#,
                ".CorrelationFilter.Properties.a",
                "",
            ),
        ] {
            let (at, text) = place_of(&rule(properties));
            assert_eq!(at, format!("{place}{below}"), "{text}");
            assert!(text.contains(problem), "{text}");
        }
        assert_eq!(place_of("[]").0, ".");
        assert_eq!(place_of(r#"{"":1}"#).0, "\"\"");
    }

    #[test]
    fn a_later_declaration_takes_the_place_of_an_earlier_one() {
        let mut entities = Entities::default().with_queue("Q", &QueueProperties::default());
        let longer = QueueProperties { max_delivery_count: std::num::NonZeroU32::new(7), ..QueueProperties::default() };
        entities.extend(Entities::default().with_queue("q", &longer));
        assert_eq!(entities.0.len(), 1);
        assert!(entities.0[0].description.contains("<MaxDeliveryCount>7</MaxDeliveryCount>"));
    }
}
