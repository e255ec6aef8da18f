//! `[[routes]]`, `[groups.NAME]` and `[routing]`: what [`crate::ingest::routing`] goes by.
//!
//! What is refused here cannot go wrong later: a queue that is not configured, a group without queues or with queues that do not share their records,
//! names and queues given twice, weights of zero, and a route that no message can reach.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::queue::{QueueConfig, is_name};
use super::reader::{Reader, default_number, seconds};
use super::{ConfigError, settings};
use crate::ingest::routing::{
    Candidate, Condition, Expected, Group, MediaRange, Priority, PrioritySource, Routing, Rule, Strategy, Target,
    TypePattern, is_token_byte,
};

type Queues = BTreeMap<String, QueueConfig>;

/// Headers that carry credentials: the configuration is no place for those.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// The most that a queue may weigh: so many hashes are made for it, for each message.
const MAX_WEIGHT: u32 = 100;

/// All of it. `sources` are the webhooks that are configured.
pub(super) fn parse(top: &mut Reader<'_>, queues: &Queues, sources: &[&str]) -> Result<Routing, ConfigError> {
    let mut routing = Reader::new("routing", top.table("routing")?);
    let age = routing.number(&settings::BACKLOG_MAX_AGE)?;
    let backlog_max_age = seconds(age.unwrap_or_else(|| default_number(&settings::BACKLOG_MAX_AGE)));
    routing.finish()?;

    let mut groups = BTreeMap::new();
    for (name, value) in top.table("groups")?.into_iter().flatten() {
        let path = format!("groups.{name}");
        if !is_name(name) {
            let problem =
                "expected 1 to 50 characters out of a-z, A-Z, 0-9, dot, hyphen and underscore as the name of a group";
            return Err(ConfigError::new(path, problem));
        }
        let mut reader = Reader::new(path.as_str(), Some(table(&path, value)?));
        let group = group(&mut reader, Some(name), queues)?;
        reader.finish()?;
        groups.insert(name.clone(), group);
    }

    let mut rules: Vec<Rule> = Vec::new();
    for (place, value) in top.tables("routes")?.enumerate() {
        let path = format!("routes[{place}]");
        if let Some(before) = rules.iter().position(|rule| rule.conditions.is_empty()) {
            let problem = format!("no message comes so far: routes[{before}] has no conditions and takes everything");
            return Err(ConfigError::new(path, problem));
        }
        let mut reader = Reader::new(path.as_str(), Some(table(&path, value)?));
        let rule = rule(&mut reader, &groups, queues, sources)?;
        reader.finish()?;
        if rule.name.is_some() && rules.iter().any(|other| other.name == rule.name) {
            let name = rule.name.unwrap_or_default();
            return Err(ConfigError::new(format!("{path}.name"), format!("another route is called {name:?}")));
        }
        rules.push(rule);
    }
    let routing = Routing { rules, groups, backlog_max_age };
    one_lane_each(&routing)?;
    Ok(routing)
}

/// The pump shares runs among the lanes of a group; a queue that were a lane of two would get two shares.
fn one_lane_each(routing: &Routing) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    let lanes = routing.all_groups().filter(|group| matches!(group.strategy, Strategy::Priority(_)));
    match lanes.flat_map(|group| &group.queues).find(|lane| !seen.insert(lane.queue.as_str())) {
        None => Ok(()),
        Some(lane) => {
            Err(ConfigError::new("groups", format!("the queue {:?} is a lane of more than one group", lane.queue)))
        }
    }
}

fn rule(
    reader: &mut Reader<'_>,
    groups: &BTreeMap<String, Group>,
    queues: &Queues,
    sources: &[&str],
) -> Result<Rule, ConfigError> {
    let name = reader.text(&settings::ROUTE_NAME)?;
    if let Some(name) = name.filter(|name| !is_name(name)) {
        return Err(reader.wrong(&settings::ROUTE_NAME, &format!("{name:?}")));
    }
    let path = reader.name(settings::ROUTE_MATCH.key);
    let conditions = match reader.table(settings::ROUTE_MATCH.key)? {
        None => Vec::new(),
        Some(table) => conditions(path, table, sources)?,
    };
    let queue = reader.text(&settings::ROUTE_QUEUE)?;
    let named = reader.text(&settings::ROUTE_GROUP)?;
    let target = match (queue, named, reader.has(&settings::GROUP_QUEUES)) {
        (Some(queue), None, false) if queues.contains_key(queue) => Target::Queue(queue.to_owned()),
        (Some(queue), None, false) => return Err(reader.wrong(&settings::ROUTE_QUEUE, &format!("{queue:?}"))),
        (None, Some(name), false) => {
            let unknown = || reader.wrong(&settings::ROUTE_GROUP, &format!("{name:?}"));
            Target::Group(groups.get(name).ok_or_else(unknown)?.clone())
        }
        (None, None, true) => Target::Group(group(reader, None, queues)?),
        _ => {
            let place = reader.name("");
            let problem = "expected one of queue, group and queues: where its messages go";
            return Err(ConfigError::new(place.trim_end_matches('.'), problem));
        }
    };
    Ok(Rule { name: name.map(str::to_owned), conditions, target })
}

fn conditions(path: String, table: &Map<String, Value>, sources: &[&str]) -> Result<Vec<Condition>, ConfigError> {
    let mut reader = Reader::new(path, Some(table));
    let mut conditions: Vec<Condition> = Vec::new();
    // In the order of what they cost: the body is parsed only for a request that everything else holds of.
    if let Some(source) = reader.text(&settings::MATCH_SOURCE)? {
        if !sources.contains(&source) {
            return Err(reader.wrong(&settings::MATCH_SOURCE, &format!("{source:?}")));
        }
        conditions.push(Condition::Source(source.to_owned()));
    }
    if let Some(text) = reader.text(&settings::MATCH_CONTENT_TYPE)? {
        let wrong = || reader.wrong(&settings::MATCH_CONTENT_TYPE, &format!("{text:?}"));
        conditions.push(Condition::ContentType(MediaRange::parse(text).ok_or_else(wrong)?));
    }
    let mut names = BTreeSet::new();
    for (name, value) in reader.entries(&settings::MATCH_HEADERS)? {
        let wrong = |found: &str| reader.wrong(&settings::MATCH_HEADERS, found);
        let lower = header_name(name).ok_or_else(|| wrong(&format!("the name {name:?}")))?;
        if !names.insert(lower.clone()) {
            return Err(wrong(&format!("{name:?} twice")));
        }
        let expected = expected_of(value).ok_or_else(|| wrong(&format!("{value} for {name:?}")))?;
        conditions.push(Condition::Header(lower, expected));
    }
    if let Some(text) = reader.text(&settings::MATCH_EVENT_TYPE)? {
        let wrong = || reader.wrong(&settings::MATCH_EVENT_TYPE, &format!("{text:?}"));
        conditions.push(Condition::EventType(TypePattern::parse(text).ok_or_else(wrong)?));
    }
    for (pointer, value) in reader.entries(&settings::MATCH_JSON)? {
        let scalar = matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
        if !is_pointer(pointer) || !scalar {
            return Err(reader.wrong(&settings::MATCH_JSON, &format!("{value} at {pointer:?}")));
        }
        conditions.push(Condition::Json(pointer.to_owned(), value.clone()));
    }
    let path = reader.name("");
    reader.finish()?;
    if conditions.is_empty() {
        let problem = "expected at least one condition; a route that takes everything has no match";
        return Err(ConfigError::new(path.trim_end_matches('.'), problem));
    }
    Ok(conditions)
}

fn expected_of(value: &Value) -> Option<Expected> {
    let table = value.as_object().filter(|table| table.len() == 1)?;
    let (key, value) = table.iter().next()?;
    match (key.as_str(), value) {
        ("present", Value::Bool(present)) => Some(Expected::Present(*present)),
        // The white space around a header's value is none of it.
        ("equals", Value::String(text)) if text.trim() == text => Some(Expected::Equals(text.clone())),
        ("prefix", Value::String(text)) if text.trim_start() == text && !text.is_empty() => {
            Some(Expected::Prefix(text.clone()))
        }
        _ => None,
    }
}

/// The queues and how to choose, out of `[groups.NAME]` or of a route.
fn group(reader: &mut Reader<'_>, name: Option<&str>, queues: &Queues) -> Result<Group, ConfigError> {
    let names = reader.texts(&settings::GROUP_QUEUES)?.ok_or_else(|| reader.missing(&settings::GROUP_QUEUES))?;
    check_queues(reader, &names, queues)?;
    let word = reader.text(&settings::GROUP_STRATEGY)?;
    let priority = priority(reader, word == Some("priority"), names.len())?;
    let strategy = match (word, priority) {
        (None | Some("hash"), None) => Strategy::Hash,
        (Some("weight"), None) => Strategy::Weight,
        (Some("shortest"), None) => Strategy::Shortest,
        (Some("priority"), Some(priority)) => Strategy::Priority(priority),
        (other, _) => return Err(reader.wrong(&settings::GROUP_STRATEGY, &format!("{:?}", other.unwrap_or_default()))),
    };
    let lanes = matches!(strategy, Strategy::Priority(_));
    let mut weights: BTreeMap<&str, u32> = BTreeMap::new();
    for (queue, value) in reader.entries(&settings::GROUP_WEIGHTS)? {
        let weight = value.as_u64().and_then(|weight| u32::try_from(weight).ok());
        let weight = weight.filter(|weight| names.contains(&queue) && (1..=MAX_WEIGHT).contains(weight));
        let wrong = || reader.wrong(&settings::GROUP_WEIGHTS, &format!("{value} for {queue:?}"));
        weights.insert(queue, weight.ok_or_else(wrong)?);
    }
    let default = |place: usize| {
        let below = u32::try_from(names.len() - 1 - place).unwrap_or(u32::MAX);
        if lanes { 1_u32.checked_shl(below).unwrap_or(MAX_WEIGHT).min(MAX_WEIGHT) } else { 1 }
    };
    let queues: Vec<Candidate> = names
        .iter()
        .enumerate()
        .map(|(place, name)| Candidate {
            queue: (*name).to_owned(),
            weight: weights.get(name).copied().unwrap_or_else(|| default(place)),
        })
        .collect();
    if lanes && !queues.is_sorted_by(|higher, lower| higher.weight >= lower.weight) {
        let found: Vec<String> = queues.iter().map(|lane| format!("{} = {}", lane.queue, lane.weight)).collect();
        let problem = format!("expected no lane to weigh more than a higher one, found {}", found.join(", "));
        return Err(ConfigError::new(reader.name(settings::GROUP_WEIGHTS.key), problem));
    }
    Ok(Group { name: name.map(str::to_owned), queues, strategy })
}

fn check_queues(reader: &Reader<'_>, names: &[&str], queues: &Queues) -> Result<(), ConfigError> {
    let wrong = |found: &str| reader.wrong(&settings::GROUP_QUEUES, found);
    let mut seen = BTreeSet::new();
    let mut shared: Option<&QueueConfig> = None;
    for name in names {
        let queue = queues.get(*name).ok_or_else(|| wrong(&format!("{name:?}, which is not configured")))?;
        if !seen.insert(name) {
            return Err(wrong(&format!("{name:?} twice")));
        }
        match shared {
            Some(first) if first.group != queue.group => {
                return Err(wrong(&format!(
                    "{:?} with the group {:?} and {name:?} with the group {:?}: a message that is repeated may come to another of these queues, and without common records it would be processed twice",
                    first.name, first.group, queue.group
                )));
            }
            _ => shared = Some(queue),
        }
    }
    if names.is_empty() { Err(wrong("an empty list")) } else { Ok(()) }
}

/// The settings of lanes, which only lanes may have.
fn priority(reader: &mut Reader<'_>, wanted: bool, lanes: usize) -> Result<Option<Priority>, ConfigError> {
    if !wanted {
        let all =
            [&settings::PRIORITY_HEADER, &settings::PRIORITY_FIELD, &settings::PRIORITIES, &settings::PRIORITY_DEFAULT];
        return match all.into_iter().find(|setting| reader.has(setting)) {
            None => Ok(None),
            Some(setting) => {
                Err(ConfigError::new(reader.name(setting.key), "only the strategy `priority` has this setting"))
            }
        };
    }
    let header = reader.text(&settings::PRIORITY_HEADER)?;
    let field = reader.text(&settings::PRIORITY_FIELD)?;
    let source = match (header, field) {
        (Some(name), None) => {
            let wrong = || reader.wrong(&settings::PRIORITY_HEADER, &format!("{name:?}"));
            PrioritySource::Header(header_name(name).ok_or_else(wrong)?)
        }
        (None, Some(pointer)) if is_pointer(pointer) => PrioritySource::Field(pointer.to_owned()),
        (None, Some(other)) => return Err(reader.wrong(&settings::PRIORITY_FIELD, &format!("{other:?}"))),
        (None, None) => return Err(reader.missing(&settings::PRIORITY_HEADER)),
        (Some(_), Some(_)) => {
            let problem = "expected either priority_header or priority_field, found both";
            return Err(ConfigError::new(reader.name(settings::PRIORITY_FIELD.key), problem));
        }
    };
    let words = reader.texts(&settings::PRIORITIES)?.ok_or_else(|| reader.missing(&settings::PRIORITIES))?;
    let different: BTreeSet<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let usable = words.iter().all(|word| !word.is_empty() && word.trim() == *word);
    if words.len() != lanes || different.len() != lanes || !usable {
        return Err(reader.wrong(&settings::PRIORITIES, &format!("{words:?} for {lanes} queues")));
    }
    let default = match reader.text(&settings::PRIORITY_DEFAULT)? {
        None => lanes.saturating_sub(1),
        Some(word) => {
            let wrong = || reader.wrong(&settings::PRIORITY_DEFAULT, &format!("{word:?}"));
            words.iter().position(|known| known.eq_ignore_ascii_case(word)).ok_or_else(wrong)?
        }
    };
    Ok(Some(Priority { source, levels: words.into_iter().map(str::to_owned).collect(), default }))
}

/// A header's name in lower case, if it is one and carries no credential.
fn header_name(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let is_token = !name.is_empty() && name.bytes().all(|byte| is_token_byte(byte) || byte == b'*');
    (is_token && !CREDENTIALS.contains(&lower.as_str())).then_some(lower)
}

/// A JSON Pointer (RFC 6901) to something inside of a document.
fn is_pointer(text: &str) -> bool {
    let mut after_tilde = text.split('~').skip(1);
    text.starts_with('/') && after_tilde.all(|rest| rest.starts_with(['0', '1']))
}

fn table<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>, ConfigError> {
    value.as_object().ok_or_else(|| ConfigError::new(path, "expected a table"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Config;
    use super::*;

    const QUEUES: &str =
        "[queues.a]\ngroup = 'g'\n[queues.b]\ngroup = 'g'\n[queues.c]\n[webhooks.twilio]\nqueue = 'c'\n";

    fn parse(routes: &str) -> Result<Routing, String> {
        // A plain key belongs to the top, before any table.
        let document =
            if routes.starts_with("routes") { format!("{routes}\n{QUEUES}") } else { format!("{QUEUES}{routes}") };
        Config::parse(&document).map(|config| config.routing).map_err(|error| error.to_string())
    }

    fn weights(group: &Group) -> Vec<(&str, u32)> {
        group.queues.iter().map(|candidate| (candidate.queue.as_str(), candidate.weight)).collect()
    }

    #[test]
    fn a_document_without_routes_has_none() {
        let routing = parse("").unwrap();
        assert_eq!((routing.rules.len(), routing.groups.len()), (0, 0));
        assert_eq!(routing.backlog_max_age, Duration::from_secs(30));
    }

    #[test]
    fn everything_that_may_be_said_is_read() {
        let routing = parse(
            "
            [routing]
            backlog_max_age_seconds = 7
            [groups.shop]
            queues = ['a', 'b']
            strategy = 'weight'
            weights = { b = 3 }
            [[routes]]
            name = 'gold'
            queue = 'c'
            [routes.match]
            headers = { X-Tier = { equals = 'gold' }, x-debug = { present = false }, User-Agent = { prefix = 'curl/' } }
            content_type = 'Application/*'
            json = { '/a~1b' = 'x', '/n' = 1.5, '/t' = true }
            cloudevents_type = 'com.example.*'
            source = 'twilio'
            [[routes]]
            match.json = { '/kind' = 'express' }
            queues = ['a', 'b']
            strategy = 'priority'
            priority_header = 'X-Priority'
            priorities = ['high', 'low']
            [[routes]]
            group = 'shop'
            ",
        )
        .unwrap();
        assert_eq!(routing.backlog_max_age, Duration::from_secs(7));
        let [gold, lanes, rest] = routing.rules.as_slice() else { panic!("three rules") };
        assert_eq!((gold.name.as_deref(), gold.conditions.len()), (Some("gold"), 9));
        assert!(gold.conditions.contains(&Condition::Header("x-tier".into(), Expected::Equals("gold".into()))));
        assert!(gold.conditions.contains(&Condition::EventType(TypePattern::Prefix("com.example.".into()))));
        assert_eq!(gold.target, Target::Queue("c".into()));
        let Target::Group(group) = &lanes.target else { panic!("a group") };
        assert_eq!((group.name.as_deref(), weights(group)), (None, vec![("a", 2), ("b", 1)]));
        let expected = Priority {
            source: PrioritySource::Header("x-priority".into()),
            levels: vec!["high".into(), "low".into()],
            default: 1,
        };
        assert_eq!(group.strategy, Strategy::Priority(expected));
        let Target::Group(group) = &rest.target else { panic!("a group") };
        assert_eq!((group.name.as_deref(), weights(group)), (Some("shop"), vec![("a", 1), ("b", 3)]));
        assert_eq!(routing.all_groups().count(), 2, "the named one and the lanes");
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let lanes = "queues = ['a', 'b']\nstrategy = 'priority'\npriority_header = 'p'\n";
        for (routes, expected) in [
            ("[[routes]]\nqueue = 'x'", "routes[0].queue: expected the name of a configured queue, found \"x\""),
            (
                "[[routes]]\ngroup = 'x'",
                "routes[0].group: expected the name of a group, as in [groups.NAME], found \"x\"",
            ),
            ("[[routes]]\nname = 'x'", "routes[0]: expected one of queue, group and queues: where its messages go"),
            ("[[routes]]\nqueue = 'a'\nqueues = ['b']", "routes[0]: expected one of queue"),
            ("[[routes]]\nqueue = 'a'\nweights = {}", "routes[0].weights: no such setting"),
            ("[[routes]]\nqueue = 'a'\nx = 1", "routes[0].x: no such setting"),
            ("routes = 3", "routes: expected a list of tables"),
            ("[[routes]]\nname = 'a b'\nqueue = 'a'", "routes[0].name: expected 1 to 50 characters"),
            (
                "[[routes]]\nname = 'n'\nqueue = 'a'\nmatch.source = 'twilio'\n[[routes]]\nname = 'n'\nqueue = 'a'",
                "routes[1].name: another route is called \"n\"",
            ),
            (
                "[[routes]]\nqueue = 'a'\n[[routes]]\nqueue = 'b'",
                "routes[1]: no message comes so far: routes[0] has no conditions and takes everything",
            ),
            (
                "[groups.g]",
                "groups.g.queues: expected a list of configured queues, none twice, that have the same `group`, found nothing",
            ),
            (
                "[groups.g]\nqueues = []",
                "groups.g.queues: expected a list of configured queues, none twice, that have the same `group`, found an empty list",
            ),
            ("[groups.g]\nqueues = 'a'", "groups.g.queues: expected a list"),
            ("[groups.g]\nqueues = ['a', 'x']", "found \"x\", which is not configured"),
            ("[groups.g]\nqueues = ['a', 'a']", "found \"a\" twice"),
            ("[groups.g]\nqueues = ['a', 'c']", "\"a\" with the group \"g\" and \"c\" with the group \"c\""),
            ("[groups.\"g/h\"]\nqueues = ['a']", "groups.g/h: expected 1 to 50 characters"),
            (
                "[groups.g]\nqueues = ['a']\nstrategy = 'random'",
                "groups.g.strategy: expected `hash`, `weight`, `shortest` or `priority`, found \"random\"",
            ),
            (
                "[groups.g]\nqueues = ['a']\nweights = { a = 0 }",
                "groups.g.weights: expected a table of queues of the group, each with a whole number from 1 to 100, found 0 for \"a\"",
            ),
            ("[groups.g]\nqueues = ['a']\nweights = { b = 1 }", "found 1 for \"b\""),
            (
                "[groups.g]\nqueues = ['a']\npriorities = ['x']",
                "groups.g.priorities: only the strategy `priority` has this setting",
            ),
            (
                &format!("[groups.g]\n{lanes}"),
                "groups.g.priorities: expected a list of as many texts as there are queues, none twice, found nothing",
            ),
            (&format!("[groups.g]\n{lanes}priorities = ['x', 'X']"), "found [\"x\", \"X\"] for 2 queues"),
            (
                &format!("[groups.g]\n{lanes}priorities = ['x', 'y']\npriority_default = 'z'"),
                "groups.g.priority_default: expected one of `priorities`, found \"z\"",
            ),
            (
                &format!("[groups.g]\n{lanes}priorities = ['x', 'y']\npriority_field = '/p'"),
                "groups.g.priority_field: expected either priority_header or priority_field, found both",
            ),
            (
                &format!("[groups.g]\n{lanes}priorities = ['x', 'y']\nweights = {{ a = 1, b = 2 }}"),
                "groups.g.weights: expected no lane to weigh more than a higher one, found a = 1, b = 2",
            ),
            (
                &format!("[groups.g]\n{lanes}priorities = ['x', 'y']\n[groups.h]\n{lanes}priorities = ['x', 'y']"),
                "groups: the queue \"a\" is a lane of more than one group",
            ),
            (
                "[[routes]]\nqueue = 'a'\nmatch = {}",
                "routes[0].match: expected at least one condition; a route that takes everything has no match",
            ),
            ("[[routes]]\nqueue = 'a'\nmatch.body = 1", "routes[0].match.body: no such setting"),
            (
                "[[routes]]\nqueue = 'a'\nmatch.source = 'stripe'",
                "routes[0].match.source: expected the name of a configured webhook, found \"stripe\"",
            ),
            (
                "[[routes]]\nqueue = 'a'\nmatch.content_type = 'text/plain; charset=utf-8'",
                "routes[0].match.content_type: expected a media type without parameters",
            ),
            ("[[routes]]\nqueue = 'a'\nmatch.content_type = '*/*'", "routes[0].match.content_type"),
            ("[[routes]]\nqueue = 'a'\nmatch.cloudevents_type = 'a.*.b'", "routes[0].match.cloudevents_type: expected"),
            ("[[routes]]\nqueue = 'a'\nmatch.headers = { x = 'y' }", "found \"y\" for \"x\""),
            ("[[routes]]\nqueue = 'a'\nmatch.headers = { x = { equals = 'a', prefix = 'b' } }", "for \"x\""),
            ("[[routes]]\nqueue = 'a'\nmatch.headers = { 'x y' = { present = true } }", "the name \"x y\""),
            (
                "[[routes]]\nqueue = 'a'\nmatch.headers = { Authorization = { prefix = 'Basic' } }",
                "the name \"Authorization\"",
            ),
            ("[[routes]]\nqueue = 'a'\nmatch.headers = { x = { present = true }, X = { present = true } }", "twice"),
            ("[[routes]]\nqueue = 'a'\nmatch.json = { kind = 'x' }", "found \"x\" at \"kind\""),
            ("[[routes]]\nqueue = 'a'\nmatch.json = { '/a~2' = 'x' }", "at \"/a~2\""),
            ("[[routes]]\nqueue = 'a'\nmatch.json = { '/a' = [] }", "found [] at \"/a\""),
            (
                "[routing]\nbacklog_max_age_seconds = 1",
                "routing.backlog_max_age_seconds: expected a whole number from 5 to 3600 (s), found 1",
            ),
        ] {
            let error = parse(routes).unwrap_err();
            assert!(error.contains(expected), "{routes}\n  says: {error}\n  not:  {expected}");
        }
    }
}
