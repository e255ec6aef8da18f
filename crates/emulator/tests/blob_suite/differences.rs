//! What the targets are known to answer otherwise than real Azure, row by row.

use std::fmt;

use crate::client::{Said, done, refused};

/// A row that a target answers in its own way.
pub(crate) struct Difference {
    /// Its name, or the beginning of many names and `*`.
    pub(crate) row: &'static str,
    pub(crate) said: Said,
    pub(crate) why: &'static str,
    /// What Azure answers to the rows that were seen to differ.
    pub(crate) seen: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, said, why, seen } = self;
        match seen.as_slice() {
            [one] => write!(f, "{row}: {said}, Azure {one}: {why}"),
            many => write!(f, "{row} ({} rows): {said}: {why}", many.len()),
        }
    }
}

impl Difference {
    pub(crate) fn covers(&self, row: &str) -> bool {
        match self.row.strip_suffix('*') {
            // Names may end in the sign themselves.
            Some(beginning) => row == self.row || (beginning.ends_with(": ") && row.starts_with(beginning)),
            None => row == self.row,
        }
    }
}

/// The differences of a target.
pub(crate) fn of(target: &str) -> Vec<Difference> {
    match target {
        "emulator" => emulator(),
        "azurite" => azurite(),
        other => panic!("no such target: {other}"),
    }
}

/// Headers that a target leaves out of every refusal.
pub(crate) fn left_out(target: &str) -> &'static [&'static str] {
    match target {
        "azurite" => &["x-ms-version"],
        _ => &[],
    }
}

fn listed(said: &Said, why: &'static str, rows: &[&'static str]) -> Vec<Difference> {
    rows.iter().map(|row| Difference { row, said: said.clone(), why, seen: Vec::new() }).collect()
}

fn emulator() -> Vec<Difference> {
    let absent = refused(501, "APINotImplemented");
    let mut all = listed(&absent, "not part of the emulator", &["lease: *", "append: *", "tags: *"]);
    all.extend(listed(
        &refused(403, "AuthorizationFailure"),
        "the service may also say that nothing is public, or that nothing is there; this is what Azurite says",
        &["key: none"],
    ));
    all
}

fn azurite() -> Vec<Difference> {
    let stranger = refused(403, "AuthorizationFailure");
    let mut all = listed(
        &stranger,
        "one code for every credential that does not fit",
        &[
            "sas expired",
            "sas not yet valid",
            "sas forged",
            "sas of another container",
            "sas of an unknown policy",
            "sas of another blob",
            "sas of the blob: list",
            "account sas forged",
            "account sas expired",
            "account sas not yet valid",
            "key: wrong",
            "key: none",
        ],
    );
    all.extend(listed(
        &refused(403, "AuthorizationPermissionMismatch"),
        "the right to create is not told from other rights that are missing",
        &["sas c: overwrite", "sas c: create over another", "account sas create over another"],
    ));
    all.extend(listed(
        &refused(412, "ConditionNotMet"),
        "a condition comes before the question whether there is a blob (Azure/Azurite#2751)",
        &["head if-match absent", "get if-match absent"],
    ));
    all.extend(listed(
        &refused(409, "BlobAlreadyExists"),
        "a condition comes before the lease until 3.39 (Azure/Azurite#2637)",
        &["lease: put if-none-match *"],
    ));
    all.extend(listed(
        &done(400, &["date"]),
        "refused before it is known for an operation",
        &["put without a blob type"],
    ));
    all
}
