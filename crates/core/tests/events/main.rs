//! The corpora that fuzzing of events and lines found worth keeping, run once more. `fuzz/` runs the same functions in a fuzzer.

#![expect(clippy::disallowed_methods, reason = "the corpora are in files")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a target panics when a promise is broken, and so may its test"
)]

mod targets;

use std::path::Path;

fn run(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut inputs: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    for input in inputs {
        let data = std::fs::read(&input).unwrap();
        let outcome = std::panic::catch_unwind(|| target(&data));
        assert!(outcome.is_ok(), "the promise is broken at {}", input.display());
    }
}

#[test]
fn events_break_no_promise() {
    run("cloud_events", targets::cloud_events);
}

#[test]
fn lines_break_no_promise() {
    run("ndjson", targets::ndjson);
}
