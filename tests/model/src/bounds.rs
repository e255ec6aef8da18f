//! How much of the world is explored: who takes part, and how often each kind of trouble may happen.
//!
//! Nothing else cuts the exploration. Every cycle in the protocol spends something out of the [`Budget`], so the states
//! reachable within the bounds are finite, and all of them are visited.

use bytes::Bytes;
use oncebus_core::config::{Config, ConfigError, QueueConfig};
use oncebus_core::message::{Outgoing, Properties, property};
use oncebus_core::record::checkpoint::MAX_INLINE_CHECKPOINT;

use crate::broker::Broker;

/// How often each kind of trouble may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Steps of time. One is longer than a claim may be used, two are longer than it holds.
    pub ticks: u8,
    /// Peek-locks that lapse, whether their holders live or not.
    pub lapses: u8,
    /// Writes of a record, and renewals, that are never answered; they may land at any later time, or never.
    pub unanswered: u8,
    /// Workers that die. What they had sent may land at any later time, or never.
    pub crashes: u8,
    /// Calls of the processor that fail after their effect, or whose effect is never answered.
    pub failures: u8,
    /// Calls of the processor that reject the message.
    pub rejections: u8,
    /// Runs that end between two steps.
    pub deadlines: u8,
    /// Claims that are renewed between two steps.
    pub renewals: u8,
    /// Waits for another look at a record that somebody else holds.
    pub waits: u8,
    /// Letters on the poison queue that an operator takes up to send them back.
    pub redrives: u8,
    /// Listings that an operator makes to delete what is over.
    pub sweeps: u8,
}

impl Budget {
    /// No trouble at all.
    pub const NONE: Self = Self {
        ticks: 0,
        lapses: 0,
        unanswered: 0,
        crashes: 0,
        failures: 0,
        rejections: 0,
        deadlines: 0,
        renewals: 0,
        waits: 0,
        redrives: 0,
        sweeps: 0,
    };
}

/// How long things are kept, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Retention {
    /// The time to live of a message, and of a letter.
    pub messages: u8,
    /// The age from which what is over is swept.
    pub records: u8,
}

/// Who and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How many deliveries are handled side by side at the most.
    pub workers: usize,
    /// The bodies of the messages that were sent under the one id.
    pub sent: &'static [&'static str],
    /// How many steps the processor takes for a message.
    pub steps: u8,
    /// Whether its checkpoints are too large for the record, and have blobs of their own.
    pub large_checkpoints: bool,
    /// The broker's `MaxDeliveryCount`.
    pub max_deliveries: u8,
    /// The queue's `max_attempts`.
    pub max_attempts: u8,
    /// How long things are kept, where that matters: where records are swept.
    pub retention: Option<Retention>,
    /// How much trouble there is.
    pub budget: Budget,
}

impl Bounds {
    /// What the steps before this one have left.
    pub(crate) fn checkpoint(&self, step: u32) -> Option<Vec<u8>> {
        let length = if self.large_checkpoints { MAX_INLINE_CHECKPOINT + 1 } else { 1 };
        (step > 0).then(|| step.to_be_bytes().into_iter().rev().cycle().take(length).collect())
    }

    /// One message of each body, all of the same id: a sender that sends twice, or that reuses an id.
    fn messages(&self) -> impl Iterator<Item = Outgoing> {
        self.sent.iter().map(|body| {
            let properties: Properties = [(property::ID, "m")].into_iter().collect();
            let body = Bytes::from_static(body.as_bytes());
            Outgoing { message_id: Some("m".to_owned()), body, properties, ..Outgoing::default() }
        })
    }

    /// The broker, with these messages in its queue.
    pub(crate) fn broker(&self) -> Broker {
        let broker = Broker::new(self.messages(), self.max_deliveries);
        let broker = if self.budget.redrives > 0 { broker.with_letters() } else { broker };
        match self.retention {
            Some(retention) => broker.with_a_clock(retention),
            None => broker,
        }
    }

    /// The settings of the queue: the defaults, but for the numbers that bound the exploration.
    pub(crate) fn queue(&self) -> Result<QueueConfig, ConfigError> {
        let document = format!(
            "[queues.q]\nmax_delivery_count = {}\nmax_execution_seconds = 60\nmax_attempts = {}",
            self.max_deliveries, self.max_attempts
        );
        let config = Config::parse(&document)?;
        config.queue("q").cloned().ok_or_else(|| ConfigError::new("queues.q", "not there"))
    }
}
