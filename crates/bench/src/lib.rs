//! Measurements of Oncebus, printed as ratios.
//!
//! A figure in calls per second says more about the machine than about the program. Here everything is
//! measured beside something that does nothing but the unavoidable, in the same minute, and what counts
//! is the ratio of the two. The command line's `oncebus bench` is a thin wrapper around this crate.
//!
//! These are no tests: a busy machine may miss a target without anything being wrong. Each figure comes
//! with its spread, so that a reader sees how much it is worth.

pub mod emulator;
