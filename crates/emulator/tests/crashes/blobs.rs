//! Writers and readers of blobs: each writer has a record and counts in it, as the holder of a lock does, while
//! others look on and try to create what is being created.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use crate::program::Program;
use crate::support::{Blobs, headers, outcome};

/// Records that are counted up.
const WRITERS: usize = 3;

/// What one client knows.
#[derive(Debug)]
pub(crate) enum Note {
    /// A record's count after the last answered write, and its version; and whether another was on its way.
    Written { name: String, count: u64, etag: String, unanswered: bool },
    /// The highest count that a reader saw.
    Seen { name: String, count: u64 },
    /// Names that were created, or found created.
    Created(Vec<String>),
}

#[derive(Debug, Default)]
struct Record {
    count: u64,
    etag: String,
    unanswered: bool,
    seen: u64,
}

/// All records, over all rounds.
#[derive(Debug, Default)]
pub(crate) struct Records {
    records: BTreeMap<String, Record>,
    created: Vec<String>,
}

type Work = Pin<Box<dyn Future<Output = Note> + Send>>;

impl Records {
    /// The clients of a round. Writers go on where the last round left their records.
    pub(crate) fn clients(&self, program: &Program, round: u64) -> Vec<Work> {
        let blobs = || Blobs::new(&program.blob, "records", "rcw");
        let mut work: Vec<Work> = Vec::new();
        for n in 0..WRITERS {
            let name = format!("record-{n}");
            let (count, etag) = self.records.get(&name).map(|r| (r.count, r.etag.clone())).unwrap_or_default();
            work.push(Box::pin(count_up(blobs(), name.clone(), count, etag)));
            work.push(Box::pin(look_on(blobs(), name)));
        }
        work.push(Box::pin(create(blobs(), format!("new-{round}"))));
        work
    }

    pub(crate) fn note(&mut self, note: Note) {
        match note {
            Note::Written { name, count, etag, unanswered } => {
                let record = self.records.entry(name).or_default();
                (record.count, record.etag, record.unanswered) = (count, etag, unanswered);
            }
            Note::Seen { name, count } => {
                let record = self.records.entry(name).or_default();
                record.seen = record.seen.max(count);
            }
            Note::Created(names) => self.created.extend(names),
        }
    }

    /// Looks at everything after a restart.
    pub(crate) async fn check(&mut self, program: &Program) {
        let blobs = Blobs::new(&program.blob, "records", "rcw");
        for (name, record) in &mut self.records {
            let response = blobs.head(name).send().await.unwrap();
            let found = headers(&response);
            let count = found.get("x-ms-meta-n").map_or(0, |n| n.parse::<u64>().unwrap());
            let next = record.unanswered && count == record.count + 1;
            assert!(count == record.count || next, "{name} is at {count}: {record:?}");
            assert!(count >= record.seen, "{name} is at {count}, and somebody saw more: {record:?}");
            if count > 0 && !next {
                assert_eq!(found["etag"], record.etag, "{name} is of another version");
            }
            record.count = count;
            record.etag = found.get("etag").cloned().unwrap_or_default();
            record.unanswered = false;
        }
        for name in &self.created {
            assert_eq!(outcome(blobs.head(name)).await.0, 200, "{name} was created and is lost");
        }
        let counts: Vec<u64> = self.records.values().map(|record| record.count).collect();
        println!("records counted to {counts:?}, {} created", self.created.len());
    }
}

async fn count_up(blobs: Blobs, name: String, mut count: u64, mut etag: String) -> Note {
    loop {
        let next = (count + 1).to_string();
        let request = match count {
            0 => blobs.put(&name).header("if-none-match", "*"),
            _ => blobs.set_metadata(&name).header("if-match", &etag),
        };
        match request.header("x-ms-meta-n", next).send().await {
            Ok(response) => {
                assert!(response.status().is_success(), "{name} at {count}: {}", response.status());
                etag = headers(&response)["etag"].clone();
                count += 1;
            }
            Err(_) => return Note::Written { name, count, etag, unanswered: true },
        }
    }
}

async fn look_on(blobs: Blobs, name: String) -> Note {
    let mut count = 0;
    while let Ok(response) = blobs.head(&name).send().await {
        let found = headers(&response).get("x-ms-meta-n").map_or(0, |n| n.parse().unwrap());
        assert!(found >= count, "{name} went back from {count} to {found}");
        count = found;
    }
    Note::Seen { name, count }
}

/// Creates blobs that somebody else creates at the same time: whoever is told that one is there may rely on it.
async fn create(blobs: Blobs, prefix: String) -> Note {
    let mut names = Vec::new();
    for n in 0.. {
        let name = format!("{prefix}-{n}");
        let put = || blobs.put(&name).header("if-none-match", "*").send();
        let (one, other) = tokio::join!(put(), put());
        if one.is_ok() || other.is_ok() {
            names.push(name.clone());
        }
        if one.is_err() || other.is_err() {
            break;
        }
    }
    Note::Created(names)
}
