//! The whole of Oncebus in one process: emulator, host, and the built components (`scripts/build`).
//!
//! A [`World`] is one of each, on ports of their own, with nothing kept on disk. Time is moved, not waited for: the
//! emulator's clocks are the only ones that decide anything; but for [`Services::with_azurite`], where the storage's is the machine's. Where a test needs an instance to die or to stand
//! still at a certain request, it says so with a [`Cut`].

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness for tests: whatever goes wrong here is the test's failure"
)]

mod cut;
mod services;
mod world;

pub use cut::{At, Cut, Cuts, Does, Held};
pub use services::Services;
pub use world::{Ran, Setup, TWILIO_TOKEN, World};
