//! Queues and topics are made and changed.

use http::StatusCode;

use super::super::ServiceBus;
use super::atom::Entry;
use super::describe::Sent;
use super::elements::{Kind, Shown, View};
use super::problem::Problem;
use super::{Call, Done, Refused, look};
use crate::auth::service_bus::Claim;
use crate::broker::{Broker, QueueOptions, target_key};
use crate::time::UnixMillis;

/// Of a namespace, as documented for the standard tier.
const MOST_ENTITIES: usize = 10_000;

impl ServiceBus {
    pub(super) fn put_entity(
        &self,
        call: &Call<'_>,
        name: &str,
        broker: &mut Broker,
        now: UnixMillis,
    ) -> Result<Done, Refused> {
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
        let mut sent = Sent::read(kind, root, &call.version, self.tier, &namespace).map_err(refused)?;
        match &before {
            Some(before) if !call.if_match || before.kind != kind => return Err(refused(Problem::conflict())),
            None if call.if_match => return Err(refused(Problem::no_operation())),
            Some(before) => sent.check_change(kind, &before.description).map_err(refused)?,
            None if broker.entity_count() >= MOST_ENTITIES => {
                return Err(refused(Problem::too_many("queues and topics", MOST_ENTITIES)));
            }
            None => sent.partition(),
        }
        let size = root.child("MaxMessageSizeInKilobytes").and_then(|size| size.text.trim().parse::<usize>().ok());
        let largest = size.unwrap_or(self.tier.largest_message_kilobytes()) * 1024;
        let created_at = before.as_ref().map_or(now, Shown::created_at);
        match kind {
            Kind::Queue | Kind::Subscription => {
                let mut options = sent.queue(name.to_owned(), largest).map_err(refused)?;
                (options.description.created_at, options.description.updated_at) = (Some(created_at), Some(now));
                self.check_targets(call, &options, broker, now).map_err(refused)?;
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

    /// Whether there is something where messages are to be forwarded, and the client may send to it. What is
    /// declared may be declared in any order.
    pub(super) fn check_targets(
        &self,
        call: &Call<'_>,
        options: &QueueOptions,
        broker: &Broker,
        now: UnixMillis,
    ) -> Result<(), Problem> {
        let Some(tokens) = call.supplements else { return Ok(()) };
        for (target, token) in [&options.forward_to, &options.forward_dead_letters_to].into_iter().zip(tokens) {
            let Some(target) = target else { continue };
            let path = target_key(target);
            if token.is_some() || self.behaviour.forwarding_needs_authorization {
                let own = |scope: &str, name: &str| broker.access_rules(scope, name);
                let checked = self.rules.check(token, &path, Claim::Send, now, own);
                checked.map_err(|refusal| Problem::unauthorized(&refusal))?;
            }
            if self.behaviour.forwarding_target_must_exist && look(broker, &path).is_none() {
                return Err(Problem::no_target());
            }
        }
        Ok(())
    }
}
