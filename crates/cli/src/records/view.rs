//! A record as it is shown: a line, a table, or JSON.

use std::time::Duration;

use oncebus_azure::blob::listing::Listed;
use oncebus_core::ingest::status;
use oncebus_core::record::retention::{Named, in_words};
use oncebus_core::record::{Checkpoint, ETag, Record, RecordError, Seen, State};
use oncebus_core::time::UnixTime;
use serde_json::{Map, Value, json};

use crate::operator::on_one_line;

/// The widths of the columns of a line; what comes last is as long as it is.
const HEADINGS: &str = "STATE           EPOCH  ATTEMPTS  AGE       GROUP             ID";

/// A record with what the listing says around it.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) seen: Result<Seen, RecordError>,
    /// How long ago it was written, by the storage server's clock.
    pub(super) age: Duration,
}

impl View {
    /// A listed blob that is named as a record is.
    pub(super) fn of(listed: Listed, date: UnixTime) -> Option<Self> {
        let Named::Record { .. } = Named::of(&listed.name) else { return None };
        let age = date.since(listed.last_modified);
        let seen = Record::from_metadata(&listed.metadata).and_then(|record| {
            let etag = ETag::parse(listed.etag.as_str()).ok_or(RecordError::Missing("ETag"))?;
            Ok(Seen { record, etag, last_modified: listed.last_modified, date })
        });
        Some(Self { name: listed.name, seen, age })
    }

    pub(super) fn group(&self) -> &str {
        Named::of(&self.name).group().unwrap_or_default()
    }

    pub(super) const fn headings() -> &'static str {
        HEADINGS
    }

    /// The state as a word; of a claim, whether it has run out.
    fn state(&self) -> &'static str {
        match &self.seen {
            Err(_) => "unreadable",
            Ok(seen) if seen.record.state == State::Processing && self.has_expired(seen) => "expired",
            Ok(seen) if seen.record.state == State::Parked && !seen.record.copied => "parked (no copy)",
            Ok(seen) => seen.record.state.word(),
        }
    }

    /// By the server's clock; the margin is not counted, so another may have to wait a few seconds more.
    fn has_expired(&self, seen: &Seen) -> bool {
        self.age > seen.record.ttl
    }

    pub(super) fn line(&self) -> String {
        let age = rounded(self.age);
        let (state, group) = (self.state(), self.group());
        match &self.seen {
            Ok(seen) => {
                let (epoch, attempts) = (seen.record.epoch, seen.record.failures);
                let id = on_one_line(&seen.record.id);
                format!("{state:<16}{epoch:>5}  {attempts:>8}  {age:<8}  {group:<16}  {id}")
            }
            Err(error) => format!("{state:<16}    -         -  {age:<8}  {group:<16}  {} ({error})", self.name),
        }
    }

    /// All of it. `checkpoint_blob` is the length of the blob that holds the checkpoint, where one does.
    pub(super) fn json(&self, checkpoint_blob: Option<u64>) -> Value {
        let mut members = match &self.seen {
            Ok(seen) => match status::to_json("", &seen.record.id, seen) {
                Value::Object(members) => members,
                _ => Map::new(),
            },
            Err(error) => Map::from_iter([("error".to_owned(), Value::from(error.to_string()))]),
        };
        members.remove("queue");
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("name", self.name.as_str().into());
        set("group", self.group().into());
        set("age_seconds", self.age.as_secs().into());
        if let Ok(seen) = &self.seen {
            let record = &seen.record;
            if record.state == State::Processing {
                set("expired", self.has_expired(seen).into());
            }
            set("failures", record.failures.into());
            set("ttl_seconds", record.ttl.as_secs().into());
            set("executed_ms", u64::try_from(record.executed.as_millis()).unwrap_or(u64::MAX).into());
            set("owner", record.owner.as_str().into());
            set("mark", record.mark.as_str().into());
            set("payload_sha256", record.payload.as_str().into());
            let bytes = match &record.checkpoint {
                Some(Checkpoint::Inline(bytes)) => u64::try_from(bytes.len()).ok(),
                Some(Checkpoint::Blob(_)) => checkpoint_blob,
                None => None,
            };
            if let Some(bytes) = bytes {
                set("checkpoint_bytes", bytes.into());
            }
            if let Some(blob) = self.checkpoint_blob() {
                set("checkpoint_blob", blob.into());
            }
        }
        json!(members)
    }

    /// A row for each member.
    pub(super) fn table(&self, checkpoint_blob: Option<u64>) -> String {
        let Value::Object(members) = self.json(checkpoint_blob) else { return String::new() };
        let width = members.keys().map(String::len).max().unwrap_or_default();
        let rows = members.iter().map(|(name, value)| match value {
            Value::String(text) => format!("{name:<width$}  {}", on_one_line(text)),
            other => format!("{name:<width$}  {other}"),
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    /// The name of the blob that holds the checkpoint.
    pub(super) fn checkpoint_blob(&self) -> Option<String> {
        match &self.seen.as_ref().ok()?.record.checkpoint {
            Some(Checkpoint::Blob(blob)) => Some(blob.name(&self.name)),
            Some(Checkpoint::Inline(_)) | None => None,
        }
    }
}

/// An age with one unit, rounded down.
fn rounded(age: Duration) -> String {
    let seconds = age.as_secs();
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= 2 * unit).unwrap_or(1);
    in_words(Duration::from_secs(seconds / unit * unit))
}
