//! Azure Service Bus over HTTP, and the part of Blob Storage that Oncebus uses, in one process.
//!
//! For tests and local work: queues with peek-lock, delivery counts, dead letters, time to live,
//! scheduled messages and duplicate detection, spoken to over the REST data plane with SAS tokens; and
//! block blobs with metadata and conditional writes. Everything can be looked at and made to fail.
//!
//! ```no_run
//! # async fn example() -> Result<(), oncebus_emulator::StartError> {
//! use oncebus_emulator::{Emulator, Options};
//!
//! let emulator = Emulator::start(Options {
//!     queues: vec!["orders".into()],
//!     containers: vec!["records".to_owned()],
//!     ..Options::default()
//! })
//! .await?;
//! println!("{}", emulator.service_bus_connection_string());
//! let admin = emulator.admin();
//! assert!(admin.messages("orders").is_empty());
//! emulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! [`broker`] and [`blob`] are machines without I/O, clock or randomness: `now` is handed in, and what
//! they leave to do — rows to write, receivers to wake — is handed out. Around each stands a shell that
//! has a mutex, a [`Clock`] and a journal; the HTTP routes only translate. It depends on no other crate
//! of Oncebus, so that a misreading of the protocol in the client is not mirrored here.
//!
//! # What it is not
//!
//! No AMQP, no sessions; no leases, block lists, append blobs or
//! tables. It is no place for data that matters, and its admin port asks for no credentials.

mod account;
mod admin;
mod auth;
mod behaviour;
pub mod blob;
pub mod broker;
mod calls;
mod clock;
mod clocks;
mod emulator;
mod entities;
mod faults;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod ids;
mod iso_duration;
mod namespace;
pub mod program;
mod store;
mod time;
mod tls;

pub use admin::{
    Admin, AdminError, BlobView, DeclarationError, EntityKind, EntityView, LockView, MessageView, RuleView, StateView,
};
pub use auth::service_bus::{AccessRule, Claim};
pub use behaviour::{Behaviour, GetHead};
pub use broker::{MessageState, QueueOptions, SessionLess, Stranded};
pub use clock::Clock;
pub use emulator::{Emulator, Options, StartError, Tier};
pub use entities::{
    ConfigError, Entities, FlagError, QueueProperties, RuleProperties, SubscriptionProperties, TopicProperties,
};
pub use faults::{Fault, FaultError, Service};
pub use http::server::{Limits, connection_settings};
pub use ids::{CountingIds, IdSource, RandomIds};
pub use store::{Store, StoreError};
pub use time::UnixMillis;
pub use tls::{Certificate, Tls, TlsError};
