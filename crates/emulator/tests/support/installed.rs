//! Third-party programs that `scripts/clients` installed.

use std::path::{Path, PathBuf};

/// The switch for machines that have none of them.
const WITHOUT: &str = "ONCEBUS_WITHOUT_CLIENTS";

/// Where one of them is; none when they are to be left out.
///
/// # Panics
/// When it is missing: a suite that leaves itself out is one that nobody misses.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
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
