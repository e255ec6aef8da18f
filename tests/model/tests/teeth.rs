//! What the protocol rests on is broken, one thing at a time, and the checker finds what comes of it.
//!
//! Each is looked for within bounds in which nothing is found while nothing is broken: they are explored without the switch first.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use oncebus_model::keys::KeyBounds;
use oncebus_model::{
    Bounds, Budget, RULES, Retention, Rule, SWITCHES, Scenario, Switch, World, explore, explore_broken, find, scenarios,
};

const PLAIN: Bounds = Bounds {
    workers: 2,
    sent: &["a"],
    steps: 1,
    large_checkpoints: false,
    max_deliveries: 10,
    max_attempts: 3,
    retention: None,
    budget: Budget::NONE,
};

/// A worker sleeps until its claim is over, and its message is delivered again.
const SLEEPER: Bounds = with(1, Budget { ticks: 2, lapses: 1, ..Budget::NONE });
const REDELIVERY: Budget = Budget { lapses: 1, ..Budget::NONE };
const CRASH: Budget = Budget { crashes: 1, ..Budget::NONE };
const FAILURE: Budget = Budget { failures: 1, ..Budget::NONE };

/// No sweep may take so early what an operator may still reopen: the epochs begin again.
const SWEPT_AT_ONCE: Bounds = Bounds {
    workers: 1,
    retention: Some(Retention { messages: 1, records: 0 }),
    budget: Budget { rejections: 1, redrives: 1, sweeps: 1, ..Budget::NONE },
    ..PLAIN
};

const fn with(steps: u8, budget: Budget) -> Bounds {
    Bounds { steps, budget, ..PLAIN }
}

/// Two messages of one key.
const KEYED: KeyBounds = KeyBounds { budget: Budget::NONE, ..scenarios::KEY_DEATHS.bounds };
const KEY_FAILURE: KeyBounds = KeyBounds { budget: FAILURE, ..KEYED };
const KEY_HELD_BACK: KeyBounds = KeyBounds { hold: true, ..KEY_FAILURE };

/// Each of the rules falls when the switch is on; none does while it is off.
fn fall<B: World>(switch: Switch, rules: &[Rule], bounds: B) {
    let scenario = Scenario { name: "teeth", bounds, reaches: &[] };
    let kept = explore(&scenario, 1).unwrap();
    assert_eq!(kept.broken, [], "with nothing broken");
    assert_eq!(kept.states, kept.expanded, "cut short");
    fall_within(switch, rules, &scenario);
}

/// The same, within bounds in which other rules fall anyway.
fn fall_alone(switch: Switch, rules: &[Rule], bounds: Bounds) {
    let scenario = Scenario { name: "teeth", bounds, reaches: &[] };
    let kept = explore(&scenario, 1).unwrap();
    assert!(rules.iter().all(|rule| kept.way_to(*rule).is_none()), "with nothing broken");
    fall_within(switch, rules, &scenario);
}

/// The same, within a scenario that is large: that none falls while the switch is off is asserted by `tests/rules.rs`.
fn fall_within<B: World>(switch: Switch, rules: &[Rule], scenario: &Scenario<B>) {
    for rule in rules {
        let found = find(scenario, switch, *rule).unwrap();
        let way = found.way_to(*rule).unwrap_or_else(|| panic!("{switch:?} does not break {rule:?}: {found}"));
        println!("{switch:?}: \"{}\" falls after {} transitions:", rule.name(), way.len());
        for action in way {
            println!("    {action:?}");
        }
    }
}

macro_rules! teeth {
    ($($test:ident: $switch:ident, $fall:ident($bounds:expr) => [$($rule:ident),*];)*) => {
        const TEETH: &[(Switch, &[Rule])] = &[$((Switch::$switch, &[$(Rule::$rule),*])),*];
        $(
            #[test]
            fn $test() {
                $fall(Switch::$switch, &[$(Rule::$rule),*], $bounds);
            }
        )*
    };
}

teeth! {
    without_if_match_on_a_takeover_two_workers_have_one_epoch:
        NoIfMatchOnTakeover, fall(SLEEPER) => [EpochsRise, DoneIsFinal];
    a_record_that_is_deleted_on_release_begins_its_epochs_again:
        DeleteOnRelease, fall(SLEEPER) => [EpochsRise];
    a_record_that_is_deleted_on_release_forgets_its_checkpoint:
        DeleteOnRelease, fall(with(2, Budget { deadlines: 1, ..Budget::NONE })) => [CheckpointsStay];
    a_client_clock_that_is_wrong_takes_over_what_has_not_expired:
        ClientClock, fall(with(1, REDELIVERY)) => [OnlyExpiredIsTaken, RepeatsHaveReasons];
    a_retry_without_the_mark_takes_the_claim_of_another_for_its_own:
        RetryWithoutMark, fall(with(1, Budget { unanswered: 1, ..REDELIVERY })) => [OnlyTheHolderWrites, StepsBeginClaimed];
    a_delivery_that_is_settled_before_its_record_is_done_is_lost:
        SettleBeforeDone, fall(with(1, CRASH)) => [CompletedLast, NothingIsLost];
    a_delivery_that_is_settled_before_its_copy_is_made_is_lost:
        SettleBeforeCopy, fall(with(1, Budget { crashes: 1, ..FAILURE })) => [CompletedLast, NothingIsLost];
    without_epochs_the_stores_take_what_a_sleeper_sends:
        NoEpoch, fall(SLEEPER) => [EpochsRise, EffectsAreFenced, NoEffectAfterDone];
    a_monotonic_clock_that_stands_still_begins_a_step_too_late:
        StoppedClock, fall(SLEEPER) => [StepsBeginClaimed];
    a_write_that_is_acknowledged_and_not_kept_is_noticed:
        LostWrites, fall(with(1, Budget { rejections: 1, ..Budget::NONE })) => [CompletedLast, PoisonIsParked];
    a_checkpoint_that_is_dropped_is_noticed:
        DroppedCheckpoint, fall(with(2, Budget { deadlines: 1, ..Budget::NONE })) => [RecordsAreReadable, CheckpointsStay];
    a_failed_step_that_is_called_again_under_its_claim_has_its_effect_twice:
        RetryInPlace, fall(with(1, FAILURE)) => [EffectsAreSingle];
    an_effect_that_is_assumed_may_be_missing_or_late:
        AssumedEffect, fall(with(1, FAILURE)) => [DoneIsComplete, NoEffectAfterDone];
    without_if_match_an_operator_reopens_what_is_not_parked:
        NoIfMatchOnRedrive, fall_within(&scenarios::REDRIVEN) => [OnlyParkedIsReopened];
    a_letter_that_is_settled_before_its_message_is_sent_back_is_lost:
        LetterFirst, fall_within(&scenarios::REDRIVEN_DEATHS) => [CompletedLast, NothingIsLost];
    a_record_that_is_swept_too_early_is_forgotten:
        SweptTooEarly, fall_within(&scenarios::SWEPT) => [DoneIsFinal, NoEffectAfterDone];
    without_if_match_a_sweep_deletes_what_was_reopened:
        NoIfMatchOnSweep, fall_alone(SWEPT_AT_ONCE) => [OnlyOverIsSwept];
    without_if_match_on_a_takeover_two_runs_have_one_key:
        NoIfMatchOnTakeover, fall_within(&scenarios::KEY_PAUSES) => [OnlyExpiredIsTaken, KeysTakeTurns];
    a_client_clock_that_is_wrong_takes_over_a_key_that_is_in_use:
        ClientClock, fall(KEYED) => [OnlyExpiredIsTaken, KeysTakeTurns];
    a_monotonic_clock_that_stands_still_begins_a_step_without_its_key:
        StoppedClock, fall_within(&scenarios::KEY_PAUSES) => [KeysAreHeld];
    without_epochs_the_store_of_a_key_takes_what_a_sleeper_sends:
        NoEpoch, fall_within(&scenarios::KEY_PAUSES) => [KeysFenceEffects];
    a_copy_that_comes_without_its_key_is_begun_beside_the_others:
        KeylessCopies, fall(KEY_FAILURE) => [KeysAreHeld, KeysTakeTurns];
    a_lock_that_forgets_who_goes_first_lets_the_next_overtake:
        DroppedBlock, fall(KEY_HELD_BACK) => [HeldBackWait];
    a_block_that_is_never_seen_to_end_holds_for_ever:
        StaleBlock, fall_within(&scenarios::KEY_HOLD_DEATHS) => [BlocksHeal];
}

#[test]
fn no_rule_is_without_a_tooth_and_no_switch_without_a_use() {
    for rule in RULES {
        assert!(TEETH.iter().any(|(_, rules)| rules.contains(&rule)), "nothing breaks {rule:?}");
    }
    for switch in SWITCHES {
        assert!(TEETH.iter().any(|(used, _)| *used == switch), "{switch:?} is not used");
    }
}

/// The worker's own clock keeps a step from beginning under a claim that is over. Everything else rests on the storage alone, and
/// holds with a clock that stands still.
#[test]
fn a_monotonic_clock_that_stands_still_costs_nothing_else() {
    let scenario = Scenario { name: "a clock that stands still", bounds: SLEEPER, reaches: &[] };
    let explored = explore_broken(&scenario, Switch::StoppedClock).unwrap();
    assert_eq!(explored.states, explored.expanded, "cut short");
    let broken: Vec<Rule> = explored.broken.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(broken, [Rule::StepsBeginClaimed], "{explored}");
}
