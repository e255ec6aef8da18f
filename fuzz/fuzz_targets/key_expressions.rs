#![no_main]

#[path = "../../crates/core/tests/keys/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::key_expressions(data));
