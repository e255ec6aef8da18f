//! The answers of Blob Storage that a lock lives by, as one table that runs against the emulator and against
//! Azurite.
//!
//! A row is a state of a blob, one request, and what real Azure answers: status, `x-ms-error-code`, and headers that
//! must be there. Where a target is known to answer otherwise, [`differences`] names the row and says why; a
//! difference that is not listed fails, and so does a listed one that is gone. So a client that passes on one of the
//! targets is known to pass on the other, but for that list.
//!
//! What real Azure answers is documented, or told in public reports where the documents are silent. Nothing here
//! was asked of a live account.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod append;
mod client;
mod conditions;
mod credentials;
mod differences;
mod leases;
mod sas;
mod target;

use client::{Ask, Blob, Said};
use target::Target;

/// What is there before the request of a row is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing.
    Absent,
    /// A block blob of 3 bytes, written twice: the first ETag is stale.
    Present,
    /// The same without a body.
    Empty,
    /// Present, and leased for a minute.
    Leased,
    /// Present, its lease broken.
    Broken,
    /// An append blob of 3 bytes.
    Append,
    /// Present, with the tag `st` = `p`.
    Tagged,
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    name: String,
    state: State,
    ask: Ask,
    azure: Said,
}

impl Row {
    fn new(name: impl Into<String>, state: State, ask: Ask, azure: Said) -> Self {
        Self { name: name.into(), state, ask, azure }
    }
}

/// Runs every row, and compares what is different with what is known to be.
async fn check(target: &Target) {
    let rows: Vec<Row> =
        [conditions::rows(), leases::rows(), append::rows(), credentials::rows()].into_iter().flatten().collect();
    let (mut known, left_out) = (differences::of(target.name()), differences::left_out(target.name()));
    let (mut same, mut wrong) = (0, Vec::new());
    for (number, row) in rows.iter().enumerate() {
        let blob = Blob::new(target, number);
        let found = match blob.prepare(row.state).await {
            Ok(tags) => blob.ask(&row.ask, &tags).await,
            // The target cannot bring that state about, and its refusal is the answer.
            Err(refusal) => refusal,
        };
        let listed = known.iter_mut().find(|difference| difference.covers(&row.name));
        match listed {
            _ if found.is(&row.azure, left_out) => same += 1,
            Some(difference) if found.is(&difference.said, left_out) => {
                difference.seen.push(row.azure.to_string());
            }
            _ => {
                let (has, needs) = (found.headers(), row.azure.headers());
                wrong.push(format!("{}: {found} with {has}; Azure: {} with {needs}", row.name, row.azure));
            }
        }
    }
    let gone: Vec<&str> =
        known.iter().filter(|difference| difference.seen.is_empty()).map(|difference| difference.row).collect();
    known.iter().for_each(|difference| println!("differs: {difference}"));
    let different = rows.len() - same - wrong.len();
    println!("{}: {same} of {} rows as Azure, {different} differ as listed", target.name(), rows.len());
    assert!(wrong.is_empty(), "{} rows of {} are wrong:\n{}", wrong.len(), target.name(), wrong.join("\n"));
    assert!(gone.is_empty(), "listed as different, and not seen: {gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_answers_as_listed() {
    let target = Target::emulator().await;
    check(&target).await;
    target.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azurite_answers_as_listed() {
    let Some(target) = Target::azurite().await else { return };
    check(&target).await;
    target.stop().await;
}
