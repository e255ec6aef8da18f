//! `oncebus chaos`, short: the program as it is. Needs the components (`scripts/build`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Drawn by the program, so that every run of this test is another one; it prints the seed, and `--seed` replays it.
#[test]
fn every_accepted_message_has_its_effect_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO_BIN_EXE_oncebus"))
        .args(["chaos", "--messages", "150", "--workers", "3", "--rejects", "2", "--json"])
        .current_dir(root)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");

    let outcome: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let count = |key: &str| outcome[key].as_u64().unwrap_or_else(|| panic!("{key} in {outcome}"));
    assert_eq!(count("accepted"), 150);
    assert_eq!(count("records_done") + count("records_parked"), 150, "{outcome}");
    assert_eq!(count("stored_once"), count("records_done"), "{outcome}");
    for none in ["effects_illegal", "stored_more", "lost", "left_in_queue"] {
        assert_eq!(count(none), 0, "{none} in {outcome}");
    }
    assert_eq!(count("forgetful_accepted"), 30);
    assert!(count("keyed") > 30 && count("keys_taken") > 0, "{outcome}");
    // Chaos there was: without it, this would say nothing.
    assert!(count("kills") >= 10 && count("replies_dropped") > 0 && count("pauses") > 0, "{outcome}\n{err}");
}
