//! Leases, and what they do to writes. The emulator has none: these rows say what a client would have to know.

use crate::State::{Absent, Broken, Leased, Present};
use crate::client::{Ask, LEASE, OTHER_LEASE, done, refused};
use crate::{Row, State};

pub(crate) fn rows() -> Vec<Row> {
    let acquire = |seconds: &str, id: &str| {
        Ask::lease("acquire").header("x-ms-lease-duration", seconds).header("x-ms-proposed-lease-id", id)
    };
    let held = |action: &str, id: &str| Ask::lease(action).header("x-ms-lease-id", id);
    let with = |ask: Ask, id: &str| ask.header("x-ms-lease-id", id);
    let row = |name: &str, state: State, ask: Ask, said| Row::new(format!("lease: {name}"), state, ask, said);
    let taken: &[&str] = &["x-ms-lease-id", "etag", "last-modified", "date"];
    let changed: &[&str] = &["etag", "last-modified", "date"];
    vec![
        row("acquire", Present, acquire("15", LEASE), done(201, taken)),
        row("acquire for ever", Present, acquire("-1", LEASE), done(201, taken)),
        row("acquire for 10 s", Present, acquire("10", LEASE), refused(400, "InvalidHeaderValue")),
        row("acquire absent", Absent, acquire("15", LEASE), refused(404, "BlobNotFound")),
        row("acquire another's", Leased, acquire("15", OTHER_LEASE), refused(409, "LeaseAlreadyPresent")),
        row("acquire one's own again", Leased, acquire("15", LEASE), done(201, taken)),
        row("renew", Leased, held("renew", LEASE), done(200, taken)),
        row("renew another's", Leased, held("renew", OTHER_LEASE), refused(409, "LeaseIdMismatchWithLeaseOperation")),
        row("renew after a break", Broken, held("renew", LEASE), refused(409, "LeaseIsBrokenAndCannotBeRenewed")),
        row("release", Leased, held("release", LEASE), done(200, changed)),
        row("break", Leased, Ask::lease("break"), done(202, changed)),
        row("overwrite with the lease", Leased, with(Ask::put(), LEASE), done(201, changed)),
        row("overwrite without", Leased, Ask::put(), refused(412, "LeaseIdMissing")),
        row(
            "overwrite with another",
            Leased,
            with(Ask::put(), OTHER_LEASE),
            refused(412, "LeaseIdMismatchWithBlobOperation"),
        ),
        row(
            "overwrite with one, not leased",
            Present,
            with(Ask::put(), LEASE),
            refused(412, "LeaseNotPresentWithBlobOperation"),
        ),
        row("put if-none-match *", Leased, Ask::put().header("if-none-match", "*"), refused(412, "LeaseIdMissing")),
        row("set metadata with the lease", Leased, with(Ask::set_metadata(), LEASE), done(200, changed)),
        row("set metadata without", Leased, Ask::set_metadata(), refused(412, "LeaseIdMissing")),
        row("delete without", Leased, Ask::delete(), refused(412, "LeaseIdMissing")),
        row(
            "delete with another",
            Leased,
            with(Ask::delete(), OTHER_LEASE),
            refused(412, "LeaseIdMismatchWithBlobOperation"),
        ),
        row("read without", Leased, Ask::head(), done(200, &["x-ms-lease-state", "x-ms-lease-status"])),
        row("overwrite after a break", Broken, Ask::put(), done(201, changed)),
    ]
}
