//! Groups of queues, and the choice of one.

use std::time::Duration;

use serde_json::Value;

use super::backlog::{Backlog, Observation};
use super::facts::Facts;
use super::rendezvous::scores;
use crate::time::UnixTime;

/// Queues out of which one is chosen for each message. They share their records.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name; none where it stands in a rule.
    pub name: Option<String>,
    /// At least one. For [`Strategy::Priority`] the lanes, the highest first.
    pub queues: Vec<Candidate>,
    /// How to choose.
    pub strategy: Strategy,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The queue.
    pub queue: String,
    /// How large its share is, of messages or (lanes) of runs: at least 1.
    pub weight: u32,
}

/// How to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// By the lock key, else by the id.
    Hash,
    /// By the id.
    Weight,
    /// The least backlog; where that is not known, by the id.
    Shortest,
    /// By what the message says of itself.
    Priority(Priority),
}

impl Strategy {
    /// Its name in the configuration.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Weight => "weight",
            Self::Shortest => "shortest",
            Self::Priority(_) => "priority",
        }
    }
}

/// Lanes: where a message says its priority, and what it may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priority {
    /// Where it stands.
    pub source: PrioritySource,
    /// The word of each lane, in the order of the queues.
    pub levels: Vec<String>,
    /// The lane of a message that says nothing, or something else.
    pub default: usize,
}

/// Where a message says its priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrioritySource {
    /// A header, by its name in lower case.
    Header(String),
    /// A field of a JSON body, by its pointer: text, or a whole number.
    Field(String),
}

/// What a choice rests on, beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The message's id.
    pub id: &'a str,
    /// Its lock key.
    pub lock_key: Option<&'a str>,
}

/// What was decided, and how it came to that.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<'a> {
    /// The queue.
    pub queue: &'a str,
    /// By what it was chosen.
    pub by: Chosen<'a>,
    /// Each candidate's score: the highest wins wherever a hash decides.
    pub scores: Vec<u64>,
}

/// By what a queue was chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum Chosen<'a> {
    /// There is only one.
    Only,
    /// By the hash of the lock key.
    LockKey,
    /// By the hash of the id.
    Id,
    /// By the backlog; these were as short as the shortest, and the id decided among them.
    Backlog(Vec<&'a str>),
    /// By the id, since the backlog could not be gone by.
    IdWithoutBacklog(Fallback),
    /// By the priority.
    Priority(Level),
}

/// Which lane, and whether the message said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It did.
    Said,
    /// It said nothing, or something else.
    Default,
}

/// Why the backlog was not gone by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fallback {
    /// Nobody has written one.
    #[error("no backlog has been written")]
    Missing,
    /// It was not read.
    #[error("the backlog cannot be read: {0}")]
    Unreadable(String),
    /// Of this queue it says nothing that is young enough.
    #[error("of the backlog of {0} nothing is known that is young enough")]
    Unknown(String),
    /// Of some queues it knows a count, of others an age.
    #[error("the backlogs of the queues cannot be compared: of some the count is known, of others the age")]
    Mixed,
}

impl Group {
    /// Whether [`Group::choose`] goes by the backlog.
    #[must_use]
    pub fn needs_backlog(&self) -> bool {
        self.strategy == Strategy::Shortest && self.queues.len() > 1
    }

    /// Chooses. `backlog` is asked for only by [`Strategy::Shortest`]: what is known, and the storage server's time now.
    #[must_use]
    pub fn choose<'a>(
        &'a self,
        facts: &Facts<'_>,
        key: Key<'_>,
        backlog: Result<(&Backlog, UnixTime), Fallback>,
        max_age: Duration,
    ) -> Option<Choice<'a>> {
        let by_id = || scores(key.id, &self.queues);
        let highest = |scores: &[u64]| self.best(scores, |_| true);
        let (queue, by, scores) = match (&self.strategy, self.queues.as_slice()) {
            (Strategy::Priority(priority), _) => {
                let (place, level) = priority.lane(facts);
                (self.queues.get(place)?, Chosen::Priority(level), Vec::new())
            }
            (_, [only]) => (only, Chosen::Only, Vec::new()),
            (Strategy::Hash, _) => {
                let (text, by) = key.lock_key.map_or((key.id, Chosen::Id), |key| (key, Chosen::LockKey));
                let scores = scores(text, &self.queues);
                (highest(&scores)?, by, scores)
            }
            (Strategy::Weight, _) => {
                let scores = by_id();
                (highest(&scores)?, Chosen::Id, scores)
            }
            (Strategy::Shortest, _) => {
                let scores = by_id();
                match backlog.and_then(|(backlog, now)| self.shortest(backlog, now, max_age)) {
                    Ok(shortest) => {
                        let queue = self.best(&scores, |queue| shortest.contains(&queue))?;
                        (queue, Chosen::Backlog(shortest), scores)
                    }
                    Err(fallback) => (highest(&scores)?, Chosen::IdWithoutBacklog(fallback), scores),
                }
            }
        };
        Some(Choice { queue: &queue.queue, by, scores })
    }

    /// The candidate with the highest score; of two alike the one whose name comes first, whatever their order.
    fn best(&self, scores: &[u64], may: impl Fn(&str) -> bool) -> Option<&Candidate> {
        let candidates = self.queues.iter().zip(scores).filter(|(candidate, _)| may(&candidate.queue));
        let best = candidates.max_by(|(one, a), (other, b)| a.cmp(b).then_with(|| other.queue.cmp(&one.queue)));
        best.map(|(candidate, _)| candidate)
    }

    /// The queues whose backlog is the least: by the count of their messages, or by the age of the oldest, as is known of all of them.
    fn shortest(&self, backlog: &Backlog, now: UnixTime, max_age: Duration) -> Result<Vec<&str>, Fallback> {
        let known = |candidate: &Candidate| {
            let unknown = || Fallback::Unknown(candidate.queue.clone());
            backlog.young(&candidate.queue, now, max_age).ok_or_else(unknown)
        };
        let known = self.queues.iter().map(known).collect::<Result<Vec<&Observation>, Fallback>>()?;
        let measure =
            |of: fn(&Observation) -> Option<u64>| known.iter().map(|seen| of(seen)).collect::<Option<Vec<_>>>();
        let lengths = measure(|seen| seen.messages).or_else(|| measure(|seen| seen.oldest_seconds));
        let lengths = lengths.ok_or(Fallback::Mixed)?;
        let least = lengths.iter().min().copied().unwrap_or_default();
        let queues = self.queues.iter().zip(lengths).filter(|(_, length)| *length == least);
        Ok(queues.map(|(candidate, _)| candidate.queue.as_str()).collect())
    }
}

impl Priority {
    /// The lane's place. What a message says counts in any case; one that says nothing that is known does not jump the queue.
    fn lane(&self, facts: &Facts<'_>) -> (usize, Level) {
        let said = match &self.source {
            PrioritySource::Header(name) => {
                let said = facts.header(name).next().and_then(|value| std::str::from_utf8(value).ok());
                said.map(str::to_owned)
            }
            PrioritySource::Field(pointer) => match facts.json().and_then(|json| json.pointer(pointer)) {
                Some(Value::String(text)) => Some(text.trim().to_owned()),
                Some(Value::Number(number)) => Some(number.to_string()),
                _ => None,
            },
        };
        let place = said.and_then(|said| self.levels.iter().position(|level| level.eq_ignore_ascii_case(&said)));
        place.map_or((self.default, Level::Default), |place| (place, Level::Said))
    }
}
