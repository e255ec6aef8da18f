//! The table of what happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::call::Kind;
use super::schedule::Side;
use super::stage::Played;

/// The table, for people.
pub(super) fn table(played: &Played) -> String {
    let outcome = &played.outcome;
    let rows = [
        ("accepted", outcome.accepted),
        ("stored once", outcome.stored_once),
        ("stored more than once", outcome.stored_more),
        ("lost", outcome.lost),
        ("effects", outcome.effects),
        ("repeated behind a cut or pause", outcome.effects_repeated),
        ("illegal", outcome.effects_illegal),
        ("records done", outcome.records_done),
        ("records parked", outcome.records_parked),
        ("left in the queues", outcome.left_in_queue),
        ("with a lock key", outcome.keyed),
        ("keys taken", outcome.keys_taken),
        ("to be forgotten: accepted", outcome.forgetful_accepted),
        ("to be forgotten: stored once", outcome.forgetful_stored_once),
        ("forgotten, and done again", outcome.forgetful_again),
        ("left to be swept", outcome.forgetful_left),
        ("kills", outcome.kills),
        ("pauses", outcome.pauses),
        ("replies lost", outcome.replies_dropped),
        ("sends repeated", outcome.sends_repeated),
        ("workers of each queue", u64::from(played.workers)),
        ("seconds", outcome.seconds),
    ];
    let mut out = String::from("\n");
    for (name, number) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {name:<32}{number:>8}");
    }
    let noted = &played.noted;
    let _ =
        writeln!(out, "\n  {:<10}{:>14}{:>14}{:>8}{:>14}", "at", "killed before", "after", "paused", "replies lost");
    let at = |counts: &BTreeMap<(Kind, Side), u32>, kind, side| counts.get(&(kind, side)).copied().unwrap_or_default();
    for kind in Kind::ALL {
        let before = at(&noted.kills, kind, Side::Before);
        let after = at(&noted.kills, kind, Side::After);
        let paused = at(&noted.pauses, kind, Side::Before) + at(&noted.pauses, kind, Side::After);
        let lost = noted.lost_replies.get(&kind).copied().unwrap_or_default();
        let _ = writeln!(out, "  {kind:<10}{before:>14}{after:>14}{paused:>8}{lost:>14}");
    }
    out
}
