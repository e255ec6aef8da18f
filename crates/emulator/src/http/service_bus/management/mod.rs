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
mod entities;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod path;
mod problem;
mod rules;
mod subscriptions;
mod xml;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::ServiceBus;
use crate::auth::service_bus::Claim;
use crate::broker::{Broker, Counts, EntityPath, SubQueue};
use crate::http::{Payload, query_pairs, scheme};
use crate::store::StoreError;
use crate::time::UnixMillis;
use atom::{Entry, Feed};
use elements::{Census, Kind, Shown, View};
use path::Target;
use problem::Problem;

const ENTRY: &str = "application/atom+xml;type=entry;charset=utf-8";
const FEED: &str = "application/atom+xml;type=feed;charset=utf-8";

/// The longest page of a list, and the page that is given when nobody asks for one.
const PAGE: usize = 100;

/// What a token must allow. Whoever may receive from a subscription may see by which rules it gets its messages; who may
/// manage it may receive from it.
pub(super) fn claim(method: &Method, path: &str) -> Claim {
    match Target::read(path) {
        Target::Rules(..) | Target::Rule(..) if method == Method::GET => Claim::Listen,
        _ => Claim::Manage,
    }
}

/// Where the tokens for forwarding targets are.
const SUPPLEMENTS: [&str; 2] = ["servicebussupplementaryauthorization", "servicebusdlqsupplementaryauthorization"];

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
    /// Tokens for the targets of messages and of dead letters; nothing where nobody has to show any.
    supplements: Option<[Option<&'a str>; 2]>,
    /// What was sent, when it is an entry with a description. It is read before anybody has to wait for it.
    description: Option<xml::Element>,
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
            supplements: Some(SUPPLEMENTS.map(|name| head.headers.get(name).and_then(|value| value.to_str().ok()))),
            description: if head.method == Method::PUT { description(body) } else { None },
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
        if target.topic().is_some_and(|topic| broker.topic(topic).is_none()) {
            // Below a topic that is absent, nothing is known; what is to be made there is refused further down.
            match call.method.as_str() {
                "GET" => return Ok(Done::feed(atom::nothing(now), None)),
                "DELETE" => return Err(Problem::no_service().into()),
                _ => {}
            }
        }
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
            (_, Target::Rule(topic, subscription, name)) => {
                subscriptions::rule(call, [topic, subscription, name], broker, now)
            }
            (_, Target::Unknown) if call.method == Method::GET => Ok(Done::feed(atom::nothing(now), None)),
            _ => Err(Problem::method().into()),
        }
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
    fn description(&self) -> Result<&xml::Element, Problem> {
        let missing = "The request body is no Atom entry with a description.";
        self.description.as_ref().ok_or_else(|| Problem::bad_request(missing))
    }
}

/// The description in an entry.
fn description(body: &[u8]) -> Option<xml::Element> {
    let content = xml::parse(body)?.children.into_iter().find(|child| child.name == "content");
    content?.children.into_iter().next()
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
