//! Entities that nobody sent a request for: declared at the start, or through the admin port.

use http::Method;

use super::path::Target;
use super::{Call, Refused, ServiceBus, look, rules_of};
use crate::broker::Broker;
use crate::store::Ticket;
use crate::time::UnixMillis;

/// What the newest descriptions are read by.
const VERSION: &str = "2021-05";

impl ServiceBus {
    /// Makes an entity, or gives one that is there this description, as its own PUT would. A subscription
    /// that is given rules has those and no others.
    pub(crate) fn declare(
        &self,
        path: &str,
        description: &str,
        rules: Option<&[(String, String)]>,
    ) -> (Result<(), String>, Ticket) {
        self.namespace.apply(|broker, now| {
            broker.advance(now);
            self.put(path, description, broker, now)?;
            match (rules, Target::read(path)) {
                (Some(rules), Target::Subscription(topic, name)) => {
                    let old = rules_of(broker, &topic, &name).unwrap_or_default();
                    for (name, description) in rules {
                        self.put(&format!("{path}/rules/{name}"), description, broker, now)?;
                    }
                    let gone =
                        old.iter().filter(|old| !rules.iter().any(|(new, _)| new.eq_ignore_ascii_case(&old.name)));
                    for rule in gone {
                        self.carry(&Method::DELETE, &format!("{path}/rules/{}", rule.name), "", false, broker, now)?;
                    }
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    }

    /// Removes what has this path.
    pub(crate) fn undeclare(&self, path: &str) -> (Result<(), String>, Ticket) {
        self.namespace.apply(|broker, now| self.carry(&Method::DELETE, path, "", false, broker, now))
    }

    fn put(&self, path: &str, description: &str, broker: &mut Broker, now: UnixMillis) -> Result<(), String> {
        let is_there = match Target::read(path) {
            Target::Rule(topic, subscription, name) => rules_of(broker, &topic, &subscription)
                .is_some_and(|rules| rules.iter().any(|rule| rule.name.eq_ignore_ascii_case(&name))),
            Target::Subscription(topic, name) => rules_of(broker, &topic, &name).is_some(),
            _ => look(broker, path).is_some(),
        };
        self.carry(&Method::PUT, path, description, is_there, broker, now)
    }

    fn carry(
        &self,
        method: &Method,
        path: &str,
        description: &str,
        if_match: bool,
        broker: &mut Broker,
        now: UnixMillis,
    ) -> Result<(), String> {
        let body = format!("<entry><content>{description}</content></entry>");
        let call = Call {
            method,
            scheme: "http",
            host: "localhost",
            path,
            query: format!("?api-version={VERSION}"),
            version: VERSION.to_owned(),
            if_match,
            // Who starts the emulator may do everything.
            supplements: None,
            description: super::description(body.as_bytes()),
        };
        match self.carry_out(&call, &Target::read(path), broker, now) {
            Ok(_) => Ok(()),
            Err(Refused(problem, _)) => Err(problem.words().to_owned()),
        }
    }
}
