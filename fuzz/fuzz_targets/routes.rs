#![no_main]

#[path = "../../crates/core/tests/routes/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::routes(data));
