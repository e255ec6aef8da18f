//! The corpus that fuzzing of routes found worth keeping, run once more. `fuzz/` runs the same function in a fuzzer.

#![expect(clippy::disallowed_methods, reason = "the corpus is in files")]
#![expect(clippy::expect_used, reason = "a target panics when a promise is broken")]

mod targets;

use std::path::Path;

#[test]
fn what_fuzzing_found_worth_keeping_breaks_no_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/routes");
    let mut inputs: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    for input in inputs {
        let data = std::fs::read(&input).unwrap();
        let outcome = std::panic::catch_unwind(|| targets::routes(&data));
        assert!(outcome.is_ok(), "the promise is broken at {}", input.display());
    }
}
