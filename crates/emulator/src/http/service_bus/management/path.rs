//! What a management path names. Names may hold `/`, so it is read from its end; words in any case.

use crate::auth::decode;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `$namespaceinfo`.
    Namespace,
    /// `$Resources/queues`.
    Queues,
    /// `$Resources/topics`.
    Topics,
    /// A queue or a topic.
    Entity(String),
    /// Of a topic.
    Subscriptions(String),
    /// Topic and subscription.
    Subscription(String, String),
    /// Of a subscription.
    Rules(String, String),
    /// Topic, subscription and rule.
    Rule(String, String, String),
    /// The root, and what nobody knows.
    Unknown,
}

impl Target {
    /// The topic below which it lies.
    pub(super) fn topic(&self) -> Option<&str> {
        match self {
            Self::Subscriptions(topic)
            | Self::Subscription(topic, _)
            | Self::Rules(topic, _)
            | Self::Rule(topic, ..) => Some(topic),
            Self::Namespace | Self::Queues | Self::Topics | Self::Entity(_) | Self::Unknown => None,
        }
    }

    /// Reads a path as it stands in the request line.
    pub(super) fn read(path: &str) -> Self {
        let segments: Vec<String> = path.trim_matches('/').split('/').map(decode).collect();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
        let join = |parts: &[&str]| parts.join("/");
        match parts.as_slice() {
            [""] => Self::Unknown,
            [one] if is(one, "$namespaceinfo") => Self::Namespace,
            [one, two] if is(one, "$resources") && is(two, "queues") => Self::Queues,
            [one, two] if is(one, "$resources") && is(two, "topics") => Self::Topics,
            [one, ..] if is(one, "$resources") => Self::Unknown,
            [topic @ .., s, name, r, rule] if is(s, "subscriptions") && is(r, "rules") && !topic.is_empty() => {
                Self::Rule(join(topic), (*name).to_owned(), (*rule).to_owned())
            }
            [topic @ .., s, name, r] if is(s, "subscriptions") && is(r, "rules") && !topic.is_empty() => {
                Self::Rules(join(topic), (*name).to_owned())
            }
            [topic @ .., s, name] if is(s, "subscriptions") && !topic.is_empty() => {
                Self::Subscription(join(topic), (*name).to_owned())
            }
            [topic @ .., s] if is(s, "subscriptions") && !topic.is_empty() => Self::Subscriptions(join(topic)),
            parts => Self::Entity(join(parts)),
        }
    }
}

/// Whether a subscription or a rule can have this name.
pub(super) fn is_plain_segment(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let rest = name.strip_prefix('$').unwrap_or(name);
    !rest.is_empty() && name.len() <= 50 && rest.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let text = String::from;
        for (path, expected) in [
            ("/", Target::Unknown),
            ("/$Resources/Queues", Target::Queues),
            ("/$resources/topics/", Target::Topics),
            ("/$namespaceinfo", Target::Namespace),
            ("/ut/q", Target::Entity(text("ut/q"))),
            ("/ut/t/Subscriptions/", Target::Subscriptions(text("ut/t"))),
            ("/t/subscriptions/s", Target::Subscription(text("t"), text("s"))),
            ("/t/subscriptions/s/rules/", Target::Rules(text("t"), text("s"))),
            ("/t/subscriptions/s/rules/%24Default", Target::Rule(text("t"), text("s"), text("$Default"))),
            ("/subscriptions/s", Target::Entity(text("subscriptions/s"))),
        ] {
            assert_eq!(Target::read(path), expected, "{path}");
        }
    }
}
