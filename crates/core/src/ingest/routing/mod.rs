//! Routing: which queue a message goes to that was sent to none in particular (`POST /messages`).
//!
//! # In two steps
//!
//! 1. **Rules**, in the order of the configuration: the first whose conditions all hold decides the target ([`Routing::find`]).
//!    A condition looks at the request ([`Facts`]): a header, the media type, a field of a JSON body, the type of a `CloudEvents` event,
//!    the webhook it came in by. A rule without conditions takes whatever comes to it. Where no rule holds, nothing is sent.
//! 2. A target is a queue, or a [`Group`] of them, out of which one is **chosen** ([`Group::choose`]):
//!    * `hash`: by the lock key, else by the id. All messages of a key are in one queue, so their order holds.
//!    * `weight`: by the id, in proportion to the queues' weights.
//!    * `shortest`: the queue with the least backlog, as the pump wrote it down last ([`backlog`]).
//!    * `priority`: the lane that a header or a JSON field names. How runs are shared among lanes is the pump's affair.
//!
//! # What it promises
//!
//! * **It is a function**: of the request, its id, the configuration, and for `shortest` the backlog that was read. No chance, no clock, no
//!   memory. So a client's repetition under the same id goes to the same queue, as long as none of these changed.
//! * **When one did change, the repetition is still the same message.** It may be in another queue then; but all queues of a group
//!   share their records (the configuration is refused otherwise), and the record, not the queue, makes it one in effect.
//! * **A queue that is added takes its share and moves nothing else**; one that is removed moves only what was its own
//!   ([`rendezvous`]). What is in the queues stays there.
//! * Nothing here panics, whatever the bytes.
//!
//! # What it is not for
//!
//! Balancing to the message. A backlog is some seconds old, so what arrives between two of its readings goes to the queue that was the
//! shortest at the first. Nor for order: only `hash` keeps the messages of a key in one queue.

pub mod backlog;
mod choice;
mod condition;
mod explain;
mod facts;
mod rendezvous;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use choice::{Candidate, Choice, Chosen, Fallback, Group, Key, Level, Priority, PrioritySource, Strategy};
pub(crate) use condition::is_token_byte;
pub use condition::{Condition, Expected, MediaRange, TypePattern};
pub use explain::explain;
pub use facts::Facts;

/// All rules and groups of the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Routing {
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// The groups that have a name, by it.
    pub groups: BTreeMap<String, Group>,
    /// A backlog that was seen longer ago than this is not gone by.
    pub backlog_max_age: Duration,
}

/// One rule: an entry of `[[routes]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, for logs and for people.
    pub name: Option<String>,
    /// All must hold. None: it takes everything.
    pub conditions: Vec<Condition>,
    /// Where what it takes goes to.
    pub target: Target,
}

/// Where a rule sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// One queue.
    Queue(String),
    /// One out of a group.
    Group(Group),
}

/// The rule that took a request, and why those before it did not.
#[derive(Debug, PartialEq)]
pub struct Found<'a> {
    /// The rule and its place, from 0; `None`: no rule did.
    pub rule: Option<(usize, &'a Rule)>,
    /// Each rule before it, with the first of its conditions that did not hold.
    pub passed_over: Vec<(&'a Rule, &'a Condition)>,
}

impl Routing {
    /// The first rule that takes a request.
    #[must_use]
    pub fn find(&self, facts: &Facts<'_>) -> Found<'_> {
        let mut passed_over = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            match rule.conditions.iter().find(|condition| !condition.holds(facts)) {
                Some(failed) => passed_over.push((rule, failed)),
                None => return Found { rule: Some((place, rule)), passed_over },
            }
        }
        Found { rule: None, passed_over }
    }

    /// Every group, those without a name that stand in a rule included.
    pub fn all_groups(&self) -> impl Iterator<Item = &Group> {
        let inline = self.rules.iter().filter_map(|rule| match &rule.target {
            Target::Group(group) if group.name.is_none() => Some(group),
            _ => None,
        });
        self.groups.values().chain(inline)
    }

    /// The queues whose backlog some group goes by.
    #[must_use]
    pub fn watched(&self) -> BTreeSet<&str> {
        let groups = self.all_groups().filter(|group| group.strategy == Strategy::Shortest);
        groups.flat_map(|group| &group.queues).map(|candidate| candidate.queue.as_str()).collect()
    }
}

impl Rule {
    /// What a log may call it: its name, else its place.
    #[must_use]
    pub fn label(&self, place: usize) -> String {
        self.name.clone().unwrap_or_else(|| place.to_string())
    }
}
