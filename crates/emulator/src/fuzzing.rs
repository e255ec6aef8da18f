//! What a fuzzer throws bytes at, and the test that throws the kept ones again.
//!
//! Here are the parts that read bytes from outside, each as a function of bytes that panics when a
//! promise is broken: that nothing panics, that what was read and written reads the same again, that
//! limits hold, that what was accepted comes back as it was. `fuzz/` builds a fuzzer from each with
//! `cfg(fuzzing)`; the test below runs the corpora of all of them without one. Not part of the crate's
//! interface, and not compiled into it.

pub use crate::auth::fuzzing::service_bus_sas;
pub use crate::broker::sql::fuzzing::{sql_action, sql_filter};
pub use crate::http::service_bus::fuzzing::{
    atom, batch, broker_properties, config, property_headers, request_path, whole_request,
};

/// A function of bytes that panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Each target and the name of its corpus, `fuzz/corpus/NAME`.
pub const TARGETS: [(&str, Target); 10] = [
    ("atom", atom),
    ("batch", batch),
    ("broker_properties", broker_properties),
    ("config", config),
    ("property_headers", property_headers),
    ("request_path", request_path),
    ("service_bus_sas", service_bus_sas),
    ("sql_action", sql_action),
    ("sql_filter", sql_filter),
    ("whole_request", whole_request),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn what_fuzzing_found_worth_keeping_breaks_no_promise() {
        let mut broken = Vec::new();
        for (name, target) in TARGETS {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
            let inputs: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!inputs.is_empty(), "{} is empty", corpus.display());
            for input in inputs {
                let data = std::fs::read(&input).unwrap();
                if std::panic::catch_unwind(|| target(&data)).is_err() {
                    broken.push(input);
                }
            }
        }
        assert!(broken.is_empty(), "promises are broken at {broken:#?}");
    }
}
