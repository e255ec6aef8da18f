//! Fuzz targets: descriptions in Atom entries and in files, and management paths.

use super::elements::{Census, Kind, Shown, View};
use super::path::Target;
use super::xml::Element;
use super::{describe::Sent, rules, xml};
use crate::broker::{QueueOptions, TopicOptions};
use crate::emulator::Tier;
use crate::entities::Entities;
use crate::time::UnixMillis;

/// The oldest form, and the newest.
const VERSIONS: [&str; 2] = ["", "2021-05"];
const NOW: UnixMillis = UnixMillis(1_795_000_000_500);

/// A document: what was read and written reads the same again, as XML and as the entity that it describes.
pub fn atom(data: &[u8]) {
    let Some(document) = xml::parse(data) else { return };
    let once = written(&document);
    assert_eq!(written(&reread(&once)), once);
    let content = document.child("content").and_then(|content| content.children.first());
    let description = content.unwrap_or(&document);
    for version in VERSIONS {
        match description.name.as_str() {
            "QueueDescription" => queue(Kind::Queue, description, version),
            "SubscriptionDescription" => queue(Kind::Subscription, description, version),
            "TopicDescription" => topic(description, version),
            "RuleDescription" => rule(description, version),
            _ => {}
        }
    }
}

/// A `Config.json`: it reads the same twice or is refused with a place, and what it declares are descriptions that
/// mean the same when they are shown.
#[allow(clippy::panic, reason = "a broken promise is a panic")]
pub fn config(data: &[u8]) {
    let entities = Entities::from_config(data);
    assert_eq!(Entities::from_config(data), entities);
    let entities = match entities {
        Ok(entities) => entities,
        Err(error) => return assert!(!error.place.is_empty() && !error.problem.is_empty()),
    };
    for declared in entities.in_order() {
        let description = reread(&declared.description);
        let newest = VERSIONS[1];
        match description.name.as_str() {
            "QueueDescription" => queue(Kind::Queue, &description, newest),
            "SubscriptionDescription" => queue(Kind::Subscription, &description, newest),
            "TopicDescription" => topic(&description, newest),
            other => panic!("{} is declared by {other}", declared.path),
        }
        for (name, text) in declared.rules.iter().flatten() {
            let description = reread(text);
            assert!(rules::read(name, &description, NOW).is_ok(), "what was accepted is refused: {text}");
            rule(&description, newest);
        }
    }
}

/// A path means the same with a slash at its end.
pub(in crate::http::service_bus) fn path(path: &str) {
    assert_eq!(Target::read(&format!("{path}/")), Target::read(path));
}

fn queue(kind: Kind, description: &Element, version: &str) {
    let read = |description: &Element| {
        let sent = Sent::read(kind, description, version, Tier::Standard, "ns").ok()?;
        sent.queue("q".to_owned(), 256 * 1024).ok()
    };
    let Some(options) = read(description) else { return };
    let shown = Shown::queue(kind, &options, Census::default()).xml(version, View::Read);
    let again = read(&reread(&shown));
    let own = |options: QueueOptions| QueueOptions { description: Default::default(), ..options };
    assert_eq!(again.map(own), Some(own(options)), "{shown}");
}

fn topic(description: &Element, version: &str) {
    let read = |description: &Element| {
        let sent = Sent::read(Kind::Topic, description, version, Tier::Standard, "ns").ok()?;
        sent.topic("t".to_owned(), 256 * 1024).ok()
    };
    let Some(options) = read(description) else { return };
    let shown = Shown::topic(&options, Census::default()).xml(version, View::Read);
    let again = read(&reread(&shown));
    let own = |options: TopicOptions| TopicOptions { description: Default::default(), ..options };
    assert_eq!(again.map(own), Some(own(options)), "{shown}");
}

#[allow(clippy::panic, reason = "a broken promise is a panic")]
fn rule(description: &Element, version: &str) {
    let Ok(rule) = rules::read("r", description, NOW) else { return };
    for shown in [rules::xml_as_sent(&rule, version), rules::xml(&rule, version)] {
        let Ok(again) = rules::read("r", &reread(&shown), NOW) else { panic!("what is shown is refused: {shown}") };
        assert_eq!((again.filter, again.action), (rule.filter.clone(), rule.action.clone()), "{shown}");
    }
}

fn written(element: &Element) -> String {
    let mut text = String::new();
    element.write(&mut text);
    text
}

#[allow(clippy::panic, reason = "a broken promise is a panic")]
fn reread(text: &str) -> Element {
    match xml::parse(text.as_bytes()) {
        Some(element) => element,
        None => panic!("what was written cannot be read: {text}"),
    }
}
