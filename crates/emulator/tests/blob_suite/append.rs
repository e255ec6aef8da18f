//! Append blobs and tags, which the emulator does not have either.

use crate::State::{Absent, Append, Present, Tagged};
use crate::client::{Ask, STALE, done, refused};
use crate::{Row, State};

pub(crate) fn rows() -> Vec<Row> {
    let only_new = || Ask::put_append().header("if-none-match", "*");
    let append = |name: &str, value: &str| Ask::append().header(name, value);
    let row = |name: &str, state: State, ask: Ask, said| Row::new(format!("append: {name}"), state, ask, said);
    let tags = |name: &str, state: State, ask: Ask, said| Row::new(format!("tags: {name}"), state, ask, said);
    let changed: &[&str] = &["etag", "last-modified", "date"];
    let added: &[&str] = &["etag", "last-modified", "x-ms-blob-append-offset", "x-ms-blob-committed-block-count"];
    vec![
        row("create if-none-match * absent", Absent, only_new(), done(201, changed)),
        row("create if-none-match * present", Append, only_new(), refused(409, "BlobAlreadyExists")),
        row("add", Append, Ask::append(), done(201, added)),
        row("add at the end", Append, append("x-ms-blob-condition-appendpos", "3"), done(201, added)),
        row(
            "add elsewhere",
            Append,
            append("x-ms-blob-condition-appendpos", "2"),
            refused(412, "AppendPositionConditionNotMet"),
        ),
        row("add within the size", Append, append("x-ms-blob-condition-maxsize", "6"), done(201, added)),
        row(
            "add beyond the size",
            Append,
            append("x-ms-blob-condition-maxsize", "5"),
            refused(412, "MaxBlobSizeConditionNotMet"),
        ),
        row("add if-match stale", Append, append("if-match", STALE), refused(412, "ConditionNotMet")),
        row("add nothing", Append, Ask::append().body(""), refused(400, "InvalidHeaderValue")),
        row("add to what is absent", Absent, Ask::append(), refused(404, "BlobNotFound")),
        row("add to a block blob", Present, Ask::append(), refused(409, "InvalidBlobType")),
        tags("set", Present, Ask::set_tags(), done(204, &["date"])),
        tags("read if they match", Tagged, Ask::head().header("x-ms-if-tags", "\"st\" = 'p'"), done(200, changed)),
        tags(
            "read if they do not match",
            Tagged,
            Ask::head().header("x-ms-if-tags", "\"st\" = 'd'"),
            refused(412, "ConditionNotMet"),
        ),
    ]
}
