//! The broker: queues and topics as the service's HTTP gateway shows them, as a pure machine.
//!
//! No I/O, clock or randomness: `now` is handed to each operation, identifiers come from an injected
//! [`IdSource`](crate::IdSource). An operation changes the state, answers, and leaves in an [`Outbox`] what
//! the shell must do: rows to write before the answer is given, receivers to wake. A receiver that finds
//! nothing waits outside; [`Broker::next_event`] says when time alone will change something.
//!
//! # Time
//!
//! Each operation first carries out whatever fell due before, in every entity, in the order in which it
//! fell due and as of the instant when it did. So it makes no difference how often anybody looks, also where
//! messages go from one entity to another.
//!
//! # Forwarding
//!
//! An entity with `forward_to` keeps no message that a receiver could get: after each step of an operation,
//! what became visible goes on to the target in the same operation, and therefore in one transaction of the
//! store: a message is in one place or in the other. The target numbers and counts it anew, detects
//! duplicates, and applies its own time to live; the `MessageId` stays. After [`MOST_HOPS`] the message is
//! stranded where it is, as it is when the target is absent, disabled or full ([`Stranded`]).
//!
//! # Subscriptions
//!
//! A subscription is a queue whose key is `{topic}/subscriptions/{name}`; its topic knows its rules.

mod agenda;
mod change;
mod delivery;
mod entities;
mod entity;
mod error;
mod forwarding;
mod history;
mod intake;
mod machine;
mod message;
mod options;
mod path;
mod policy;
mod queue;
mod rule;
mod schedule;
mod shelf;
pub(crate) mod sql;
#[cfg(test)]
mod tests;
mod topic;

pub use change::{Change, Outbox, Place};
pub use delivery::{Counts, Delivery, MessageRef, MessageState, ReceiveMode, Standing};
pub use error::{BrokerError, Traffic};
pub use forwarding::MOST_HOPS;
pub use machine::Broker;
pub use message::{BrokerProperties, Message, PropertyValue};
pub use options::{Description, EntityStatus, QueueOptions, TopicOptions, target_key};
pub use path::{EntityPath, SubQueue, is_valid_name};
pub use policy::{Policy, SessionLess, Stranded};
pub use rule::{Action, Filter, Rule};
pub use shelf::{Entry, Lock};
pub use sql::{Condition, Parameters, SqlError, Statements};
