//! The rules of Oncebus, and nothing else.
//!
//! This crate decides; it never acts. It does no I/O, reads no clock, draws no random number, and knows no `async`. What
//! happened comes in as events with the time they happened; what is to be done goes out as effects for
//! `oncebus-runtime` to perform. So every rule can be tested by handing it a story, and every story can be told again.

pub mod claim;
pub mod config;
pub mod id;
pub mod ingest;
pub mod message;
pub mod problem;
pub mod record;
pub mod retry;
pub mod run;
pub mod secret;
pub mod time;
pub mod trace;
