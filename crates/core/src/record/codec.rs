//! The record as blob metadata: names that are plain identifiers, values that are printable ASCII.
//!
//! | name | what | form |
//! |---|---|---|
//! | `v` | format version | `1` |
//! | `st` | state | `p`, `r`, `d`, `x` |
//! | `ep` | epoch | decimal |
//! | `own` | the run that wrote | hex |
//! | `at` | mark of the write | text |
//! | `ttl` | seconds that a claim holds | decimal |
//! | `n` | failures and takeovers since the last checkpoint | decimal |
//! | `dn` | of these, the takeovers | decimal, absent for 0 |
//! | `ph` | payload SHA-256 | hex |
//! | `sp` | checkpoints stored so far | decimal, absent for 0 |
//! | `cp` | the last checkpoint, in the record | base64 |
//! | `cb` | the last checkpoint, in a blob of its own: the end of its name | `{ep}-{at}` |
//! | `ch` | SHA-256 of that blob's content | hex |
//! | `ex` | milliseconds that the processor took so far | decimal, absent for 0 |
//! | `rs` | result or last error | percent-encoded, cut at 768 |
//! | `nb` | not before, in seconds after `Last-Modified` | decimal |
//! | `pc` | the poison copy is made | `1` |
//! | `blk` | of the lock of a key: the record of the message that goes first | text |
//! | `id` | logical id, or lock key | percent-encoded, cut at 1,024 |
//!
//! Blob Storage takes 8 KB of metadata in all; with a checkpoint of 4,096 bytes (5,464 in base64) the rest has room.
//! Unknown names are ignored, so that a newer version may add some; an unknown `v` is refused. So is a number that no course of
//! events leads to, above 2^53: an epoch that cannot rise any more would be two claims'.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{Checkpoint, CheckpointBlob, Record, State};
use crate::id::Mark;
use crate::time::whole_seconds_up;

const VERSION: &str = "1";
/// The checkpoint of no bytes.
const EMPTY: &str = "=";
/// The greatest number that is read: what every reader of JSON holds exactly. Counting to it takes longer than there are computers.
const MAX_NUMBER: u64 = 1 << 53;
const MAX_ID: usize = 1_024;
const MAX_ENCODED_RESULT: usize = 768;

/// Printable ASCII stays as it is, but for the escape itself; a header loses white space at its ends.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// Metadata that is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A name that must be there is not.
    #[error("the record has no `{0}`")]
    Missing(&'static str),
    /// A value that cannot be read.
    #[error("the record's `{0}` cannot be read")]
    Malformed(&'static str),
    /// Written by a version that we don't know.
    #[error("the record has the unknown version {0:?}")]
    Version(String),
}

impl Record {
    /// The record as metadata.
    #[must_use]
    pub fn to_metadata(&self) -> Vec<(&'static str, String)> {
        let state = match self.state {
            State::Processing => "p",
            State::Released => "r",
            State::Done => "d",
            State::Parked => "x",
        };
        let mut pairs = vec![
            ("v", VERSION.to_owned()),
            ("st", state.to_owned()),
            ("ep", self.epoch.to_string()),
            ("own", self.owner.clone()),
            ("at", self.mark.to_string()),
            ("ttl", self.ttl.as_secs().to_string()),
            ("n", self.failures.to_string()),
            ("ph", self.payload.clone()),
            ("id", escape(&self.id, MAX_ID)),
        ];
        if self.deaths > 0 {
            pairs.push(("dn", self.deaths.to_string()));
        }
        if self.step > 0 {
            pairs.push(("sp", self.step.to_string()));
        }
        match &self.checkpoint {
            // A header without a value is read differently by different servers: the padding alone stands for nothing.
            Some(Checkpoint::Inline(bytes)) if bytes.is_empty() => pairs.push(("cp", EMPTY.to_owned())),
            Some(Checkpoint::Inline(bytes)) => pairs.push(("cp", STANDARD.encode(bytes))),
            Some(Checkpoint::Blob(blob)) => {
                pairs.push(("cb", blob.suffix.clone()));
                pairs.push(("ch", blob.digest.clone()));
            }
            None => {}
        }
        if !self.executed.is_zero() {
            pairs.push(("ex", self.executed.as_millis().min(u128::from(MAX_NUMBER)).to_string()));
        }
        if let Some(result) = self.result.as_ref().filter(|result| !result.is_empty()) {
            pairs.push(("rs", escape(result, MAX_ENCODED_RESULT)));
        }
        if let Some(not_before) = self.not_before {
            pairs.push(("nb", whole_seconds_up(not_before).to_string()));
        }
        if let Some(record) = &self.blocked_by {
            pairs.push(("blk", record.clone()));
        }
        if self.copied {
            pairs.push(("pc", "1".to_owned()));
        }
        pairs
    }

    /// The record out of metadata with lower-case names.
    ///
    /// # Errors
    /// [`RecordError`] names the first thing that is missing or unreadable.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, RecordError> {
        let optional = |name: &'static str| metadata.get(name).map(String::as_str);
        let required = |name: &'static str| optional(name).ok_or(RecordError::Missing(name));
        match required("v")? {
            VERSION => {}
            other => return Err(RecordError::Version(other.to_owned())),
        }
        let state = match required("st")? {
            "p" => State::Processing,
            "r" => State::Released,
            "d" => State::Done,
            "x" => State::Parked,
            _ => return Err(RecordError::Malformed("st")),
        };
        let whole = |name: &'static str| -> Result<Option<u64>, RecordError> {
            let read = |text: &str| text.parse().ok().filter(|number| *number <= MAX_NUMBER);
            optional(name).map(|text| read(text).ok_or(RecordError::Malformed(name))).transpose()
        };
        let epoch = whole("ep")?.ok_or(RecordError::Missing("ep"))?;
        let count = |name: &'static str| -> Result<u32, RecordError> {
            u32::try_from(whole(name)?.unwrap_or(0)).map_err(|_| RecordError::Malformed(name))
        };
        let inline = |text: &str| {
            let encoded = if text == EMPTY { "" } else { text };
            STANDARD.decode(encoded).map(Checkpoint::Inline).map_err(|_| RecordError::Malformed("cp"))
        };
        let checkpoint = match (optional("cb"), optional("cp")) {
            (Some(suffix), _) => {
                let (suffix, digest) = (suffix.to_owned(), required("ch")?.to_owned());
                Some(Checkpoint::Blob(Box::new(CheckpointBlob { suffix, digest })))
            }
            (None, Some(text)) => Some(inline(text)?),
            (None, None) => None,
        };
        required("n")?;
        Ok(Self {
            state,
            // There is no epoch before the first: a copy that stands for none has 0.
            epoch: (epoch > 0).then_some(epoch).ok_or(RecordError::Malformed("ep"))?,
            owner: required("own")?.to_owned(),
            mark: Mark::parse(required("at")?),
            ttl: Duration::from_secs(whole("ttl")?.ok_or(RecordError::Missing("ttl"))?),
            failures: count("n")?,
            deaths: count("dn")?,
            payload: required("ph")?.to_owned(),
            step: count("sp")?,
            checkpoint,
            executed: Duration::from_millis(whole("ex")?.unwrap_or(0)),
            result: optional("rs").map(unescape),
            not_before: whole("nb")?.map(Duration::from_secs),
            copied: optional("pc") == Some("1"),
            blocked_by: optional("blk").map(str::to_owned),
            id: unescape(required("id")?),
        })
    }
}

/// Percent-encodes, and cuts at `limit` without leaving half an escape.
pub(crate) fn escape(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in utf8_percent_encode(text, ESCAPED).flat_map(split_pieces) {
        if out.len() + piece.len() > limit {
            break;
        }
        out.push_str(piece);
    }
    out
}

/// The encoder yields escapes one by one and plain stretches whole; a stretch may be cut anywhere.
fn split_pieces(piece: &str) -> impl Iterator<Item = &str> {
    let whole = piece.starts_with('%');
    let parts = if whole { 1 } else { piece.len() };
    (0..parts).filter_map(move |at| if whole { Some(piece) } else { piece.get(at..=at) })
}

/// A cut may have split a character: what is left of it is shown as a replacement character.
pub(crate) fn unescape(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::checkpoint::MAX_INLINE_CHECKPOINT;
    use super::*;

    fn checkpoint() -> impl Strategy<Value = Checkpoint> {
        let blob = ("[0-9]{1,20}-[0-9a-f-]{1,40}", "[0-9a-f]{64}");
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..600).prop_map(Checkpoint::Inline),
            blob.prop_map(|(suffix, digest)| Checkpoint::Blob(Box::new(CheckpointBlob { suffix, digest }))),
        ]
    }

    fn arbitrary() -> impl Strategy<Value = Record> {
        let states =
            prop_oneof![Just(State::Processing), Just(State::Released), Just(State::Done), Just(State::Parked)];
        let numbers = (1..=MAX_NUMBER, any::<u32>(), any::<u32>(), 0..100_000u64, 0..1_000_000u64, any::<u32>());
        let texts = ("[0-9a-f]{32}", "[0-9a-f-]{1,40}", "[0-9a-f]{64}", "\\PC{0,100}");
        let optional = (
            proptest::option::of(checkpoint()),
            proptest::option::of("\\PC{0,100}"),
            proptest::option::of(0..90_000u64),
            any::<bool>(),
            proptest::option::of("[0-9a-f]{3}/[a-z]{1,9}/[0-9a-f]{64}"),
        );
        (states, numbers, texts, optional).prop_map(|(state, numbers, texts, optional)| Record {
            state,
            epoch: numbers.0,
            failures: numbers.1,
            step: numbers.2,
            ttl: Duration::from_secs(numbers.3),
            executed: Duration::from_millis(numbers.4),
            deaths: numbers.5,
            owner: texts.0,
            mark: Mark::parse(&texts.1),
            payload: texts.2,
            id: texts.3,
            checkpoint: optional.0,
            result: optional.1.filter(|result| !result.is_empty()),
            not_before: optional.2.map(Duration::from_secs),
            copied: optional.3,
            blocked_by: optional.4,
        })
    }

    fn map(record: &Record) -> BTreeMap<String, String> {
        record.to_metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(record in arbitrary()) {
            let metadata = map(&record);
            prop_assert!(metadata.values().all(|value| value.bytes().all(|byte| (0x21..0x7f).contains(&byte))));
            let read = Record::from_metadata(&metadata).unwrap();
            // Long texts are cut; these are short enough unless escapes made them long.
            prop_assume!(metadata.get("rs").is_none_or(|text| text.len() < MAX_ENCODED_RESULT - 12));
            prop_assume!(metadata["id"].len() < MAX_ID - 12);
            prop_assert_eq!(read, record);
        }

        #[test]
        fn no_metadata_makes_the_reader_panic(
            pairs in proptest::collection::btree_map("(v|st|ep|own|at|ttl|n|dn|ph|sp|cp|cb|ch|ex|rs|nb|pc|blk|id)", "(1|p|%|\\PC{0,20})", 0..15)
        ) {
            let _ = Record::from_metadata(&pairs);
        }
    }

    #[test]
    fn the_largest_record_fits_into_eight_kilobytes() {
        let author = super::super::Author { owner: "f".repeat(32), mark: Mark::parse(&"f".repeat(53)) };
        let record = Record::first(&"ä".repeat(600), &"f".repeat(64), Duration::from_secs(290), author.clone())
            .checkpoint(
                Checkpoint::Inline(vec![0xff; MAX_INLINE_CHECKPOINT]),
                Duration::from_secs(86_400),
                author.clone(),
            )
            .park("ü".repeat(600), author.clone())
            .copied(author);
        let size: usize = record.to_metadata().iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(size < 8_000, "{size}");
    }

    #[test]
    fn a_time_that_grows_beyond_what_can_be_read_is_written_so_that_it_can() {
        let author = super::super::Author { owner: "o".into(), mark: Mark::parse("m") };
        let first = Record::first("id", "hash", Duration::from_secs(45), author.clone());
        let most = Record { executed: Duration::from_millis(MAX_NUMBER), ..first };
        let again = Record::from_metadata(&map(&most)).unwrap().finish(None, Duration::MAX, author);
        assert_eq!(Record::from_metadata(&map(&again)).unwrap().executed, Duration::from_millis(MAX_NUMBER));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let author = super::super::Author { owner: "o".into(), mark: Mark::parse("m") };
        let good = map(&Record::first("id", "hash", Duration::from_secs(45), author));
        let with = |name: &str, value: Option<&str>| {
            let mut metadata = good.clone();
            match value {
                Some(value) => metadata.insert(name.to_owned(), value.to_owned()),
                None => metadata.remove(name),
            };
            Record::from_metadata(&metadata).unwrap_err()
        };
        for name in ["v", "st", "ep", "own", "at", "ttl", "n", "ph", "id"] {
            assert_eq!(with(name, None), RecordError::Missing(name));
        }
        assert_eq!(with("v", Some("2")), RecordError::Version("2".into()));
        assert_eq!(with("st", Some("q")), RecordError::Malformed("st"));
        assert_eq!(with("ep", Some("-1")), RecordError::Malformed("ep"));
        for epoch in ["0", "9007199254740993", "18446744073709551615"] {
            assert_eq!(with("ep", Some(epoch)), RecordError::Malformed("ep"), "{epoch}");
        }
        assert_eq!(with("ex", Some("18446744073709551615")), RecordError::Malformed("ex"));
        assert_eq!(with("nb", Some("9007199254740993")), RecordError::Malformed("nb"));
        assert_eq!(with("n", Some("4294967296")), RecordError::Malformed("n"));
        assert_eq!(with("cp", Some("?")), RecordError::Malformed("cp"));
        assert_eq!(with("cb", Some("1-run-2")), RecordError::Missing("ch"));
    }
}
