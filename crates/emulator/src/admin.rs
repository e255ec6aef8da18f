//! The handle by which tests and the admin port look into an emulator and disturb it.

mod views;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use views::{BlobView, EntityKind, EntityView, LockView, MessageView, RuleView, StateView};
use views::{blobs, entity_view};

use crate::account::Account;
use crate::blob::{BlobError, BlobStore, Metadata};
use crate::broker::{BrokerError, Counts, EntityPath, QueueOptions, is_valid_name};
use crate::calls::Calls;
use crate::clocks::Clocks;
use crate::entities::{Entities, RuleProperties};
use crate::faults::{Fault, Faults, Service};
use crate::http::service_bus::ServiceBus;
use crate::namespace::Namespace;
use crate::store::{Journal, Ticket};

/// Looks into a running emulator, moves its clocks and makes it fail. Clones are the same handle.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) service_bus: Arc<ServiceBus>,
    pub(crate) account: Arc<Account>,
    pub(crate) clocks: Clocks,
    pub(crate) faults: Arc<Faults>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) journal: Arc<Journal>,
    /// What [`Admin::reset`] goes back to.
    pub(crate) queues: Vec<QueueOptions>,
    pub(crate) entities: Entities,
    pub(crate) containers: Vec<String>,
}

/// An entity cannot be as it is declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct DeclarationError {
    /// Where it was declared: a place in a file, or a flag.
    pub origin: String,
    /// What the service says about it.
    pub problem: String,
}

/// Makes entities in their order, or gives those that are there these properties. What was made before an
/// error stays.
pub(crate) fn declare_all(service_bus: &ServiceBus, entities: &Entities) -> Result<Vec<Ticket>, DeclarationError> {
    let mut tickets = Vec::new();
    for one in entities.in_order() {
        let (done, ticket) = service_bus.declare(&one.path, &one.description, one.rules.as_deref());
        done.map_err(|problem| DeclarationError { origin: one.origin.clone(), problem })?;
        tickets.push(ticket);
    }
    Ok(tickets)
}

/// Why something could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The service would not take the name.
    #[error("not a valid name: {0}")]
    Name(String),
    /// An entity cannot be as it is declared.
    #[error(transparent)]
    Entity(#[from] DeclarationError),
    /// There is no such thing, or it cannot be removed.
    #[error("{path}: {problem}")]
    Remove {
        /// Its path.
        path: String,
        /// What the service says.
        problem: String,
    },
}

impl Admin {
    /// Moves both services' clocks forward. Locks end, schedules fall due and long polls end at once.
    pub fn advance_clock(&self, by: Duration) {
        self.inner.clocks.advance(None, by);
        self.let_time_act();
    }

    /// Moves the broker's clock alone.
    pub fn advance_service_bus_clock(&self, by: Duration) {
        self.inner.clocks.advance(Some(Service::ServiceBus), by);
        self.let_time_act();
    }

    /// Moves the storage's clock alone.
    pub fn advance_storage_clock(&self, by: Duration) {
        self.inner.clocks.advance(Some(Service::Blob), by);
    }

    /// Moves one service's clock by so many milliseconds; back when negative. A clock that goes back only
    /// delays: locks, schedules and times to live end that much later, nothing that has happened is undone,
    /// and no long poll lasts longer. Dates that answers show go back with it.
    pub fn shift_clock(&self, service: Service, millis: i64) {
        self.inner.clocks.shift(Some(service), millis);
        self.let_time_act();
    }

    /// Whoever looks next shall see what has fallen due.
    fn let_time_act(&self) {
        self.inner.namespace.look(|_| ());
    }

    /// Adds a fault; those that were added earlier are asked first.
    pub fn add_fault(&self, fault: Fault) {
        self.inner.faults.add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// The faults, and how often each has struck.
    #[must_use]
    pub fn faults(&self) -> Vec<(Fault, u64)> {
        self.inner.faults.list()
    }

    /// Makes entities, or gives those that are there these properties; their messages stay.
    ///
    /// # Errors
    /// When the service would not have it so. What was made before that stays.
    pub fn put_entities(&self, entities: &Entities) -> Result<(), AdminError> {
        let _tickets = declare_all(&self.inner.service_bus, entities)?;
        Ok(())
    }

    /// Removes a queue, a topic with its subscriptions, `{topic}/subscriptions/{name}`, or
    /// `{topic}/subscriptions/{name}/rules/{rule}`.
    ///
    /// # Errors
    /// When there is no such thing.
    pub fn remove_entity(&self, path: &str) -> Result<(), AdminError> {
        let (done, _ticket) = self.inner.service_bus.undeclare(path);
        done.map_err(|problem| AdminError::Remove { path: path.to_owned(), problem })
    }

    /// Adds a rule to a subscription, or changes it.
    ///
    /// # Errors
    /// When there is no such subscription.
    pub fn put_rule(
        &self,
        topic: &str,
        subscription: &str,
        name: &str,
        properties: &RuleProperties,
    ) -> Result<(), AdminError> {
        let path = format!("{topic}/subscriptions/{subscription}/rules/{name}");
        let (done, _ticket) = self.inner.service_bus.declare(&path, &properties.description(), None);
        done.map_err(|problem| DeclarationError { origin: path, problem }.into())
    }

    /// Back to the start: the entities and containers of the options, empty; no faults, no counts. The
    /// clocks stay where they are.
    pub fn reset(&self) {
        let inner = &self.inner;
        inner.faults.clear();
        inner.calls.clear();
        let durable = inner.journal.is_durable();
        inner.namespace.reset(|broker, now| {
            inner.queues.iter().cloned().for_each(|queue| broker.put_queue(queue, now));
        });
        // They were made once.
        let _tickets = declare_all(&inner.service_bus, &inner.entities);
        inner.account.reset(BlobStore::new(durable), |store, now| {
            for container in &inner.containers {
                // Fresh: it cannot exist.
                let _ = store.create_container(container, Metadata::new(), now);
            }
        });
    }

    /// Makes a queue, or gives an existing one new properties.
    ///
    /// # Errors
    /// When the name is none.
    pub fn put_queue(&self, queue: impl Into<QueueOptions>) -> Result<(), AdminError> {
        let queue = queue.into();
        if !is_valid_name(&queue.name) {
            return Err(AdminError::Name(queue.name));
        }
        let (_, _ticket) = self.inner.namespace.apply(|broker, now| broker.put_queue(queue, now));
        Ok(())
    }

    /// Removes a queue and its messages; whether there was one.
    pub fn remove_queue(&self, name: &str) -> bool {
        let (removed, _ticket) = self.inner.namespace.apply(|broker, now| broker.remove_entity(name, now));
        !matches!(removed, Err(BrokerError::NotFound))
    }

    /// Makes a container if it is absent.
    ///
    /// # Errors
    /// When the name is none.
    pub fn put_container(&self, name: &str) -> Result<(), AdminError> {
        if !crate::blob::is_container_name(name) {
            return Err(AdminError::Name(name.to_owned()));
        }
        match self.inner.account.apply(|store, now| store.create_container(name, Metadata::new(), now)) {
            Ok(_) | Err(BlobError::ContainerExists) => Ok(()),
            Err(_) => Err(AdminError::Name(name.to_owned())),
        }
    }

    /// The messages of an entity, in order; `q/$DeadLetterQueue` names a dead-letter queue. Empty when
    /// there is no such entity.
    #[must_use]
    pub fn messages(&self, entity: &str) -> Vec<MessageView> {
        let path = EntityPath::parse(entity);
        self.inner.namespace.look(|broker| broker.messages(&path)).into_iter().map(MessageView::from).collect()
    }

    /// How full an entity is.
    #[must_use]
    pub fn counts(&self, entity: &str) -> Option<Counts> {
        let path = EntityPath::parse(entity);
        self.inner.namespace.look(|broker| broker.counts(&path))
    }

    /// How many receivers wait at an entity for a message.
    #[must_use]
    pub fn waiting(&self, entity: &str) -> usize {
        self.inner.namespace.waiting(&EntityPath::parse(entity))
    }

    /// The blobs of a container by name. Empty when there is no such container.
    #[must_use]
    pub fn blobs(&self, container: &str) -> Vec<BlobView> {
        self.inner.account.look(|store| blobs(store, container))
    }

    /// How often each operation was called: `service-bus.send`, `service-bus.peek-lock`,
    /// `service-bus.peek-lock-empty`, `blob.put`, ….
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.inner.calls.all()
    }

    /// One entity with `top` of its messages, those after the first `skip`.
    #[must_use]
    pub fn entity(&self, path: &str, skip: usize, top: usize) -> Option<EntityView> {
        let at = EntityPath::parse(path);
        self.inner.namespace.look(|broker| entity_view(broker, &at, skip, top))
    }

    /// Every lock, with at most `top` of each entity.
    #[must_use]
    pub fn locks(&self, top: usize) -> Vec<LockView> {
        let mut locks = Vec::new();
        for path in self.paths() {
            let at = EntityPath::parse(&path);
            let standing = self.inner.namespace.look(|broker| broker.held(&at, top));
            let held = standing.into_iter().filter_map(|standing| {
                let lock = standing.entry.lock?;
                Some(LockView {
                    entity: path.clone(),
                    sequence_number: standing.sequence_number,
                    message_id: standing.entry.message.broker.message_id.clone(),
                    token: lock.token.to_string(),
                    until: lock.until,
                })
            });
            locks.extend(held);
        }
        locks
    }

    /// Everything at once, with the first hundred messages of each entity.
    #[must_use]
    pub fn state(&self) -> StateView {
        self.state_of(100)
    }

    /// Everything at once, with the first `top` messages of each entity.
    #[must_use]
    pub fn state_of(&self, top: usize) -> StateView {
        let inner = &self.inner;
        let view = |path: String| self.entity(&path, 0, top).map(|view| (path, view));
        let entities = self.paths().into_iter().filter_map(view).collect();
        let containers =
            inner.account.look(|store| store.containers().map(|name| (name.to_owned(), blobs(store, name))).collect());
        StateView {
            service_bus_now: inner.namespace.clock().now(),
            blob_now: inner.account.clock().now(),
            entities,
            containers,
            calls: self.calls(),
        }
    }

    /// The paths of all entities and dead-letter queues.
    fn paths(&self) -> Vec<String> {
        self.inner.namespace.look(|broker| {
            let queues = broker.queues().flat_map(|queue| [queue.name.clone(), format!("{}{DEAD_LETTER}", queue.name)]);
            queues.chain(broker.topics().map(|topic| topic.name.clone())).collect()
        })
    }
}

const DEAD_LETTER: &str = "/$DeadLetterQueue";
