//! The queues of a chaos: what is promised differs with what a queue is told to do.

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Queue {
    /// As most are: a record for each message, and failures that hold back nobody.
    Plain,
    /// Every message has a lock key, and a failure holds back what comes after it.
    Holding,
    /// What is done and completed is forgotten (`release = "delete"`).
    Forgetful,
}

/// Short times, so that what was cut off comes back soon; limits that chaos alone does not reach.
pub(super) const CONFIG: &str = "
    [defaults]
    lock_duration_seconds = 18
    claim_ttl_seconds = 6
    claim_margin_seconds = 2
    max_delivery_count = 100
    max_attempts = 100
    max_execution_seconds = 60
    retry_base_seconds = 1
    batch = 16
    gather_milliseconds = 20
    [queues.chaos]
    [queues.chaos-hold]
    on_key_failure = 'hold'
    [queues.chaos-forget]
    release = 'delete'
";

impl Queue {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Holding, Self::Forgetful];

    /// Its name, and that of its group.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "chaos",
            Self::Holding => "chaos-hold",
            Self::Forgetful => "chaos-forget",
        }
    }

    /// Its poison queue has the default name.
    pub(super) fn poison(self) -> String {
        format!("{}.poison", self.name())
    }

    /// The queue whose record, key or large checkpoint a blob is.
    pub(super) fn of_blob(name: &str) -> Option<Self> {
        let name = name.strip_prefix("keys/").unwrap_or(name);
        let group = name.split('/').nth(1)?;
        Self::ALL.into_iter().find(|queue| queue.name() == group)
    }
}

#[cfg(test)]
mod tests {
    use oncebus_core::config::Config;
    use oncebus_core::id::{key_name, record_name};

    use super::*;

    #[test]
    fn the_configuration_has_each_queue_as_a_group_of_its_own() {
        let config = Config::parse(CONFIG).unwrap();
        for queue in Queue::ALL {
            let configured = config.queue(queue.name()).unwrap();
            assert_eq!((configured.group.as_str(), &configured.poison_queue), (queue.name(), &queue.poison()));
        }
    }

    #[test]
    fn a_blob_names_its_queue() {
        for queue in Queue::ALL {
            assert_eq!(Queue::of_blob(&record_name(queue.name(), "id")), Some(queue));
            assert_eq!(Queue::of_blob(&key_name(queue.name(), "key")), Some(queue));
        }
        assert_eq!(Queue::of_blob("else"), None);
    }
}
