#![no_main]

#[path = "../../crates/azure/tests/corpora/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::connection_strings(data));
