//! Entity paths: which queue, topic or subscription, and which of its sub-queues, a URL names.

use std::sync::Arc;

/// One of the queues that every queue or subscription consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubQueue {
    /// Where messages arrive.
    Main,
    /// `$DeadLetterQueue`: where messages go that could not be delivered.
    DeadLetter,
    /// `$Transfer/$DeadLetterQueue`: where messages go that could not be forwarded.
    TransferDeadLetter,
}

impl SubQueue {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Main, Self::DeadLetter, Self::TransferDeadLetter];
}

/// The address of something that holds messages.
///
/// Names may hold `/`; so a path is read from its end: an optional `/$DeadLetterQueue` or
/// `/$Transfer/$DeadLetterQueue`, and the rest is an entity's name. (`{topic}/subscriptions/{name}` is such a name too: the key under which a
/// subscription lives.) Comparison ignores case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityPath {
    /// The name in lower case: the key of the broker's table.
    pub key: Arc<str>,
    /// Which of its queues.
    pub sub_queue: SubQueue,
}

const DEAD_LETTER: &str = "/$deadletterqueue";
const TRANSFER: &str = "/$transfer";

impl EntityPath {
    /// Reads a decoded path without its leading slash.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let lower = path.trim_matches('/').to_lowercase();
        let Some(name) = lower.strip_suffix(DEAD_LETTER) else {
            return Self { key: lower.into(), sub_queue: SubQueue::Main };
        };
        match name.strip_suffix(TRANSFER) {
            Some(name) => Self { key: name.into(), sub_queue: SubQueue::TransferDeadLetter },
            None => Self { key: name.into(), sub_queue: SubQueue::DeadLetter },
        }
    }

    /// The topic's key, when this is a subscription's name.
    pub(super) fn topic_of(key: &str) -> Option<&str> {
        key.rsplit_once("/subscriptions/").map(|(topic, _)| topic)
    }
}

/// Whether the service would accept a queue of this name: letters, digits, `.`, `-`, `_`, in segments
/// divided by `/`, 260 characters at most.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let segment_ok = |segment: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !segment.is_empty() && segment.chars().all(plain)
    };
    let edge_ok = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    name.len() <= 260 && edge_ok(name.chars().next()) && name.split('/').all(segment_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_and_the_dead_letter_queue_is_the_last_word() {
        let path = EntityPath::parse("UT/Queue24/$DeadLetterQueue");
        assert_eq!((&*path.key, path.sub_queue), ("ut/queue24", SubQueue::DeadLetter));
        let path = EntityPath::parse("q/$Transfer/$DeadLetterQueue");
        assert_eq!((&*path.key, path.sub_queue), ("q", SubQueue::TransferDeadLetter));
        let path = EntityPath::parse("Orders");
        assert_eq!((&*path.key, path.sub_queue), ("orders", SubQueue::Main));
    }

    #[test]
    fn names_are_segments_of_plain_characters() {
        for good in ["q", "ut/queue", "orders.poison", "a-b_c", "sms.2", "txt/.-_123"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "/q", "q/", "a b", ".q", "q//r", "q?x", "$q", "ü"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
