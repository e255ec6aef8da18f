#![no_main]

#[path = "../../crates/core/tests/events/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::ndjson(data));
