//! Conditional requests: the rows by which a record is created, changed, read and deleted.

use crate::State::{Absent, Empty, Present};
use crate::client::{Ask, CURRENT, FUTURE, PAST, STALE, done, refused};
use crate::{Row, State};

const WRITTEN: &[&str] = &["etag", "last-modified", "date", "x-ms-version", "x-ms-request-id"];
const READ: &[&str] =
    &["etag", "last-modified", "date", "content-length", "content-type", "x-ms-blob-type", "x-ms-meta-st"];

pub(crate) fn rows() -> Vec<Row> {
    [create(), overwrite(), set_metadata(), read(), delete()].into_iter().flatten().collect()
}

fn create() -> Vec<Row> {
    let only_new = || Ask::put().header("if-none-match", "*");
    let row = |name: &str, state: State, ask: Ask, said| Row::new(format!("put {name}"), state, ask, said);
    vec![
        row("absent", Absent, Ask::put(), done(201, WRITTEN)),
        row("absent, without a body", Absent, Ask::put().body(""), done(201, WRITTEN)),
        row("if-none-match * absent", Absent, only_new(), done(201, WRITTEN)),
        row("if-none-match * present", Present, only_new(), refused(409, "BlobAlreadyExists")),
        row("if-none-match * present, both empty", Empty, only_new().body(""), refused(409, "BlobAlreadyExists")),
        row("if-match absent", Absent, Ask::put().header("if-match", "\"0x1\""), refused(412, "ConditionNotMet")),
        row("if-match * absent", Absent, Ask::put().header("if-match", "*"), refused(412, "ConditionNotMet")),
        row("container absent", Absent, Ask::put().nowhere(), refused(404, "ContainerNotFound")),
        row(
            "if-match, container absent",
            Absent,
            Ask::put().nowhere().header("if-match", "*"),
            refused(404, "ContainerNotFound"),
        ),
        row("without a blob type", Absent, Ask::put_without_type(), refused(400, "MissingRequiredHeader")),
        row(
            "metadata name with a dash",
            Absent,
            Ask::put().header("x-ms-meta-lock-epoch", "1"),
            refused(400, "InvalidMetadata"),
        ),
    ]
}

fn overwrite() -> Vec<Row> {
    let put = |name: &str, value: &str| Ask::put().header(name, value);
    let failed = || refused(412, "ConditionNotMet");
    let row = |name: &str, ask: Ask, said| Row::new(format!("overwrite {name}"), Present, ask, said);
    vec![
        row("without a condition", Ask::put(), done(201, WRITTEN)),
        row("if-match current", put("if-match", CURRENT), done(201, WRITTEN)),
        row("if-match *", put("if-match", "*"), done(201, WRITTEN)),
        row("if-match stale", put("if-match", STALE), failed()),
        row("if-none-match current", put("if-none-match", CURRENT), failed()),
        row("if-none-match stale", put("if-none-match", STALE), done(201, WRITTEN)),
        row("if-modified-since past", put("if-modified-since", PAST), done(201, WRITTEN)),
        row("if-modified-since future", put("if-modified-since", FUTURE), failed()),
        row("if-unmodified-since past", put("if-unmodified-since", PAST), failed()),
        row("if-unmodified-since future", put("if-unmodified-since", FUTURE), done(201, WRITTEN)),
        row(
            "if-match and if-none-match",
            put("if-match", CURRENT).header("if-none-match", "*"),
            refused(400, "MultipleConditionHeadersNotSupported"),
        ),
    ]
}

fn set_metadata() -> Vec<Row> {
    let set = |name: &str, value: &str| Ask::set_metadata().header(name, value);
    let row = |name: &str, state: State, ask: Ask, said| Row::new(format!("set metadata {name}"), state, ask, said);
    let failed = || refused(412, "ConditionNotMet");
    vec![
        row("without a condition", Present, Ask::set_metadata(), done(200, WRITTEN)),
        row("if-match current", Present, set("if-match", CURRENT), done(200, WRITTEN)),
        row("if-match *", Present, set("if-match", "*"), done(200, WRITTEN)),
        row("if-match stale", Present, set("if-match", STALE), failed()),
        // An ETag that is empty is no condition: a client must not be able to have one.
        row("if-match empty", Present, set("if-match", ""), done(200, WRITTEN)),
        // Protects a create, and nothing else.
        row("if-none-match *", Present, set("if-none-match", "*"), done(200, WRITTEN)),
        row("if-none-match current", Present, set("if-none-match", CURRENT), failed()),
        row("if-none-match stale", Present, set("if-none-match", STALE), done(200, WRITTEN)),
        row("if-unmodified-since past", Present, set("if-unmodified-since", PAST), failed()),
        row("absent", Absent, Ask::set_metadata(), refused(404, "BlobNotFound")),
        row("if-match absent", Absent, set("if-match", "\"0x1\""), failed()),
        row("container absent", Absent, Ask::set_metadata().nowhere(), refused(404, "ContainerNotFound")),
        row("metadata name with a dash", Present, set("x-ms-meta-lock-epoch", "1"), refused(400, "InvalidMetadata")),
    ]
}

fn read() -> Vec<Row> {
    let mut rows = Vec::new();
    for (verb, ask) in [("head", Ask::head()), ("get", Ask::get())] {
        let with = |name: &str, value: &str| ask.clone().header(name, value);
        let row = |name: &str, state: State, ask: Ask, said| Row::new(format!("{verb} {name}"), state, ask, said);
        let unmodified = || refused(304, "ConditionNotMet");
        rows.extend([
            row("present", Present, ask.clone(), done(200, READ)),
            row("present, empty", Empty, ask.clone(), done(200, READ)),
            row("absent", Absent, ask.clone(), refused(404, "BlobNotFound")),
            row("container absent", Absent, ask.clone().nowhere(), refused(404, "ContainerNotFound")),
            row("if-match current", Present, with("if-match", CURRENT), done(200, READ)),
            row("if-match stale", Present, with("if-match", STALE), refused(412, "ConditionNotMet")),
            row("if-match absent", Absent, with("if-match", "\"0x1\""), refused(404, "BlobNotFound")),
            row("if-none-match current", Present, with("if-none-match", CURRENT), unmodified()),
            row("if-none-match stale", Present, with("if-none-match", STALE), done(200, READ)),
            row("if-modified-since future", Present, with("if-modified-since", FUTURE), unmodified()),
            row(
                "if-unmodified-since past",
                Present,
                with("if-unmodified-since", PAST),
                refused(412, "ConditionNotMet"),
            ),
        ]);
    }
    rows
}

fn delete() -> Vec<Row> {
    let with = |name: &str, value: &str| Ask::delete().header(name, value);
    let row = |name: &str, state: State, ask: Ask, said| Row::new(format!("delete {name}"), state, ask, said);
    let gone = || done(202, &["date", "x-ms-version", "x-ms-request-id"]);
    vec![
        row("without a condition", Present, Ask::delete(), gone()),
        row("if-match current", Present, with("if-match", CURRENT), gone()),
        row("if-match stale", Present, with("if-match", STALE), refused(412, "ConditionNotMet")),
        // Not a protection: the blob is deleted.
        row("if-none-match *", Present, with("if-none-match", "*"), gone()),
        row("if-unmodified-since past", Present, with("if-unmodified-since", PAST), refused(412, "ConditionNotMet")),
        row("absent", Absent, Ask::delete(), refused(404, "BlobNotFound")),
        row("if-match absent", Absent, with("if-match", "\"0x1\""), refused(412, "ConditionNotMet")),
        row("container absent", Absent, Ask::delete().nowhere(), refused(404, "ContainerNotFound")),
    ]
}
