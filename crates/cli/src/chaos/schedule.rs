//! What goes wrong, decided before anything runs: a function of the seed and of how much there is to do.
//!
//! Kills and pauses strike the n-th request of a kind, whoever makes it. Lost replies and repeated sends are drawn
//! for each request by what it is about (its kind, its target, and how often that target was asked for), so that the
//! same seed strikes the same requests in whatever order they come. The order itself is the machine's: a seed replays the
//! faults, not the scheduling of threads.

use std::collections::BTreeMap;

use super::call::Kind;
use crate::rng::Rng;

/// When a strike comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Side {
    /// Before the request is sent.
    Before,
    /// When the service has done what was asked, and before the instance sees the answer.
    After,
}

/// What strikes an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// It dies, as by a SIGKILL.
    Kill,
    /// It stands still until its claims have expired.
    Pause,
}

/// How much of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amounts {
    /// Different messages, on queues that remember.
    pub(super) messages: u32,
    /// Different messages besides, on the queue that forgets.
    pub(super) forgetful: u32,
    /// Instances killed.
    pub(super) kills: u32,
    /// Instances paused beyond the ttl.
    pub(super) pauses: u32,
    /// Restarts of the emulator by `kill -9`.
    pub(super) restarts: u32,
    /// Replies lost after the service has committed, in 10,000.
    pub(super) lost_replies: u32,
    /// Sends repeated, in 10,000.
    pub(super) repeated_sends: u32,
}

/// The plan of a chaos.
#[derive(Debug)]
pub(super) struct Schedule {
    seed: Rng,
    amounts: Amounts,
    strikes: BTreeMap<(Kind, Side, u32), Strike>,
    /// After so many stored messages the emulator dies, ascending.
    pub(super) restarts: Vec<u32>,
}

impl Schedule {
    /// The plan for a seed.
    pub(super) fn new(seed: u64, amounts: Amounts) -> Self {
        let seed = Rng(seed);
        let mut strikes = BTreeMap::new();
        let mut dice = seed.about("strikes", 0);
        let sides = [Side::Before, Side::After];
        // Round robin, so that no kind is left out while another is struck twice.
        let kills = Kind::ALL.iter().flat_map(|kind| sides.map(|side| (*kind, side))).cycle();
        for (kind, side) in kills.take(index(amounts.kills)) {
            strike(&mut strikes, (kind, side), usual(kind, amounts.messages), Strike::Kill, &mut dice);
        }
        let held = [Kind::Complete, Kind::Write, Kind::Create, Kind::Renew, Kind::Copy, Kind::Look];
        let pauses = held.iter().flat_map(|kind| sides.map(|side| (*kind, side))).cycle();
        for (kind, side) in pauses.take(index(amounts.pauses)) {
            strike(&mut strikes, (kind, side), usual(kind, amounts.messages), Strike::Pause, &mut dice);
        }
        // Evenly over the work, each a little off its place.
        let part = amounts.messages / (amounts.restarts + 1);
        let off = |n: u32| number(seed.about("restart", n.into()).below(index(part / 2 + 1)));
        let restarts = (1..=amounts.restarts).map(|n| (n * part).saturating_sub(off(n))).collect();
        Self { seed, amounts, strikes, restarts }
    }

    /// What strikes the n-th request of a kind, from 1.
    pub(super) fn strike(&self, kind: Kind, side: Side, ordinal: u32) -> Option<Strike> {
        self.strikes.get(&(kind, side, ordinal)).copied()
    }

    /// Whether the answer to a request is lost. `ordinal` counts the requests of the kind about the target.
    pub(super) fn loses_reply(&self, kind: Kind, target: &str, ordinal: u32) -> bool {
        let what = format!("reply {kind} {target}");
        self.seed.about(&what, ordinal.into()).happens(self.amounts.lost_replies)
    }

    /// Whether a message is sent a second time.
    pub(super) fn repeats_send(&self, message: u32) -> bool {
        self.seed.about("send", message.into()).happens(self.amounts.repeated_sends)
    }

    /// Strikes that were planned, by what they do.
    #[cfg(test)]
    fn planned(&self, strike: Strike) -> impl Iterator<Item = (Kind, Side)> + '_ {
        self.strikes.iter().filter(move |(_, planned)| **planned == strike).map(|((kind, side, _), _)| (*kind, *side))
    }
}

/// Takes a free place among the first requests of the kind.
fn strike(
    strikes: &mut BTreeMap<(Kind, Side, u32), Strike>,
    (kind, side): (Kind, Side),
    usual: u32,
    what: Strike,
    dice: &mut Rng,
) {
    let mut ordinal = number(dice.below(index(usual))) + 1;
    while strikes.contains_key(&(kind, side, ordinal)) {
        ordinal += 1;
    }
    strikes.insert((kind, side, ordinal), what);
}

/// About how many requests of a kind there are surely, with room below: what never comes strikes nobody.
const fn usual(kind: Kind, messages: u32) -> u32 {
    match kind {
        Kind::Send | Kind::Poll | Kind::Create | Kind::Write | Kind::Complete => messages / 4 * 3,
        Kind::Look => messages / 20,
        Kind::Renew => messages / 10,
        Kind::Copy => messages / 20,
        Kind::Delete => messages / 10,
        Kind::Abandon => 1,
    }
}

fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const AMOUNTS: Amounts = Amounts {
        messages: 1_000,
        forgetful: 200,
        kills: 40,
        pauses: 12,
        restarts: 3,
        lost_replies: 200,
        repeated_sends: 100,
    };

    #[test]
    fn every_kind_is_struck_on_both_sides() {
        let schedule = Schedule::new(7, AMOUNTS);
        let kinds: BTreeSet<_> = schedule.planned(Strike::Kill).collect();
        assert_eq!(kinds.len(), Kind::ALL.len() * 2);
        assert_eq!(schedule.planned(Strike::Kill).count(), 40);
        assert_eq!(schedule.planned(Strike::Pause).count(), 12);
    }

    #[test]
    fn restarts_are_spread_over_the_work() {
        for seed in 0..50 {
            let restarts = Schedule::new(seed, AMOUNTS).restarts;
            assert_eq!(restarts.len(), 3, "seed {seed}");
            assert!(restarts.is_sorted() && restarts[2] < 1_000 && restarts[0] > 0, "seed {seed}: {restarts:?}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let (one, same, other) = (Schedule::new(7, AMOUNTS), Schedule::new(7, AMOUNTS), Schedule::new(8, AMOUNTS));
        assert_eq!(one.strikes, same.strikes);
        assert_ne!(one.strikes, other.strikes);
        let lost = |schedule: &Schedule| (0..1_000).filter(|n| schedule.loses_reply(Kind::Write, "a", *n)).count();
        assert_eq!(lost(&one), lost(&same));
        assert!((5..50).contains(&lost(&one)), "{} of 1,000 at 2 %", lost(&one));
        let repeated = (0..10_000).filter(|n| one.repeats_send(*n)).count();
        assert!((60..140).contains(&repeated), "{repeated} of 10,000 at 1 %");
    }
}
