#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oncebus_emulator::fuzzing::config(data));
