//! Runs the checker.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use oncebus_core::config::ConfigError;
use stateright::{Checker, HasDiscoveries, Model};

use crate::rules::{Event, Rule};
use crate::scenarios::Scenario;
use crate::switch::Switch;
use crate::watch::{Watched, World};

/// What an exploration came to.
#[derive(Debug)]
pub struct Explored<A> {
    /// Its scenario's name.
    pub name: &'static str,
    /// Different states that were reached.
    pub states: usize,
    /// How many of them had all their successors looked at. As many as there are states, unless something cut the exploration.
    pub expanded: usize,
    /// Transitions that were taken.
    pub transitions: usize,
    /// The longest way to a state that is shortest.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Rules that were broken, each with the shortest way there.
    pub broken: Vec<(Rule, Vec<A>)>,
    /// Events that should have been reached and were not.
    pub unreached: Vec<Event>,
}

impl<A> Explored<A> {
    /// The way to where this rule is broken.
    #[must_use]
    pub fn way_to(&self, rule: Rule) -> Option<&[A]> {
        self.broken.iter().find(|(broken, _)| *broken == rule).map(|(_, way)| way.as_slice())
    }
}

/// What an exploration answers.
type Outcome<B> = Result<Explored<<<B as World>::Model as Model>::Action>, ConfigError>;

impl<A> fmt::Display for Explored<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, states, expanded, transitions, depth, took, .. } = self;
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{name}: {states} states ({expanded} expanded), {transitions} transitions, depth {depth}, {seconds:.1} s"
        )
    }
}

/// Explores all of a scenario.
///
/// # Errors
/// If the settings that the bounds make are refused.
pub fn explore<B: World>(scenario: &Scenario<B>, threads: usize) -> Outcome<B> {
    check(scenario, None, HasDiscoveries::All, threads)
}

/// Explores all of a scenario with a rule of the protocol broken.
///
/// # Errors
/// If the settings that the bounds make are refused.
pub fn explore_broken<B: World>(scenario: &Scenario<B>, switch: Switch) -> Outcome<B> {
    check(scenario, Some(switch), HasDiscoveries::All, 1)
}

/// Explores a scenario with a rule of the protocol broken, until this rule of ours falls.
///
/// # Errors
/// If the settings that the bounds make are refused.
pub fn find<B: World>(scenario: &Scenario<B>, switch: Switch, rule: Rule) -> Outcome<B> {
    check(scenario, Some(switch), HasDiscoveries::AllOf([rule.name()].into()), 1)
}

fn check<B: World>(
    scenario: &Scenario<B>,
    switch: Option<Switch>,
    until: HasDiscoveries,
    threads: usize,
) -> Outcome<B> {
    let started = Instant::now();
    let reaches = if switch.is_none() { scenario.reaches } else { &[] };
    let model = scenario.bounds.model(switch, reaches)?;
    let expanded = model.watch().expanded();
    // Breadth first: the first way that is found to a state is a shortest one.
    let checker = model.checker().threads(threads).finish_when(until).spawn_bfs().join();
    let took = started.elapsed();
    // Before the ways are walked again, which counts as well.
    let expanded = expanded.load(Ordering::Relaxed);
    let discoveries = checker.discoveries();
    let way = |rule: Rule| Some((rule, discoveries.get(rule.name())?.clone().into_actions()));
    Ok(Explored {
        name: scenario.name,
        states: checker.unique_state_count(),
        expanded,
        transitions: checker.state_count(),
        depth: checker.max_depth(),
        took,
        broken: crate::RULES.into_iter().filter_map(way).collect(),
        unreached: reaches.iter().copied().filter(|event| !discoveries.contains_key(event.name())).collect(),
    })
}
