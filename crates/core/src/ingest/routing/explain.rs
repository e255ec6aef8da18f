//! The answer of `POST /routes/test`: where a request would go, and why.

use serde_json::{Map, Value, json};

use super::backlog::Backlog;
use super::choice::{Choice, Chosen, Level};
use super::{Found, Rule, Target};

/// As JSON. `made_up`: the request has no id, so that a message would get another one each time.
#[must_use]
pub fn explain(found: &Found<'_>, choice: Option<&Choice<'_>>, backlog: Option<&Backlog>, made_up: bool) -> Value {
    let mut answer = Map::new();
    let passed_over = found.passed_over.iter().enumerate().map(|(place, (rule, condition))| {
        let mut members = named(place, rule);
        members.insert("because".to_owned(), condition.to_string().into());
        Value::Object(members)
    });
    answer.insert("passed_over".to_owned(), passed_over.collect());
    let Some((place, rule)) = found.rule else {
        answer.insert("queue".to_owned(), Value::Null);
        return answer.into();
    };
    answer.insert("route".to_owned(), named(place, rule).into());
    match &rule.target {
        Target::Queue(queue) => drop(answer.insert("queue".to_owned(), queue.as_str().into())),
        Target::Group(group) => {
            if let Some(name) = &group.name {
                answer.insert("group".to_owned(), name.as_str().into());
            }
            answer.insert("strategy".to_owned(), group.strategy.word().into());
            let scores = choice.map(|choice| choice.scores.as_slice()).unwrap_or_default();
            let candidates = group.queues.iter().enumerate().map(|(at, candidate)| {
                let mut members = Map::new();
                members.insert("queue".to_owned(), candidate.queue.as_str().into());
                members.insert("weight".to_owned(), candidate.weight.into());
                if let Some(score) = scores.get(at) {
                    // As text: readers of JSON round numbers beyond 2^53.
                    members.insert("score".to_owned(), format!("{score:016x}").into());
                }
                let seen = backlog.and_then(|backlog| backlog.iter().find(|(queue, _)| *queue == candidate.queue));
                if let Some((_, seen)) = seen {
                    members.insert("backlog".to_owned(), json!(seen));
                }
                Value::Object(members)
            });
            answer.insert("candidates".to_owned(), candidates.collect());
            answer.insert("queue".to_owned(), choice.map(|choice| choice.queue).into());
        }
    }
    if let Some(choice) = choice {
        let (by, more) = chosen(&choice.by, made_up);
        answer.insert("chosen_by".to_owned(), by.into());
        if let Some((name, value)) = more {
            answer.insert(name.to_owned(), value);
        }
    }
    answer.into()
}

/// A rule by its place, and its name if it has one.
fn named(place: usize, rule: &Rule) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("index".to_owned(), place.into());
    if let Some(name) = &rule.name {
        members.insert("name".to_owned(), name.as_str().into());
    }
    members
}

/// By what, and one more member about that.
fn chosen(by: &Chosen<'_>, made_up: bool) -> (&'static str, Option<(&'static str, Value)>) {
    let id = if made_up { "made-up-id" } else { "id" };
    match by {
        Chosen::Only => ("only-queue", None),
        Chosen::LockKey => ("lock-key", None),
        Chosen::Id => (id, None),
        Chosen::Backlog(shortest) => ("backlog", Some(("shortest", json!(shortest)))),
        Chosen::IdWithoutBacklog(why) => (id, Some(("fallback", why.to_string().into()))),
        Chosen::Priority(Level::Said) => ("priority", None),
        Chosen::Priority(Level::Default) => ("default-priority", None),
    }
}
