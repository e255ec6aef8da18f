//! Something that has a path: a queue (or a subscription, which is one), or a topic.

use super::queue::Queue;
use super::topic::Topic;
use crate::time::UnixMillis;

#[derive(Debug)]
pub(super) enum Entity {
    Queue(Box<Queue>),
    Topic(Box<Topic>),
}

impl Entity {
    pub(super) fn queue(&self) -> Option<&Queue> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Topic(_) => None,
        }
    }

    pub(super) fn queue_mut(&mut self) -> Option<&mut Queue> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Topic(_) => None,
        }
    }

    pub(super) fn topic(&self) -> Option<&Topic> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::Queue(_) => None,
        }
    }

    pub(super) fn topic_mut(&mut self) -> Option<&mut Topic> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::Queue(_) => None,
        }
    }

    /// When time alone changes something next.
    pub(super) fn next_event(&self) -> Option<UnixMillis> {
        match self {
            Self::Queue(queue) => queue.next_event(),
            Self::Topic(topic) => topic.next_event(),
        }
    }
}
