//! Ingest: HTTP in, Service Bus out. Answers 202 only after the broker said 201.
//!
//! `docs/HTTP.md` is the contract. The rules are `oncebus_core::ingest`; this component reads bodies, sends, looks at
//! records, and writes a line of log for each request. It keeps no state: an instance lives for one request.
//!
//! * [`serve`]: from the head of a request and its body to the answer, over any platform.
//! * [`messages`], [`routed`], [`batch`], [`webhooks`]: what sends. [`status`], [`health`]: what looks.
//! * [`access`]: who sends. [`handshake`]: who asks whether it may. [`door`]: whether it was sent before.
//! * [`body`], [`answer`], [`log`]: what all of them use.
//! * `entry` (wasm only): what Spin calls.

#![cfg_attr(target_family = "wasm", expect(unsafe_code, reason = "the glue of the component model is generated"))]

pub mod access;
pub mod answer;
pub mod batch;
pub mod body;
pub mod door;
#[cfg(target_family = "wasm")]
mod entry;
pub mod handshake;
pub mod health;
pub mod log;
pub mod messages;
pub mod routed;
pub mod serve;
pub mod status;
pub mod webhooks;

#[cfg(test)]
mod tests;
