//! Rules of subscriptions: which messages they take, and what they change in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message::{Message, PropertyValue};
use super::sql;
use crate::ids::IdSource;
use crate::time::UnixMillis;

/// A named filter with an optional action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name; unique within a subscription, without regard to case.
    pub name: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Which messages it takes.
    pub filter: Filter,
    /// What it changes in its copy.
    pub action: Option<Action>,
    /// Filter and action as the management client wrote them: shown again, never read.
    pub shown: String,
}

/// Which messages a rule takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Filter {
    /// All.
    True,
    /// None.
    False,
    /// Those whose properties are equal to these. Names are those of broker properties.
    Correlation {
        /// `CorrelationId`, `MessageId`, `To`, `ReplyTo`, `Label`, `SessionId`, `ReplyToSessionId`,
        /// `ContentType`.
        broker: BTreeMap<String, String>,
        /// Custom properties.
        custom: Vec<(String, PropertyValue)>,
    },
    /// Those for which the expression is true.
    Sql(sql::Condition),
}

/// What a rule changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action(pub sql::Statements);

impl Filter {
    /// Whether the rule takes this message. What is unknown does not match.
    #[must_use]
    pub fn matches(&self, message: &Message) -> bool {
        match self {
            Self::True => true,
            Self::False => false,
            Self::Sql(condition) => condition.is_true(message),
            Self::Correlation { broker, custom } => {
                let broker_equal = broker.iter().all(|(name, value)| {
                    sql::broker_property(message, name) == Some(PropertyValue::Text(value.clone()))
                });
                let custom_equal = custom.iter().all(|(name, value)| {
                    message.properties.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
                });
                broker_equal && custom_equal
            }
        }
    }
}

impl Action {
    /// Changes a copy.
    pub fn apply(&self, message: &mut Message, ids: &mut dyn IdSource) {
        self.0.apply(message, ids);
    }
}
