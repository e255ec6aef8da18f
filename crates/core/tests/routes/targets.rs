//! A fuzz target: a function of bytes that panics when a promise is broken.

use std::time::Duration;

use oncebus_core::config::{Config, to_one_line};
use oncebus_core::ingest::cloudevents::{self, Mode};
use oncebus_core::ingest::entry::Entry;
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::routing::backlog::Backlog;
use oncebus_core::ingest::routing::{Facts, Fallback, Group, Key, Routing, Strategy, Target, explain};
use oncebus_core::message::{Outgoing, Properties};
use oncebus_core::time::UnixTime;

const QUEUES: &str =
    "[queues]\na = { group = 'g' }\nb = { group = 'g' }\nc = { group = 'g' }\n[webhooks.twilio]\nqueue = 'a'\n";

/// Four parts with a zero byte between them: routes, headers, a body, a backlog. Whatever they are:
///
/// * a configuration that is accepted means the same as the line that components get;
/// * a request is routed twice alike, to a queue of the rule that takes it, past rules of which a condition does not hold;
/// * a group of fewer queues moves no message that did not go to the one that is missing, where a hash decides;
/// * a backlog that is read is written the same.
pub(crate) fn routes(data: &[u8]) {
    let mut parts = data.splitn(4, |byte| *byte == 0).map(<[u8]>::to_vec);
    let mut part = || parts.next().unwrap_or_default();
    let (routes, headers, body, backlog) = (part(), part(), part(), part());
    let document = format!("{QUEUES}{}", String::from_utf8_lossy(&routes));
    let Ok(config) = Config::parse(&document) else { return };
    let line = to_one_line(&document).expect("what is accepted can be handed on");
    assert_eq!(Config::parse(&line).as_ref(), Ok(&config), "{document}");

    let headers = headers.split(|byte| *byte == b'\n').map(|line| {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
        (name, halves.next().unwrap_or_default().to_vec())
    });
    let head = Head { method: "POST".to_owned(), target: "/messages".to_owned(), headers: headers.collect() };
    let backlog = Backlog::parse(&backlog).map_err(|error| Fallback::Unreadable(error.to_string()));
    if let Ok(backlog) = &backlog {
        let bytes = backlog.to_bytes().expect("a backlog is JSON");
        assert_eq!(Backlog::parse(&bytes).as_ref(), Ok(backlog));
    }
    let once = routed(&config.routing, &head, &body, &backlog);
    assert_eq!(once, routed(&config.routing, &head, &body, &backlog));
}

/// The message that ingest makes of a request; one that is refused has nothing to go by.
fn message(head: &Head, body: &[u8]) -> Outgoing {
    let body = body.to_vec();
    let entry = match Mode::of(head) {
        Ok(Some(Mode::Structured)) => cloudevents::event(&body.into(), None),
        Ok(Some(Mode::Binary)) => cloudevents::binary(head).map(|entry| entry.with_body(body.into())),
        _ => Ok(Entry::new("i".into(), None, head.content_type().ok().flatten(), body.into(), Properties::new())),
    };
    entry.map(|entry| entry.message).unwrap_or_default()
}

fn routed(routing: &Routing, head: &Head, body: &[u8], backlog: &Result<Backlog, Fallback>) -> String {
    let message = message(head, body);
    let facts = Facts::new(head, &message, None);
    let found = routing.find(&facts);
    for (rule, condition) in &found.passed_over {
        assert!(rule.conditions.contains(condition) && !condition.holds(&facts));
    }
    let Some((place, rule)) = found.rule else {
        assert_eq!(found.passed_over.len(), routing.rules.len());
        return explain(&found, None, None, false).to_string();
    };
    assert_eq!(found.passed_over.len(), place);
    assert!(rule.conditions.iter().all(|condition| condition.holds(&facts)));
    let choice = match &rule.target {
        Target::Queue(_) => None,
        Target::Group(group) => {
            let queue = chosen(group, &facts, backlog);
            if matches!(group.strategy, Strategy::Hash | Strategy::Weight) {
                for missing in &group.queues {
                    let fewer = group.queues.iter().filter(|other| *other != missing).cloned().collect();
                    let fewer = Group { queues: fewer, ..group.clone() };
                    let moved = fewer.queues.len() > 1 && chosen(&fewer, &facts, backlog) != queue;
                    assert!(!moved || missing.queue == queue, "from {queue} without {}", missing.queue);
                }
            }
            let known = backlog.as_ref().map(|known| (known, UnixTime(7))).map_err(Clone::clone);
            group.choose(&facts, key(), known, Duration::from_secs(30))
        }
    };
    explain(&found, choice.as_ref(), backlog.as_ref().ok(), true).to_string()
}

fn chosen<'a>(group: &'a Group, facts: &Facts<'_>, backlog: &Result<Backlog, Fallback>) -> &'a str {
    let known = backlog.as_ref().map(|known| (known, UnixTime(7))).map_err(Clone::clone);
    let choice = group.choose(facts, key(), known, Duration::from_secs(30)).expect("a group has queues");
    assert!(group.queues.iter().any(|candidate| candidate.queue == choice.queue));
    choice.queue
}

const fn key() -> Key<'static> {
    Key { id: "some id", lock_key: Some("some key") }
}
