//! Subscriptions and their rules.

use http::StatusCode;

use super::super::ServiceBus;
use super::atom::Entry;
use super::describe::Sent;
use super::elements::{Kind, Shown, View};
use super::problem::Problem;
use super::{Call, Done, Refused, census, path, rules, rules_of, set_rules};
use crate::broker::{Broker, Filter, Rule};
use crate::time::UnixMillis;

/// Of a topic, as documented.
const MOST_SUBSCRIPTIONS: usize = 2_000;
const MOST_SQL_FILTERS: usize = 2_000;
const MOST_CORRELATION_FILTERS: usize = 100_000;

impl ServiceBus {
    pub(super) fn subscription(
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
                let sent = Sent::read(Kind::Subscription, root, &call.version, self.tier, &call.namespace())
                    .map_err(refused)?;
                let entity = format!("{}:Topic:{topic}|{name}", call.namespace());
                match &before {
                    Some(_) if !call.if_match => return Err(refused(Problem::exists(&entity))),
                    None if call.if_match => return Err(refused(Problem::not_found(&entity))),
                    Some(before) => sent.check_change(Kind::Subscription, &before.description).map_err(refused)?,
                    None => {
                        let there = broker.topic(topic).map_or(0, |topic| topic.subscriptions.len());
                        if there >= MOST_SUBSCRIPTIONS {
                            return Err(refused(Problem::too_many("subscriptions", MOST_SUBSCRIPTIONS)));
                        }
                    }
                }
                let mut options =
                    sent.queue(full.clone(), self.tier.largest_message_kilobytes() * 1024).map_err(refused)?;
                self.check_targets(call, &options, broker, now).map_err(refused)?;
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

pub(super) fn rule(call: &Call<'_>, names: [&str; 3], broker: &mut Broker, now: UnixMillis) -> Result<Done, Refused> {
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
            let made = rules::read(name, root, now).map_err(refused)?;
            let entry = Entry::of_rule(call, &made).xml(&rules::xml_as_sent(&made, &call.version));
            let status = match at.and_then(|at| all.get_mut(at)) {
                Some(_) if !call.if_match => return Err(refused(Problem::exists(&entity))),
                Some(old) => {
                    *old = made;
                    StatusCode::OK
                }
                None if call.if_match => return Err(refused(Problem::not_found(&entity))),
                None => {
                    check_room(broker, topic, &made).map_err(refused)?;
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

/// Whether a topic may have one more filter of this kind.
fn check_room(broker: &Broker, topic: &str, made: &Rule) -> Result<(), Problem> {
    let is_correlation = |rule: &Rule| matches!(rule.filter, Filter::Correlation { .. });
    let (what, most) = match is_correlation(made) {
        true => ("correlation filters", MOST_CORRELATION_FILTERS),
        false => ("SQL filters", MOST_SQL_FILTERS),
    };
    let all = broker.topic(topic).into_iter().flat_map(|topic| topic.subscriptions.values().flatten());
    let there = all.filter(|rule| is_correlation(rule) == is_correlation(made)).count();
    if there >= most { Err(Problem::too_many(what, most)) } else { Ok(()) }
}
