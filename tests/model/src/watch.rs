//! What a model notes besides its states: what has happened on a transition, which rules were told to be broken, how many states
//! were expanded.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use oncebus_core::config::ConfigError;
use stateright::Model;

use crate::rules::{Broken, Event, Rule};
use crate::switch::Switch;

/// Bounds within which a model is explored.
pub trait World: Copy {
    /// The model.
    type Model: Watched<State: Clone + PartialEq + Hash + Debug + Send + Sync + 'static, Action: Clone + PartialEq + Debug>
        + Send
        + Sync
        + 'static;

    /// The model within these bounds, with something that it rests on broken or nothing.
    ///
    /// # Errors
    /// If the settings that the bounds make are refused.
    fn model(self, switch: Option<Switch>, reaches: &'static [Event]) -> Result<Self::Model, ConfigError>;
}

/// A model that the rules can judge.
pub trait Watched: Model {
    /// What it notes.
    fn watch(&self) -> &Watch;

    /// The rules that were broken on the way to a state.
    fn broken(state: &Self::State) -> Broken;
}

/// What a model notes.
#[derive(Debug)]
pub struct Watch {
    pub(crate) reaches: &'static [Event],
    /// Events that have happened on some transition, whether or not it led to a state that was new.
    happened: AtomicU32,
    /// Rules that were told to be broken.
    told: AtomicU32,
    expanded: Arc<AtomicUsize>,
}

impl Watch {
    pub(crate) fn new(reaches: &'static [Event]) -> Self {
        Self { reaches, happened: AtomicU32::new(0), told: AtomicU32::new(0), expanded: Arc::default() }
    }

    /// Whether this rule's fall is to be told: the first time.
    pub(crate) fn tells(&self, rule: Rule) -> bool {
        self.told.fetch_or(rule.bit(), Ordering::Relaxed) & rule.bit() == 0
    }

    pub(crate) fn note(&self, event: Event) {
        self.happened.fetch_or(event.bit(), Ordering::Relaxed);
    }

    pub(crate) fn has_seen(&self, event: Event) -> bool {
        self.happened.load(Ordering::Relaxed) & event.bit() != 0
    }

    /// A state is expanded.
    pub(crate) fn expands(&self) {
        self.expanded.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the states that were expanded, for whoever wants to know that all were.
    pub(crate) fn expanded(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.expanded)
    }
}
