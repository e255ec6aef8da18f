//! Two locks on one storage, for tests.
//!
//! [`ours`] claims a record with the parts that the queue handler is made of: core decides, the runtime sends.
//! [`naive`] is the lock that tutorials show: look whether the blob says "locked", write that it does, delete it
//! afterwards. It is written for the comparison and for nothing else. [`place`] is where both of them work: any storage
//! that a connection string names. [`target`] is what races run against: the emulator, whose clock is moved, and
//! Azurite, where waiting is waiting.
//!
//! `tests/races.rs` lets contenders race for a record; `tests/comparison.rs` runs the same stories with both.

#![allow(clippy::expect_used, reason = "all of it is for tests, which may fail loudly")]

pub mod naive;
pub mod ours;
pub mod place;
pub mod target;
