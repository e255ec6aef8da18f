//! The management plane: Atom entries for queues, topics, subscriptions and rules.
//!
//! A PUT makes an entity, or changes it when it carries `If-Match`; a GET of a queue or topic that is
//! absent answers with an empty public feed, as the live service does. Descriptions are kept as they
//! were sent, so that an answer says again what the client said.

mod atom;
mod authorization;
mod declare;
mod describe;
mod elements;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod path;
mod problem;
mod rules;
mod xml;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::ServiceBus;
use crate::broker::{Broker, Counts, EntityPath, SubQueue};
use crate::http::{Payload, query_pairs, scheme};
use crate::store::StoreError;
use crate::time::UnixMillis;
use atom::{Entry, Feed};
use describe::Sent;
use elements::{Census, Kind, Shown, View};
use path::Target;
use problem::Problem;

const ENTRY: &str = "application/atom+xml;type=entry;charset=utf-8";
const FEED: &str = "application/atom+xml;type=feed;charset=utf-8";

/// The longest page of a list, and the page that is given when nobody asks for one.
const PAGE: usize = 100;

/// A management request, read.
struct Call<'a> {
    method: &'a Method,
    scheme: &'static str,
    /// Host and port as the client knows them.
    host: &'a str,
    /// As it stands in the request line.
    path: &'a str,
    /// With its question mark, or empty.
    query: String,
    version: String,
    if_match: bool,
    body: &'a [u8],
}

/// A success, before it is written.
struct Done {
    status: StatusCode,
    content_type: Option<&'static str>,
    body: String,
    /// When the entity was last changed: the ETag.
    changed: Option<UnixMillis>,
}

impl Done {
    fn entry(status: StatusCode, body: String, changed: Option<UnixMillis>) -> Self {
        Self { status, content_type: Some(ENTRY), body, changed }
    }

    fn feed(body: String, changed: Option<UnixMillis>) -> Self {
        Self { status: StatusCode::OK, content_type: Some(FEED), body, changed }
    }

    fn deleted(changed: Option<UnixMillis>) -> Self {
        Self { status: StatusCode::OK, content_type: None, body: String::new(), changed }
    }
}

/// A refusal with the ETag of what is there.
struct Refused(Problem, Option<UnixMillis>);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem, None)
    }
}

impl ServiceBus {
    /// Carries out a management request that was let in.
    pub(super) async fn manage(
        &self,
        head: &http::request::Parts,
        host: &str,
        body: &[u8],
    ) -> Result<Response<Payload>, StoreError> {
        let query = head.uri.query();
        let version = query_pairs(query).into_iter().find(|(name, _)| name.eq_ignore_ascii_case("api-version"));
        let call = Call {
            method: &head.method,
            scheme: scheme(&head.extensions),
            host,
            path: head.uri.path(),
            query: query.map(|query| format!("?{query}")).unwrap_or_default(),
            version: version.map(|(_, version)| version).unwrap_or_default(),
            if_match: head.headers.contains_key(header::IF_MATCH),
            body,
        };
        let target = Target::read(call.path);
        let tracker = match &target {
            Target::Entity(name) => format!("{}:{name}", call.host),
            _ => "NoSystemTracker".to_owned(),
        };
        let (done, ticket) = self.namespace.apply(|broker, now| {
            broker.advance(now);
            self.carry_out(&call, &target, broker, now)
        });
        ticket.written().await?;
        let now = self.now();
        let (mut response, changed, secure) = match done {
            Ok(done) => {
                let mut response = match done.content_type {
                    None => super::respond(done.status, Payload::sized(""), now),
                    Some(content_type) => {
                        let mut response = super::respond(done.status, Payload::chunked(done.body), now);
                        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                        response
                    }
                };
                if done.content_type.is_none() {
                    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
                }
                // The namespace's lists come from another front end.
                (response, done.changed, !matches!(target, Target::Queues | Target::Topics))
            }
            Err(Refused(problem, changed)) => (problem.response(&tracker, now), changed, true),
        };
        let headers = response.headers_mut();
        if !secure {
            headers.remove(header::STRICT_TRANSPORT_SECURITY);
        }
        if let Some(changed) = changed.filter(|_| !call.version.is_empty())
            && let Ok(etag) = HeaderValue::try_from(ticks(changed).to_string())
        {
            headers.insert(HeaderName::from_static("etag"), etag);
        }
        Ok(response)
    }

    fn carry_out(
        &self,
        call: &Call<'_>,
        target: &Target,
        broker: &mut Broker,
        now: UnixMillis,
    ) -> Result<Done, Refused> {
        match (call.method.as_str(), target) {
            ("GET", Target::Namespace) => Ok(Done::entry(StatusCode::OK, atom::namespace(call, self.tier, now), None)),
            ("GET", Target::Queues) => {
                let shown = broker.queues().filter(|queue| parent(broker, &queue.name).is_none());
                let shown: Vec<Shown> =
                    shown.map(|queue| Shown::queue(Kind::Queue, queue, census(broker, &queue.name))).collect();
                Ok(Done::feed(Feed { title: "Queues", prefix: "../" }.write(call, &shown, now), None))
            }
            ("GET", Target::Topics) => {
                let shown: Vec<Shown> =
                    broker.topics().map(|topic| Shown::topic(topic, census(broker, &topic.name))).collect();
                Ok(Done::feed(Feed { title: "Topics", prefix: "../" }.write(call, &shown, now), None))
            }
            ("GET", Target::Entity(name)) => match look(broker, name) {
                Some(shown) => {
                    let entry = Entry::of(call, &shown).xml(&shown.xml(&call.version, View::Read));
                    Ok(Done::entry(StatusCode::OK, entry, Some(shown.updated_at())))
                }
                None => Ok(Done::feed(atom::nothing(now), None)),
            },
            ("PUT", Target::Entity(name)) => self.put_entity(call, name, broker, now),
            ("DELETE", Target::Entity(name)) => {
                let shown = look(broker, name).ok_or_else(Problem::no_service)?;
                broker.remove_entity(name, now).map_err(|_| Problem::no_service())?;
                Ok(Done::deleted(Some(shown.updated_at())))
            }
            ("GET", Target::Subscriptions(topic)) => {
                let found = broker.topic(topic).ok_or_else(Problem::nothing)?;
                let options = found.subscriptions.keys().filter_map(|key| broker.queue_options(key));
                let shown: Vec<Shown> =
                    options.map(|queue| Shown::queue(Kind::Subscription, queue, census(broker, &queue.name))).collect();
                let feed = Feed { title: "Subscriptions", prefix: "subscriptions/" };
                Ok(Done::feed(feed.write(call, &shown, now), found.description.updated_at))
            }
            (_, Target::Subscription(topic, name)) => self.subscription(call, topic, name, broker, now),
            ("GET", Target::Rules(topic, name)) => {
                let rules = rules_of(broker, topic, name).ok_or_else(Problem::nothing)?;
                let changed = broker.topic(topic).and_then(|topic| topic.description.updated_at);
                Ok(Done::feed(Feed { title: "Rules", prefix: "rules/" }.write(call, &rules, now), changed))
            }
            (_, Target::Rule(topic, subscription, name)) => rule(call, [topic, subscription, name], broker, now),
            (_, Target::Unknown) if call.method == Method::GET => Ok(Done::feed(atom::nothing(now), None)),
            _ => Err(Problem::method().into()),
        }
    }

    fn put_entity(&self, call: &Call<'_>, name: &str, broker: &mut Broker, now: UnixMillis) -> Result<Done, Refused> {
        if !crate::broker::is_valid_name(name) {
            return Err(Problem::bad_uri().into());
        }
        let root = call.description()?;
        let kind = match root.name.as_str() {
            "QueueDescription" => Kind::Queue,
            "TopicDescription" => Kind::Topic,
            other => return Err(Problem::no_parent(other).into()),
        };
        let before = look(broker, name);
        let etag = before.as_ref().map(Shown::updated_at);
        let refused = |problem| Refused(problem, etag);
        let namespace = call.namespace();
        let mut sent = Sent::read(kind, &root, &call.version, self.tier, &namespace).map_err(refused)?;
        match &before {
            Some(before) if !call.if_match || before.kind != kind => return Err(refused(Problem::conflict())),
            None if call.if_match => return Err(refused(Problem::no_operation())),
            Some(before) => sent.check_change(kind, &before.description).map_err(refused)?,
            None => sent.partition(),
        }
        let size = root.child("MaxMessageSizeInKilobytes").and_then(|size| size.text.trim().parse::<usize>().ok());
        let largest = size.unwrap_or(self.tier.largest_message_kilobytes()) * 1024;
        let created_at = before.as_ref().map_or(now, Shown::created_at);
        match kind {
            Kind::Queue | Kind::Subscription => {
                let mut options = sent.queue(name.to_owned(), largest).map_err(refused)?;
                (options.description.created_at, options.description.updated_at) = (Some(created_at), Some(now));
                broker.put_queue(options, now);
            }
            Kind::Topic => {
                let mut options = sent.topic(name.to_owned(), largest).map_err(refused)?;
                (options.description.created_at, options.description.updated_at) = (Some(created_at), Some(now));
                broker.put_topic(options, now);
            }
        }
        let shown = look(broker, name).ok_or_else(Problem::no_service)?;
        match before {
            None => {
                let entry = Entry::of(call, &shown).xml(&shown.xml(&call.version, View::Created));
                Ok(Done::entry(StatusCode::CREATED, entry, None))
            }
            Some(_) => {
                let entry = Entry { published: None, ..Entry::of(call, &shown) };
                let entry = entry.xml(&shown.xml(&call.version, View::Updated(&sent.names)));
                Ok(Done::entry(StatusCode::OK, entry, Some(shown.updated_at())))
            }
        }
    }

    fn subscription(
        &self,
        call: &Call<'_>,
        topic: &str,
        name: &str,
        broker: &mut Broker,
        now: UnixMillis,
    ) -> Result<Done, Refused> {
        let full = format!("{topic}/subscriptions/{name}");
        let etag = broker.topic(topic).and_then(|topic| topic.description.updated_at);
        let refused = |problem| Refused(problem, etag);
        let look = |broker: &Broker| {
            let options = broker.queue_options(&full).filter(|_| broker.topic(topic).is_some())?;
            Some(Shown::queue(Kind::Subscription, options, census(broker, &full)))
        };
        let before = look(broker);
        match call.method.as_str() {
            "GET" => {
                let shown = before.ok_or_else(|| refused(Problem::nothing()))?;
                let entry = Entry { scheme: "sb", ..Entry::of(call, &shown) };
                Ok(Done::entry(StatusCode::OK, entry.xml(&shown.xml(&call.version, View::Read)), etag))
            }
            "DELETE" => {
                before.ok_or_else(|| refused(Problem::nothing()))?;
                broker.remove_entity(&full, now).map_err(|_| Problem::nothing())?;
                Ok(Done::deleted(etag))
            }
            "PUT" => {
                if !path::is_plain_segment(name) {
                    return Err(Problem::bad_name(call.host, call.path).into());
                }
                let root = call.description()?;
                if broker.topic(topic).is_none() || root.name != Kind::Subscription.root() {
                    return Err(refused(Problem::no_parent(&root.name)));
                }
                let sent = Sent::read(Kind::Subscription, &root, &call.version, self.tier, &call.namespace())
                    .map_err(refused)?;
                let entity = format!("{}:Topic:{topic}|{name}", call.namespace());
                match &before {
                    Some(_) if !call.if_match => return Err(refused(Problem::exists(&entity))),
                    None if call.if_match => return Err(refused(Problem::not_found(&entity))),
                    Some(before) => sent.check_change(Kind::Subscription, &before.description).map_err(refused)?,
                    None => {}
                }
                let mut options =
                    sent.queue(full.clone(), self.tier.largest_message_kilobytes() * 1024).map_err(refused)?;
                let created_at = before.as_ref().map_or(now, Shown::created_at);
                (options.description.created_at, options.description.updated_at) = (Some(created_at), Some(now));
                let rules = match rules_of(broker, topic, name) {
                    Some(rules) => rules,
                    None => vec![match root.child("DefaultRuleDescription") {
                        Some(rule) => rules::read(rule.child("Name").map_or("$Default", |n| &n.text), rule, now)?,
                        None => rules::default_rule(now),
                    }],
                };
                broker.put_subscription(topic, options, rules, now).map_err(|_| Problem::no_parent(&root.name))?;
                let shown = look(broker).ok_or_else(Problem::nothing)?;
                let (status, view) = match before {
                    None => (StatusCode::CREATED, View::Created),
                    Some(_) => (StatusCode::OK, View::Updated(&sent.names)),
                };
                let entry = Entry::of(call, &shown).xml(&shown.xml(&call.version, view));
                Ok(Done::entry(status, entry, etag))
            }
            _ => Err(Problem::method().into()),
        }
    }
}

fn rule(call: &Call<'_>, names: [&str; 3], broker: &mut Broker, now: UnixMillis) -> Result<Done, Refused> {
    let [topic, subscription, name] = names;
    let etag = broker.topic(topic).and_then(|topic| topic.description.updated_at);
    let refused = |problem| Refused(problem, etag);
    let mut all = rules_of(broker, topic, subscription);
    let at = all.iter().flatten().position(|rule| rule.name.eq_ignore_ascii_case(name));
    let full = format!("{topic}/subscriptions/{subscription}");
    match call.method.as_str() {
        "GET" => {
            let found = at.and_then(|at| all.iter().flatten().nth(at)).ok_or_else(|| refused(Problem::nothing()))?;
            let entry = Entry { scheme: "sb", ..Entry::of_rule(call, found) };
            Ok(Done::entry(StatusCode::OK, entry.xml(&rules::xml(found, &call.version)), etag))
        }
        "DELETE" => {
            let (Some(at), Some(mut all)) = (at, all) else { return Err(refused(Problem::nothing())) };
            all.remove(at);
            set_rules(broker, topic, &full, all, now);
            Ok(Done::deleted(etag))
        }
        "PUT" => {
            if !path::is_plain_segment(name) {
                return Err(Problem::bad_name(call.host, call.path).into());
            }
            let root = call.description()?;
            let Some(all) = all.as_mut().filter(|_| root.name == "RuleDescription") else {
                return Err(refused(Problem::no_parent(&root.name)));
            };
            let entity = format!("{}:Topic:{topic}|{subscription}|{name}", call.namespace());
            let made = rules::read(name, &root, now).map_err(refused)?;
            let entry = Entry::of_rule(call, &made).xml(&rules::xml_as_sent(&made, &call.version));
            let status = match at.and_then(|at| all.get_mut(at)) {
                Some(_) if !call.if_match => return Err(refused(Problem::exists(&entity))),
                Some(old) => {
                    *old = made;
                    StatusCode::OK
                }
                None if call.if_match => return Err(refused(Problem::not_found(&entity))),
                None => {
                    all.push(made);
                    StatusCode::CREATED
                }
            };
            let all = std::mem::take(all);
            set_rules(broker, topic, &full, all, now);
            Ok(Done::entry(status, entry, etag))
        }
        _ => Err(Problem::method().into()),
    }
}

impl Call<'_> {
    /// The namespace's name: the host's first label, or what the official emulator calls itself.
    fn namespace(&self) -> String {
        let host = self.host.rsplit_once(':').map_or(self.host, |(host, _)| host);
        match host.split_once('.') {
            Some((name, _)) if host.parse::<std::net::IpAddr>().is_err() => name.to_owned(),
            _ => "sbemulatorns".to_owned(),
        }
    }

    /// The description in the entry that was sent.
    fn description(&self) -> Result<xml::Element, Problem> {
        let entry = xml::parse(self.body);
        let content = entry.as_ref().and_then(|entry| entry.child("content"));
        let description = content.and_then(|content| content.children.first()).cloned();
        description
            .ok_or_else(|| Problem::bad_request("The request body is no Atom entry with a description.".to_owned()))
    }
}

fn look(broker: &Broker, name: &str) -> Option<Shown> {
    match (broker.queue_options(name), broker.topic(name)) {
        (Some(queue), _) => Some(Shown::queue(Kind::Queue, queue, census(broker, name))),
        (None, Some(topic)) => Some(Shown::topic(topic, census(broker, name))),
        (None, None) => None,
    }
}

/// The topic of a subscription, when this name is one's.
fn parent<'a>(broker: &Broker, name: &'a str) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let topic = name.get(..lower.rfind("/subscriptions/")?)?;
    broker.topic(topic).is_some_and(|topic| topic.subscriptions.contains_key(&lower)).then_some(topic)
}

fn rules_of(broker: &Broker, topic: &str, subscription: &str) -> Option<Vec<crate::broker::Rule>> {
    let key = format!("{topic}/subscriptions/{subscription}").to_lowercase();
    broker.topic(topic)?.subscriptions.get(&key).cloned()
}

fn set_rules(broker: &mut Broker, topic: &str, subscription: &str, rules: Vec<crate::broker::Rule>, now: UnixMillis) {
    if let Some(options) = broker.queue_options(subscription).cloned() {
        // Both are there: somebody just looked.
        let _ = broker.put_subscription(topic, options, rules, now);
    }
}

fn census(broker: &Broker, name: &str) -> Census {
    let path = EntityPath::parse(name);
    let counts = |sub_queue| broker.counts(&EntityPath { sub_queue, ..path.clone() }).unwrap_or_default();
    let topic = broker.topic(name);
    let main = counts(SubQueue::Main);
    // A topic has no sub-queues.
    let [dead, stranded] = match topic {
        Some(_) => [Counts::default(); 2],
        None => [counts(SubQueue::DeadLetter), counts(SubQueue::TransferDeadLetter)],
    };
    Census {
        active: main.total,
        dead: dead.total,
        scheduled: main.scheduled,
        stranded: stranded.total,
        bytes: main.bytes + dead.bytes + stranded.bytes,
        subscriptions: topic.map_or(0, |topic| topic.subscriptions.len()),
    }
}

/// Hundreds of nanoseconds since the year 1, as .NET counts.
fn ticks(at: UnixMillis) -> i64 {
    const YEAR_1_TO_1970_MILLIS: i64 = 62_135_596_800_000;
    at.0.saturating_add(YEAR_1_TO_1970_MILLIS).saturating_mul(10_000)
}
