//! Making, changing and removing entities, and looking at them.

use std::sync::Arc;

use super::BrokerError;
use super::change::Change;
use super::delivery::{Counts, Standing};
use super::entity::Entity;
use super::machine::Broker;
use super::options::{QueueOptions, TopicOptions};
use super::path::{EntityPath, SubQueue};
use super::queue::Queue;
use super::rule::Rule;
use super::topic::Topic;
use crate::auth::service_bus::AccessRule;
use crate::time::UnixMillis;

impl Broker {
    /// Makes a queue, or gives an existing one new properties; its messages stay. A topic of the same name
    /// gives way.
    pub fn put_queue(&mut self, options: QueueOptions, now: UnixMillis) {
        self.advance(now);
        let key: Arc<str> = options.name.to_lowercase().into();
        if self.topic(&key).is_some() {
            self.remove(&key);
        }
        let Self { entities, out, .. } = self;
        let made = || Entity::Queue(Box::new(Queue::new(Arc::clone(&key), options.clone(), now)));
        if let Some(queue) = entities.entry(Arc::clone(&key)).or_insert_with(made).queue_mut() {
            queue.set_options(options, now, out);
        }
        self.touch_topic_of(&key, now);
        self.touched.push_back(key);
        self.settle(now);
    }

    /// Makes a topic, or gives an existing one new properties; its subscriptions stay. A queue of the
    /// same name gives way.
    pub fn put_topic(&mut self, options: TopicOptions, now: UnixMillis) {
        self.advance(now);
        let key: Arc<str> = options.name.to_lowercase().into();
        let subscriptions = match self.topic(&key) {
            Some(topic) => topic.subscriptions.clone(),
            None => {
                self.remove(&key);
                options.subscriptions.clone()
            }
        };
        let options = TopicOptions { subscriptions, ..options };
        let Self { entities, out, .. } = self;
        let made = || Entity::Topic(Box::new(Topic::new(Arc::clone(&key), options.clone(), now)));
        if let Some(topic) = entities.entry(Arc::clone(&key)).or_insert_with(made).topic_mut() {
            for subscription in options.subscriptions.keys() {
                // Its status is theirs too: whoever waits there looks again.
                let path = EntityPath { key: subscription.as_str().into(), sub_queue: SubQueue::Main };
                out.ready(path);
            }
            topic.change(|old| *old = options, now, out);
        }
        self.touched.push_back(key);
        self.settle(now);
    }

    /// Makes a subscription with these rules, or gives an existing one new properties and rules. The
    /// options' name is `{topic}/subscriptions/{name}`.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] when there is no such topic.
    pub fn put_subscription(
        &mut self,
        topic: &str,
        options: QueueOptions,
        rules: Vec<Rule>,
        now: UnixMillis,
    ) -> Result<(), BrokerError> {
        self.advance(now);
        let Self { entities, out, .. } = self;
        let topic =
            entities.get_mut(&*topic.to_lowercase()).and_then(Entity::topic_mut).ok_or(BrokerError::NotFound)?;
        let key = options.name.to_lowercase();
        topic.change(|topic| drop(topic.subscriptions.insert(key, rules)), now, out);
        self.put_queue(options, now);
        Ok(())
    }

    /// Removes an entity and everything in it: a topic with its subscriptions.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`].
    pub fn remove_entity(&mut self, name: &str, now: UnixMillis) -> Result<(), BrokerError> {
        self.advance(now);
        let key: Arc<str> = name.to_lowercase().into();
        if self.entities.contains_key(&key) {
            self.remove(&key);
            self.touch_topic_of(&key, now);
            self.settle(now);
            Ok(())
        } else {
            Err(BrokerError::NotFound)
        }
    }

    pub(super) fn remove(&mut self, key: &Arc<str>) {
        let Some(removed) = self.entities.remove(key) else { return };
        self.agenda.set(key, None);
        for sub_queue in SubQueue::ALL {
            // Whoever waits there must look again.
            self.out.ready(EntityPath { key: Arc::clone(key), sub_queue });
        }
        self.out.change(|| Change::QueueRemoved { key: Arc::clone(key) });
        match removed {
            Entity::Topic(topic) => {
                for subscription in topic.options().subscriptions.keys() {
                    self.remove(&subscription.as_str().into());
                }
            }
            Entity::Queue(_) => {
                let Self { entities, out, .. } = self;
                let topic = EntityPath::topic_of(key).and_then(|topic| entities.get_mut(topic));
                if let Some(topic) = topic.and_then(Entity::topic_mut)
                    && topic.options().subscriptions.contains_key(&**key)
                {
                    let at = topic.active_at();
                    topic.change(|topic| drop(topic.subscriptions.remove(&**key)), at, out);
                }
            }
        }
    }

    // ---- looking

    /// Whether there is anything at this path.
    #[must_use]
    pub fn contains(&self, path: &EntityPath) -> bool {
        self.entities.contains_key(&path.key)
    }

    /// How many queues and topics there are; subscriptions do not count.
    #[must_use]
    pub fn entity_count(&self) -> usize {
        let subscriptions: usize = self.topics().map(|topic| topic.subscriptions.len()).sum();
        self.entities.len().saturating_sub(subscriptions)
    }

    /// The queues' and subscriptions' properties, in the order of their keys.
    pub fn queues(&self) -> impl Iterator<Item = &QueueOptions> {
        self.entities.values().filter_map(Entity::queue).map(Queue::options)
    }

    /// The topics' properties, in the order of their keys.
    pub fn topics(&self) -> impl Iterator<Item = &TopicOptions> {
        self.entities.values().filter_map(Entity::topic).map(Topic::options)
    }

    /// A topic's properties.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicOptions> {
        self.entities.get(&*name.to_lowercase()).and_then(Entity::topic).map(Topic::options)
    }

    /// A queue's or subscription's properties.
    #[must_use]
    pub fn queue_options(&self, name: &str) -> Option<&QueueOptions> {
        self.entities.get(&*name.to_lowercase()).and_then(Entity::queue).map(Queue::options)
    }

    /// The access rules of this name at this path, in lower case, and at its parents.
    #[must_use]
    pub fn access_rules(&self, path: &str, name: &str) -> Vec<AccessRule> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let entities = ends.filter_map(|end| self.entities.get(path.get(..end)?));
        let rules = entities.flat_map(|entity| match entity {
            Entity::Queue(queue) => &queue.options().access_rules,
            Entity::Topic(topic) => &topic.options().access_rules,
        });
        rules.filter(|rule| rule.name.eq_ignore_ascii_case(name)).cloned().collect()
    }

    /// The messages at this path; none when it does not exist.
    #[must_use]
    pub fn messages(&self, path: &EntityPath) -> Vec<Standing> {
        self.page(path, 0, usize::MAX)
    }

    /// The messages at this path after the first `skip`, at most `top`.
    #[must_use]
    pub fn page(&self, path: &EntityPath, skip: usize, top: usize) -> Vec<Standing> {
        match self.entities.get(&path.key) {
            Some(Entity::Queue(queue)) => queue.messages(path.sub_queue, skip, top),
            Some(Entity::Topic(topic)) => topic.messages().into_iter().skip(skip).take(top).collect(),
            None => Vec::new(),
        }
    }

    /// The locked messages at this path, at most `top`.
    #[must_use]
    pub fn held(&self, path: &EntityPath, top: usize) -> Vec<Standing> {
        let queue = self.entities.get(&path.key).and_then(Entity::queue);
        queue.map_or_else(Vec::new, |queue| queue.held(path.sub_queue, top))
    }

    /// How full the entity at this path is. A topic holds what is not yet due; its size is that of its
    /// subscriptions too.
    #[must_use]
    pub fn counts(&self, path: &EntityPath) -> Option<Counts> {
        match self.entities.get(&path.key)? {
            Entity::Queue(queue) => Some(queue.counts(path.sub_queue)),
            Entity::Topic(topic) => {
                let counts = topic.counts();
                Some(Counts { bytes: counts.bytes.saturating_add(self.subscription_bytes(topic)), ..counts })
            }
        }
    }

    pub(super) fn subscription_bytes(&self, topic: &Topic) -> u64 {
        let keys = topic.options().subscriptions.keys();
        keys.filter_map(|key| self.entities.get(&**key)?.queue()).map(Queue::bytes).sum()
    }

    pub(super) fn touch_topic_of(&mut self, key: &str, now: UnixMillis) {
        let Some(topic_key) = EntityPath::topic_of(key) else { return };
        let Self { entities, out, touched, .. } = self;
        if let Some(Entity::Topic(topic)) = entities.get_mut(topic_key) {
            topic.touch(now, out);
            touched.push_back(topic_key.into());
        }
    }
}
