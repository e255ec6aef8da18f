//! The emulator against recorded traffic of the live service: each source is replayed in order against an
//! emulator of its own, with the state that its own management calls made.
//!
//! An exchange passes when status, reason, header names, header values and body are equal after the named
//! rules of [`normalise`]. What does not pass must be listed in `exceptions.txt` with a reason, and is
//! counted as what it is: a failure. The numbers may only grow ([`EXPECTED`]).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod exchange;
mod mutations;
mod node;
mod normalise;
mod replay;

use std::collections::{BTreeMap, BTreeSet};

use exchange::sources;

/// Passes by kind, and how many there are. Raise these with the emulator; never lower them.
const EXPECTED: [(&str, usize, usize); 3] = [("data", 74, 74), ("error", 39, 39), ("management", 523, 523)];

/// The recordings whose requests were recorded too.
const WITH_REQUESTS: [&str; 2] = ["python-legacy", "python-mgmt-2020"];

/// Those of which only the answers were.
const WITHOUT_REQUESTS: &str = "node";

#[test]
fn what_is_listed_is_there() {
    let [one, other] = WITH_REQUESTS;
    assert_eq!(exceptions(&[one, other, WITHOUT_REQUESTS]), all_exceptions());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_answer_is_given_again() {
    let listed = exceptions(&WITH_REQUESTS);
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for file in WITH_REQUESTS {
        for (source, exchanges) in sources(file) {
            for (exchange, difference) in replay::replay(&exchanges).await {
                let count = counts.entry(exchange.kind.clone()).or_default();
                count.1 += 1;
                match difference {
                    None => count.0 += 1,
                    Some(difference) => failures.push((format!("{source}#{}", exchange.n), difference)),
                }
            }
        }
    }
    for (kind, (passed, total)) in &counts {
        println!("recordings, {kind}: {passed}/{total}");
    }
    for (name, difference) in &failures {
        let reason = listed.get(name).map_or("not listed", String::as_str);
        println!("{name} ({reason})\n{difference}");
    }
    judge(&listed, failures.iter().map(|(name, _)| name));
    let counted: Vec<(&str, usize, usize)> =
        counts.iter().map(|(kind, (passed, total))| (kind.as_str(), *passed, *total)).collect();
    assert_eq!(counted, EXPECTED, "the numbers moved");
}

/// Fails unless what failed and what is listed are the same.
fn judge<'a>(listed: &BTreeMap<String, String>, failed: impl Iterator<Item = &'a String>) {
    let failed: Vec<&String> = failed.collect();
    let unlisted: Vec<_> = failed.iter().filter(|name| !listed.contains_key(**name)).collect();
    let stale: Vec<_> = listed.keys().filter(|name| !failed.contains(name)).collect();
    assert!(unlisted.is_empty(), "these failures are not in exceptions.txt: {unlisted:?}");
    assert!(stale.is_empty(), "these pass and must leave exceptions.txt: {stale:?}");
}

/// The listed exchanges of these files.
fn exceptions(files: &[&str]) -> BTreeMap<String, String> {
    let names = |file: &&str| {
        let named = |(source, exchanges): (String, Vec<exchange::Exchange>)| {
            exchanges.into_iter().map(move |exchange| format!("{source}#{}", exchange.n))
        };
        sources(file).into_iter().flat_map(named)
    };
    let here: BTreeSet<String> = files.iter().flat_map(names).collect();
    let mut listed = all_exceptions();
    listed.retain(|name, _| here.contains(name));
    listed
}

/// `name: reason`, one a line.
fn all_exceptions() -> BTreeMap<String, String> {
    let lines = include_str!("exceptions.txt").lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines
        .map(|line| {
            let (name, reason) = line.split_once(": ").expect("name: reason");
            assert!(reason.len() > 10, "a reason is missing: {line}");
            (name.to_owned(), reason.to_owned())
        })
        .collect()
}
