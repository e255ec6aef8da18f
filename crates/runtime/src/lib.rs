//! The only place with effects.
//!
//! Everything below decides (`oncebus-core`) or translates (`oncebus-azure`); this crate acts. It has one [`platform`]
//! trait set with two backends (Spin, native), one layer that retries ([`calls`]), the two services as clients
//! ([`broker`], [`records`], and beside these the [`backlog`]), and the loop that drives a run ([`handler`]).
//!
//! Features: `native` (the default) for programs and tests, `spin` for components.

pub mod backlog;
pub mod broker;
pub mod calls;
#[cfg(feature = "spin")]
pub mod component;
pub mod failure;
pub mod handler;
pub mod inventory;
pub mod platform;
pub mod records;
