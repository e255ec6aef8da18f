//! Who may do what: every letter of a SAS against every operation, and everything that can be wrong with one.

use crate::State::{Absent, Present};
use crate::client::{Ask, Said, done, refused};
use crate::sas::{Credential, Sas};
use crate::{Row, State};

pub(crate) fn rows() -> Vec<Row> {
    [letters(), terms(), account(), keys()].into_iter().flatten().collect()
}

fn denied() -> Said {
    refused(403, "AuthorizationPermissionMismatch")
}

fn stranger() -> Said {
    refused(403, "AuthenticationFailed")
}

/// Each operation with each letter alone, by a SAS of the container.
fn letters() -> Vec<Row> {
    let operations: [(&str, State, Ask, u16, &str); 8] = [
        ("create", Absent, Ask::put().header("if-none-match", "*"), 201, "cw"),
        ("overwrite", Present, Ask::put(), 201, "w"),
        ("create over another", Present, Ask::put().header("if-none-match", "*"), 409, "w"),
        ("set metadata", Present, Ask::set_metadata(), 200, "w"),
        ("head", Present, Ask::head(), 200, "r"),
        ("get", Present, Ask::get(), 200, "r"),
        ("delete", Present, Ask::delete(), 202, "d"),
        ("list", Present, Ask::list(), 200, "l"),
    ];
    let mut rows = Vec::new();
    for (name, state, ask, status, needed) in operations {
        for letters in ["r", "a", "c", "w", "d", "l", "rcw", "racwdl"] {
            let said = if letters.contains(|letter| needed.contains(letter)) {
                if status == 409 { refused(409, "BlobAlreadyExists") } else { done(status, &["date"]) }
            } else if letters == "c" && state == Present && name.contains("over") {
                refused(403, "UnauthorizedBlobOverwrite")
            } else {
                denied()
            };
            let ask = ask.clone().by(Credential::Sas(Sas::container(letters)));
            rows.push(Row::new(format!("sas {letters}: {name}"), state, ask, said));
        }
    }
    rows
}

/// What the signature covers beyond the letters.
fn terms() -> Vec<Row> {
    let row = |name: &str, sas: Sas, said| {
        Row::new(format!("sas {name}"), Present, Ask::head().by(Credential::Sas(sas)), said)
    };
    let found = || done(200, &["etag"]);
    let hour = 3600;
    vec![
        row("of 2018-11-09", Sas::container("r").version("2018-11-09"), found()),
        row("of 2020-12-06", Sas::container("r").version("2020-12-06"), found()),
        row("expired", Sas::container("r").expires(-hour), stranger()),
        row("not yet valid", Sas::container("r").starts(hour), stranger()),
        row("valid since an hour", Sas::container("r").starts(-hour), found()),
        row("forged", Sas::container("r").forged(), stranger()),
        row("of another container", Sas::container("r").elsewhere("others"), stranger()),
        row("of an unknown policy", Sas::container("r").policy("unknown"), stranger()),
        row("for https only", Sas::container("r").protocol("https"), refused(403, "AuthorizationProtocolMismatch")),
        row("for both protocols", Sas::container("r").protocol("https,http"), found()),
        row("of the blob", Sas::blob("r"), found()),
        row("of another blob", Sas::blob("r").elsewhere("records/other"), stranger()),
        row("of the blob, other letters", Sas::blob("w"), denied()),
        Row::new("sas of the blob: list", Present, Ask::list().by(Credential::Sas(Sas::blob("rl"))), stranger()),
    ]
}

fn account() -> Vec<Row> {
    let row = |name: &str, ask: Ask, sas: Sas, said| {
        Row::new(format!("account sas {name}"), Present, ask.by(Credential::Sas(sas)), said)
    };
    let found = || done(200, &["etag"]);
    vec![
        row("read", Ask::head(), Sas::account("b", "o", "r"), found()),
        row("of 2018-11-09", Ask::head(), Sas::account("b", "o", "r").version("2018-11-09"), found()),
        row("of several services", Ask::head(), Sas::account("bqtf", "sco", "rwdl"), found()),
        row(
            "of another service",
            Ask::head(),
            Sas::account("q", "o", "r"),
            refused(403, "AuthorizationServiceMismatch"),
        ),
        row(
            "of another kind of resource",
            Ask::head(),
            Sas::account("b", "c", "r"),
            refused(403, "AuthorizationResourceTypeMismatch"),
        ),
        row("other letters", Ask::head(), Sas::account("b", "o", "w"), denied()),
        row("forged", Ask::head(), Sas::account("b", "o", "r").forged(), stranger()),
        row("expired", Ask::head(), Sas::account("b", "o", "r").expires(-3600), stranger()),
        row("not yet valid", Ask::head(), Sas::account("b", "o", "r").starts(3600), stranger()),
        row("set metadata", Ask::set_metadata(), Sas::account("b", "o", "w"), found()),
        row("delete", Ask::delete(), Sas::account("b", "o", "d"), done(202, &["date"])),
        row("list", Ask::list(), Sas::account("b", "c", "l"), done(200, &["date"])),
        row(
            "create over another",
            Ask::put().header("if-none-match", "*"),
            Sas::account("b", "o", "c"),
            refused(403, "UnauthorizedBlobOverwrite"),
        ),
    ]
}

fn keys() -> Vec<Row> {
    let key = |right| Credential::SharedKey { right };
    let row =
        |name: &str, ask: Ask, credential, said| Row::new(format!("key: {name}"), Present, ask.by(credential), said);
    vec![
        row("head", Ask::head(), key(true), done(200, &["etag"])),
        row("put", Ask::put(), key(true), done(201, &["etag"])),
        row("put without a body", Ask::put().body(""), key(true), done(201, &["etag"])),
        row("set metadata", Ask::set_metadata(), key(true), done(200, &["etag"])),
        row("set metadata if-match", Ask::set_metadata().header("if-match", "*"), key(true), done(200, &["etag"])),
        row("list", Ask::list(), key(true), done(200, &["date"])),
        row("delete", Ask::delete(), key(true), done(202, &["date"])),
        row("wrong", Ask::head(), key(false), stranger()),
        row("none", Ask::put(), Credential::Nothing, refused(401, "NoAuthenticationInformation")),
    ]
}
