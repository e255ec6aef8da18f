//! Which queue the letters are on, and where they go back to.

use anyhow::anyhow;
use oncebus_core::config::{Config, QueueConfig};

use crate::operator::queue;

/// How the broker names a queue's dead-letter queue.
const SUB_QUEUE: &str = "/$DeadLetterQueue";

/// MaxDeliveryCount of a poison queue that the configuration does not know: the broker's default.
const DEFAULT_MAX_DELIVERY_COUNT: u32 = 10;

/// Where the letters are.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// The poison queue of this queue.
    #[arg(long, value_name = "NAME", required_unless_present = "from")]
    pub(super) queue: Option<String>,
    /// The broker's own dead-letter queue of --queue, in place of its poison queue.
    #[arg(long, requires = "queue")]
    pub(super) broker: bool,
    /// Any other entity: orders.poison/$DeadLetterQueue.
    #[arg(long, value_name = "ENTITY", conflicts_with = "queue")]
    pub(super) from: Option<String>,
    /// MaxDeliveryCount of the poison queue. Default: that of its queue's configuration.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub(super) max_delivery_count: Option<u32>,
}

/// A queue with letters.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its path.
    pub(super) entity: String,
    /// Whether it is one of the broker's own.
    pub(super) is_brokers: bool,
    /// Where a letter goes back to that does not say where it came from.
    pub(super) default_queue: Option<QueueConfig>,
    /// How often a letter can be delivered before the broker moves it on; `None` where it never does.
    pub(super) max_delivery_count: Option<u32>,
}

impl SourceArgs {
    pub(super) fn find(&self, config: &Config) -> anyhow::Result<Source> {
        let entity = match (&self.from, &self.queue) {
            (Some(entity), _) => entity.trim_matches('/').to_owned(),
            (None, Some(name)) if self.broker => format!("{}{SUB_QUEUE}", queue(config, name)?.name),
            (None, Some(name)) => queue(config, name)?.poison_queue.clone(),
            (None, None) => return Err(anyhow!("--queue or --from says where the letters are")),
        };
        let at = entity.len().saturating_sub(SUB_QUEUE.len());
        let base = entity.get(at..).filter(|end| end.eq_ignore_ascii_case(SUB_QUEUE)).and_then(|_| entity.get(..at));
        let (base, is_brokers) = base.map_or((entity.as_str(), false), |base| (base, true));
        let poisons: Vec<&QueueConfig> =
            config.queues.values().filter(|queue| queue.poison_queue.eq_ignore_ascii_case(base)).collect();
        let own = config.queue(base).filter(|_| is_brokers);
        // A poison queue that several share does not say where a letter of it came from.
        let only = poisons.first().filter(|_| poisons.len() == 1).copied();
        let counted = poisons.iter().map(|queue| queue.max_delivery_count).min();
        let max = self.max_delivery_count.or(counted).unwrap_or(DEFAULT_MAX_DELIVERY_COUNT);
        let max_delivery_count = (!is_brokers).then_some(max);
        Ok(Source { default_queue: own.or(only).cloned(), max_delivery_count, is_brokers, entity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(queue: Option<&str>, broker: bool, from: Option<&str>) -> Source {
        let document =
            "[queues.a]\nmax_delivery_count = 20\n[queues.b]\npoison_queue = 'bad'\n[queues.c]\npoison_queue = 'bad'";
        let args = SourceArgs {
            queue: queue.map(str::to_owned),
            broker,
            from: from.map(str::to_owned),
            max_delivery_count: None,
        };
        args.find(&Config::parse(document).unwrap()).unwrap()
    }

    #[test]
    fn a_queue_has_a_poison_queue_and_one_of_the_brokers() {
        let told = |source: Source| {
            let queue = source.default_queue.map(|queue| queue.name);
            (source.entity, source.is_brokers, queue, source.max_delivery_count)
        };
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(told(find(Some("a"), false, None)), ("a.poison".into(), false, name("a"), Some(20)));
        assert_eq!(told(find(Some("a"), true, None)), ("a/$DeadLetterQueue".into(), true, name("a"), None));
        assert_eq!(told(find(Some("b"), false, None)), ("bad".into(), false, None, Some(10)));
        let from = find(None, false, Some("a.poison/$deadletterqueue"));
        assert_eq!(told(from), ("a.poison/$deadletterqueue".into(), true, name("a"), None));
        assert_eq!(told(find(None, false, Some("else"))), ("else".into(), false, None, Some(10)));
    }
}
