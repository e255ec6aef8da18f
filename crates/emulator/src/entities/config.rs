//! The shape of `Config.json`.
//!
//! Every property that the file's published schema knows is here, and those of the Atom descriptions that it
//! leaves out; anything else is an error, since a misspelt property would otherwise be a silent default.

use serde::{Deserialize, Deserializer, de};

use super::properties::{QueueProperties, RuleProperties, SubscriptionProperties, TopicProperties};
use super::{Declaration, Entities};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Document {
    user_config: UserConfig,
    /// The schema that an editor is to check the file by.
    #[serde(rename = "$schema")]
    _schema: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UserConfig {
    #[serde(deserialize_with = "one_namespace")]
    namespaces: Vec<Namespace>,
    /// Where the official emulator logs to; here `RUST_LOG` says what is logged.
    #[serde(rename = "Logging")]
    _logging: Option<de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Namespace {
    /// Any: here a namespace is called as its host is.
    #[serde(rename = "Name")]
    _name: Option<String>,
    #[serde(default)]
    queues: Vec<Queue>,
    #[serde(default)]
    topics: Vec<Topic>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Queue {
    name: String,
    #[serde(default)]
    properties: QueueProperties,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Topic {
    name: String,
    #[serde(default)]
    properties: TopicProperties,
    #[serde(default)]
    subscriptions: Vec<Subscription>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Subscription {
    name: String,
    #[serde(default)]
    properties: SubscriptionProperties,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rule {
    name: String,
    properties: RuleProperties,
}

fn one_namespace<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Namespace>, D::Error> {
    let namespaces = Vec::<Namespace>::deserialize(from)?;
    match namespaces.len() {
        1 => Ok(namespaces),
        other => Err(de::Error::custom(format!("there must be exactly one namespace, not {other}"))),
    }
}

impl Document {
    pub(super) fn entities(self) -> Entities {
        let mut all = Vec::new();
        for (n, namespace) in self.user_config.namespaces.into_iter().enumerate() {
            let place = format!("UserConfig.Namespaces[{n}]");
            for (n, queue) in namespace.queues.into_iter().enumerate() {
                all.push(Declaration {
                    description: queue.properties.description(),
                    forwards: queue.properties.forwards(),
                    path: queue.name,
                    rules: None,
                    origin: format!("{place}.Queues[{n}]"),
                });
            }
            for (n, topic) in namespace.topics.into_iter().enumerate() {
                topic.declare(&format!("{place}.Topics[{n}]"), &mut all);
            }
        }
        Entities(all)
    }
}

impl Topic {
    fn declare(self, place: &str, all: &mut Vec<Declaration>) {
        all.push(Declaration {
            path: self.name.clone(),
            description: self.properties.description(),
            rules: None,
            origin: place.to_owned(),
            forwards: false,
        });
        for (n, subscription) in self.subscriptions.into_iter().enumerate() {
            let rules: Vec<(String, String)> =
                subscription.rules.into_iter().map(|rule| (rule.name, rule.properties.description())).collect();
            all.push(Declaration {
                path: format!("{}/subscriptions/{}", self.name, subscription.name),
                description: subscription.properties.description(),
                rules: Some(rules).filter(|rules| !rules.is_empty()),
                origin: format!("{place}.Subscriptions[{n}]"),
                forwards: subscription.properties.forwards(),
            });
        }
    }
}
