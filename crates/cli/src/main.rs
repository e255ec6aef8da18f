//! oncebus: up, doctor, pump, send, status.

fn main() {}
