//! Every rule holds in every state within the bounds, and everything that should be reachable is reached.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use oncebus_model::scenarios::{self, Scenario};
use oncebus_model::{Budget, World, explore};

fn holds<B: World>(scenario: &Scenario<B>) {
    let explored = explore(scenario, 1).unwrap();
    println!("{explored}");
    for (rule, way) in &explored.broken {
        println!("broken: {}", rule.name());
        for action in way {
            println!("    {action:?}");
        }
    }
    assert!(explored.broken.is_empty(), "{}: a rule is broken", scenario.name);
    assert_eq!(explored.unreached, [], "{}: not reached", scenario.name);
    // A limit, or a find that ends the search, would leave states whose successors nobody has looked at.
    assert_eq!(explored.expanded, explored.states, "{}: cut short", scenario.name);
}

macro_rules! explored {
    ($($test:ident: $scenario:ident,)*) => { $(
        #[test]
        fn $test() {
            holds(&scenarios::$scenario);
        }
    )* };
}

explored! {
    deaths_and_pauses: DEATHS,
    writes_without_answers: UNANSWERED,
    a_message_that_was_sent_twice: TWICE,
    failures_and_rejections: FAILURES,
    attempts_used_up_by_a_death: EXHAUSTED,
    another_payload_under_the_id: MISMATCH,
    work_in_steps_over_several_runs: LONG,
    claims_that_are_renewed: RENEWED,
    large_checkpoints: LARGE,
    busy_until_the_deliveries_run_out: BUSY,
    a_message_that_kills: KILLER,
    redeliveries_alone: CALM,
    three_workers: THREE,
    redrive_beside_a_late_original: REDRIVEN,
    redrive_and_deaths: REDRIVEN_DEATHS,
    redrive_without_answers: REDRIVEN_UNANSWERED,
    sweeping_beside_redeliveries: SWEPT,
    lock_keys_and_deaths: KEY_DEATHS,
    lock_keys_and_pauses: KEY_PAUSES,
    lock_keys_and_writes_without_answers: KEY_UNANSWERED,
    lock_keys_whose_failures_let_the_next_go_on: KEY_CONTINUE,
    lock_keys_whose_failures_hold_back: KEY_HOLD,
    lock_keys_whose_deaths_hold_back: KEY_HOLD_DEATHS,
}

/// Wider bounds, for a machine with time: `cargo nextest run -p oncebus-model --run-ignored only --no-capture`.
mod wide {
    use super::*;

    #[test]
    #[ignore = "takes minutes"]
    fn deaths_pauses_and_writes_without_answers() {
        let budget = Budget { unanswered: 1, ..scenarios::DEATHS.bounds.budget };
        let name = "wide: deaths, pauses and writes without answers";
        let mut scenario = Scenario { name, ..scenarios::DEATHS };
        scenario.bounds.budget = budget;
        holds(&scenario);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn lock_keys_that_hold_back_deaths_and_failures() {
        let mut scenario =
            Scenario { name: "wide: lock keys that hold back, deaths and failures", ..scenarios::KEY_HOLD_DEATHS };
        scenario.bounds.budget.failures = 1;
        holds(&scenario);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn three_workers_that_die_and_sleep() {
        let mut scenario = Scenario { name: "wide: three workers, deaths and pauses", ..scenarios::THREE };
        scenario.bounds.budget.crashes = 1;
        holds(&scenario);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn three_workers_and_writes_without_answers() {
        let mut scenario = Scenario { name: "wide: three workers, writes without answers", ..scenarios::THREE };
        scenario.bounds.budget.unanswered = 1;
        holds(&scenario);
    }
}
