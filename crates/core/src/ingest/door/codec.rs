//! The record of a key as blob metadata: names that are plain identifiers, values that are printable ASCII.
//!
//! | name | what | form |
//! |---|---|---|
//! | `v` | format version | `1` |
//! | `st` | state | `s`, `f`, `t` |
//! | `fp` | fingerprint | hex |
//! | `at` | mark of the write | text |
//! | `q` | the queue that the message goes to | text |
//! | `id` | the message's id, whole | percent-encoded: up to 1,536 |

use std::collections::BTreeMap;

use super::{KeyRecord, State};
use crate::id::{MAX_LOGICAL_ID, Mark};
use crate::record::{RecordError, escape, unescape};

const VERSION: &str = "1";

/// The id decides what is sent again, so it is never cut: each byte takes three at the most.
const MAX_ID: usize = 3 * MAX_LOGICAL_ID;

impl KeyRecord {
    /// The record as metadata.
    #[must_use]
    pub fn to_metadata(&self) -> Vec<(&'static str, String)> {
        let state = match self.state {
            State::Sending => "s",
            State::Failed => "f",
            State::Sent => "t",
        };
        vec![
            ("v", VERSION.to_owned()),
            ("st", state.to_owned()),
            ("fp", self.fingerprint.clone()),
            ("at", self.mark.to_string()),
            ("q", self.queue.clone()),
            ("id", escape(&self.id, MAX_ID)),
        ]
    }

    /// The record out of metadata with lower-case names.
    ///
    /// # Errors
    /// [`RecordError`] names the first thing that is missing or unreadable.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, RecordError> {
        let required = |name: &'static str| metadata.get(name).map(String::as_str).ok_or(RecordError::Missing(name));
        match required("v")? {
            VERSION => {}
            other => return Err(RecordError::Version(other.to_owned())),
        }
        let state = match required("st")? {
            "s" => State::Sending,
            "f" => State::Failed,
            "t" => State::Sent,
            _ => return Err(RecordError::Malformed("st")),
        };
        Ok(Self {
            state,
            fingerprint: required("fp")?.to_owned(),
            mark: Mark::parse(required("at")?),
            queue: required("q")?.to_owned(),
            id: unescape(required("id")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(record: &KeyRecord) -> BTreeMap<String, String> {
        record.to_metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            state in prop_oneof![Just(State::Sending), Just(State::Failed), Just(State::Sent)],
            id in "\\PC{1,128}",
        ) {
            let mark = Mark::parse("0f-1");
            let record = KeyRecord { state, ..KeyRecord::first("f".repeat(64), "orders".into(), id, mark) };
            let metadata = map(&record);
            prop_assert!(metadata.values().all(|value| value.bytes().all(|byte| (0x21..0x7f).contains(&byte))));
            prop_assert_eq!(KeyRecord::from_metadata(&metadata), Ok(record));
        }

        #[test]
        fn no_metadata_makes_the_reader_panic(
            pairs in proptest::collection::btree_map("(v|st|fp|at|q|id)", "(1|s|%|\\PC{0,20})", 0..7)
        ) {
            let _ = KeyRecord::from_metadata(&pairs);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = map(&KeyRecord::first("fp".into(), "q".into(), "id".into(), Mark::parse("m")));
        for name in ["v", "st", "fp", "at", "q", "id"] {
            let mut metadata = good.clone();
            metadata.remove(name);
            assert_eq!(KeyRecord::from_metadata(&metadata), Err(RecordError::Missing(name)));
        }
        let with = |name: &str, value: &str| {
            let mut metadata = good.clone();
            metadata.insert(name.to_owned(), value.to_owned());
            KeyRecord::from_metadata(&metadata)
        };
        assert_eq!(with("st", "p"), Err(RecordError::Malformed("st")));
        assert_eq!(with("v", "2"), Err(RecordError::Version("2".into())));
    }

    #[test]
    fn the_longest_id_is_kept_whole_and_fits() {
        let id = "ä".repeat(256);
        let record = KeyRecord::first("f".repeat(64), "q".repeat(50), id.clone(), Mark::parse("m"));
        let metadata = map(&record);
        assert!(metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() < 8_000);
        assert_eq!(KeyRecord::from_metadata(&metadata).unwrap().id, id);
    }
}
