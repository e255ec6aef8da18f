//! How runs are shared among the lanes of a group: a high one goes first, and a low one is never starved.
//!
//! # The rule
//!
//! A group has a number of **slots**, as many as its queues would have runs if each had its own. A lane is **loaded** when its last run brought messages.
//!
//! * A lane that is not loaded has one run that **listens**: a message that comes to an idle lane is received at once. It takes no slot, for it does
//!   nothing.
//! * The slots belong to the loaded lanes, in proportion to their weights: a free slot goes to the lane that has had the least time for its weight (stride
//!   scheduling). So over any while in which the lanes are loaded, each gets its share of the time, to within one run; and what a
//!   lane does not need, the others get.
//! * A lane that becomes loaded starts level with the others: having been idle earns nothing.
//! * A run that came to nothing (early and empty, trouble, no answer) is followed by a pause, as everywhere.
//!
//! Weights fall from the highest lane to the lowest (the configuration sees to that), so the lowest lane's share is the guarantee: with the weights 8 and 1, a
//! ninth of the time, however much comes to the high one.
//!
//! Pure: the clock and chance come in as arguments.

use std::time::Duration;

use oncebus_core::time::Instant;

use super::Next;
use super::backoff;

/// Time is reckoned in microseconds times this, divided by the weight, so that dividing loses nothing that counts.
const SCALE: u128 = 1_000_000;

/// The lanes of one group.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    slots: usize,
}

#[derive(Debug)]
struct Lane {
    weight: u32,
    /// How long its next run is expected to last: as long as its last that brought messages.
    expected: Duration,
    /// The time it has had, for its weight.
    had: u128,
    /// Runs under way.
    flying: usize,
    loaded: bool,
    in_vain: u32,
    paused_until: Option<Instant>,
}

/// A run that may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The lane's place.
    pub(super) lane: usize,
    /// What was charged for it: the time that it is expected to take.
    charged: u128,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) took: Duration,
    /// Whether it brought messages.
    pub(super) worked: bool,
    pub(super) next: Next,
}

impl Lanes {
    /// Lanes of these weights, the highest first, and so many slots, for runs that are asked to last so long.
    pub(super) fn new(weights: impl IntoIterator<Item = u32>, slots: usize, length: Duration) -> Self {
        let lane = |weight: u32| Lane {
            weight: weight.max(1),
            expected: length,
            had: 0,
            flying: 0,
            loaded: false,
            in_vain: 0,
            paused_until: None,
        };
        Self { lanes: weights.into_iter().map(lane).collect(), slots: slots.max(1) }
    }

    /// The next run to begin now, if one may.
    pub(super) fn next(&mut self, now: Instant) -> Option<Turn> {
        for lane in &mut self.lanes {
            lane.paused_until.take_if(|until| *until <= now);
        }
        let ready = |lane: &Lane| lane.paused_until.is_none();
        if let Some(place) = self.lanes.iter().position(|lane| ready(lane) && !lane.loaded && lane.flying == 0) {
            let lane = self.lanes.get_mut(place)?;
            lane.flying += 1;
            return Some(Turn { lane: place, charged: 0 });
        }
        if self.busy() >= self.slots {
            return None;
        }
        let (place, lane) = self
            .lanes
            .iter_mut()
            .enumerate()
            .filter(|(_, lane)| lane.loaded && lane.paused_until.is_none())
            // Of two that have had as much, the higher.
            .min_by_key(|(place, lane)| (lane.had, *place))?;
        lane.flying += 1;
        // Charged now, so that slots that are free at once do not all go to one lane; put right when it is over.
        let charged = lane.cost(lane.expected);
        lane.had = lane.had.saturating_add(charged);
        Some(Turn { lane: place, charged })
    }

    /// Slots in use: all runs but the one that listens at each lane without messages.
    fn busy(&self) -> usize {
        self.lanes.iter().map(|lane| if lane.loaded { lane.flying } else { lane.flying.saturating_sub(1) }).sum()
    }

    /// A run is over.
    pub(super) fn ended(&mut self, turn: Turn, ended: Ended, draw: u64, now: Instant) {
        let level = self.lanes.iter().enumerate().filter(|(place, lane)| lane.loaded && *place != turn.lane);
        let level = level.map(|(_, lane)| lane.had).min().unwrap_or_default();
        let Some(lane) = self.lanes.get_mut(turn.lane) else { return };
        lane.flying = lane.flying.saturating_sub(1);
        lane.had = lane.had.saturating_sub(turn.charged);
        if ended.worked && !lane.loaded {
            lane.had = lane.had.max(level);
        }
        if ended.worked {
            lane.had = lane.had.saturating_add(lane.cost(ended.took));
            lane.expected = ended.took;
        }
        lane.loaded = ended.worked;
        match ended.next {
            Next::AtOnce => lane.in_vain = 0,
            Next::Pause => {
                lane.in_vain += 1;
                lane.paused_until = Some(now.plus(backoff::pause(lane.in_vain, draw)));
            }
        }
    }

    /// When the next pause ends.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.paused_until).min()
    }
}

impl Lane {
    fn cost(&self, time: Duration) -> u128 {
        time.as_micros().saturating_mul(SCALE) / u128::from(self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(20);

    /// A group at work.
    struct Play {
        lanes: Lanes,
        now: Instant,
        flying: Vec<(Instant, Turn)>,
    }

    impl Play {
        fn new(weights: &[u32], slots: usize) -> Self {
            let lanes = Lanes::new(weights.iter().copied(), slots, LENGTH);
            Self { lanes, now: Instant::default(), flying: Vec::new() }
        }

        /// So many runs: each takes as long as `took` says and brings messages where `loaded` says; what is shortest ends first.
        /// The time that each lane's runs had.
        fn runs(
            &mut self,
            runs: usize,
            took: impl Fn(usize) -> Duration,
            loaded: impl Fn(usize, Instant) -> bool,
        ) -> Vec<Duration> {
            let mut had = vec![Duration::ZERO; self.lanes.lanes.len()];
            for _ in 0..runs {
                while let Some(turn) = self.lanes.next(self.now) {
                    self.flying.push((self.now.plus(took(turn.lane)), turn));
                }
                self.flying.sort_by_key(|(end, _)| *end);
                let (end, turn) = self.flying.remove(0);
                self.now = end;
                let worked = loaded(turn.lane, end);
                if worked {
                    had[turn.lane] += took(turn.lane);
                }
                self.lanes.ended(turn, Ended { took: took(turn.lane), worked, next: Next::AtOnce }, 0, end);
            }
            had
        }
    }

    fn shares(had: &[Duration]) -> Vec<f64> {
        let total: f64 = had.iter().map(Duration::as_secs_f64).sum();
        had.iter().map(|had| had.as_secs_f64() / total).collect()
    }

    #[test]
    fn under_load_each_lane_gets_its_share_of_the_time() {
        for (weights, slots) in
            [(vec![8, 1], 2), (vec![8, 1], 5), (vec![4, 2, 1], 6), (vec![1, 1], 4), (vec![100, 1], 2)]
        {
            let total: u32 = weights.iter().sum();
            let shares = shares(&Play::new(&weights, slots).runs(4_000, |_| LENGTH, |_, _| true));
            for (weight, share) in weights.iter().zip(&shares) {
                let expected = f64::from(*weight) / f64::from(total);
                assert!((share - expected).abs() < 0.01, "{weights:?} with {slots} slots: {shares:?}");
            }
        }
    }

    #[test]
    fn runs_of_other_lengths_change_no_share() {
        for (high, low) in [(1_000, 20_000), (20_000, 1_000), (20, 20), (50_000, 50_000)] {
            let took = |lane: usize| Duration::from_millis(if lane == 0 { high } else { low });
            let shares = shares(&Play::new(&[8, 1], 4).runs(40_000, took, |_, _| true));
            assert!((shares[1] - 1.0 / 9.0).abs() < 0.01, "{high} ms and {low} ms: {shares:?}");
        }
    }

    #[test]
    fn what_a_lane_does_not_need_the_others_get() {
        let mut play = Play::new(&[8, 1], 4);
        play.runs(50, |_| LENGTH, |lane, _| lane == 1);
        while play.lanes.next(play.now).is_some() {}
        let flying: Vec<usize> = play.lanes.lanes.iter().map(|lane| lane.flying).collect();
        assert_eq!(flying, [1, 4], "all slots, and a listener at the idle lane");
    }

    #[test]
    fn having_been_idle_earns_nothing() {
        // For an hour nothing comes to the low lane. Then it gets its share, and not an hour of it at once.
        let hour = Instant(Duration::from_secs(3_600));
        let mut play = Play::new(&[8, 1], 2);
        play.runs(600, |_| LENGTH, |lane, now| lane == 0 || now > hour);
        let share = shares(&play.runs(900, |_| LENGTH, |_, _| true))[1];
        assert!((share - 1.0 / 9.0).abs() < 0.02, "{share}");
    }

    #[test]
    fn an_idle_lane_always_has_one_run_that_listens() {
        let mut lanes = Lanes::new([2, 1], 4, LENGTH);
        let now = Instant::default();
        let (a, b) = (lanes.next(now).unwrap(), lanes.next(now).unwrap());
        assert_eq!((a.lane, b.lane, lanes.next(now)), (0, 1, None));
        lanes.ended(a, Ended { took: LENGTH, worked: true, next: Next::AtOnce }, 0, now);
        let turns: Vec<usize> = std::iter::from_fn(|| lanes.next(now)).map(|turn| turn.lane).collect();
        assert_eq!(turns, [0, 0, 0, 0], "all slots; the listener takes none");
    }

    #[test]
    fn a_run_in_vain_is_followed_by_a_pause_of_its_lane_alone() {
        let mut lanes = Lanes::new([2, 1], 2, LENGTH);
        let now = Instant::default();
        let (a, _) = (lanes.next(now).unwrap(), lanes.next(now).unwrap());
        lanes.ended(a, Ended { took: Duration::ZERO, worked: false, next: Next::Pause }, 0, now);
        assert_eq!(lanes.next(now), None);
        let wake = lanes.next_wake().unwrap();
        assert_eq!(wake, now.plus(Duration::from_millis(250)));
        assert_eq!(lanes.next(wake).map(|turn| turn.lane), Some(0));
    }
}
