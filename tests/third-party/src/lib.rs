//! Programs that are not ours, for tests: clients of Service Bus, and [`Azurite`].
//!
//! `scripts/clients` installs them into `target/clients`, and [`find`] says where. It depends on nothing of ours, so that
//! the emulator's tests may use it too.

#![allow(clippy::expect_used, clippy::panic, reason = "all of it is for tests, which may fail loudly")]

mod azurite;

use std::path::{Path, PathBuf};

pub use azurite::Azurite;

/// The switch for machines that have none of them.
const WITHOUT: &str = "ONCEBUS_WITHOUT_CLIENTS";

/// Where one of them is; none when they are to be left out.
///
/// # Panics
/// When it is missing: a suite that leaves itself out is one that nobody misses.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/clients").join(name);
    if path.join(".stamp").is_file() {
        return Some(path);
    }
    assert!(
        std::env::var_os(WITHOUT).is_some(),
        "target/clients/{name} is missing: run scripts/clients (scripts/test does), or set {WITHOUT}=1 to test without"
    );
    println!("SKIPPED: {WITHOUT} is set, and target/clients/{name} is missing");
    None
}
