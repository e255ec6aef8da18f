//! What the processors of this repository share: the contract's bindings and two tables in SQLite.
//!
//! * [`bindings`]: the types of `wit/oncebus-processor.wit`, and `export!`.
//! * [`messages`]: the table that messages end in, written once per message.
//! * [`effects`]: a log of every step that ran, for demos and tests, written as often as the step runs.
//!
//! Nothing here is part of the contract. A processor of your own needs `wit/` and a bindings generator,
//! not this crate.

mod database;
pub mod effects;
pub mod messages;

pub use database::{Database, DatabaseError};

/// Generated from `wit/oncebus-processor.wit`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "generated; the documentation is in wit/oncebus-processor.wit"
)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "processor",
        path: "../../../wit",
        pub_export_macro: true,
        default_bindings_module: "oncebus_processor_kit::bindings",
    });
}

use bindings::exports::oncebus::processor::process::{Message, Retry, Step};

/// The value of a setting of `[processor.settings]`. Every message of a batch carries the same settings.
#[must_use]
pub fn setting<'a>(batch: &'a [Message], name: &str) -> Option<&'a str> {
    let (_, value) = batch.first()?.settings.iter().find(|(key, _)| key == name)?;
    Some(value)
}

/// How long a message waits for a database that refuses. The queue's own back-off is made for failures of one message: its
/// first attempts come within seconds, and an outage of a minute would use up all of them, for all messages.
const OUTAGE_SECONDS: u32 = 60;

/// What a database error means for a message: another attempt, when the database may be back.
#[must_use]
pub fn retry(error: &DatabaseError) -> Step {
    Step::Retry(Retry { reason: error.to_string(), after_seconds: Some(OUTAGE_SECONDS) })
}
