//! Receivers that wait for messages: at each sub-queue they stand in line, and the first is served first.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::{Lent, OperationError};
use crate::broker::{EntityPath, ReceiveMode};
use crate::store::Ticket;

/// What a receiver gets that waited: a message with the ticket of its lock, or why there will be none.
pub(super) type Handed = Result<(Lent, Ticket), OperationError>;

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    number: u64,
    pub(super) mode: ReceiveMode,
    /// Closed when the receiver is gone.
    pub(super) hand: oneshot::Sender<Handed>,
}

/// Everybody who waits, by where.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: HashMap<EntityPath, VecDeque<Waiting>>,
    last_number: u64,
}

impl Lines {
    /// Joins the end of a line; answers the number by which it can be left.
    pub(super) fn join(&mut self, path: &EntityPath, mode: ReceiveMode, hand: oneshot::Sender<Handed>) -> u64 {
        self.last_number += 1;
        let waiting = Waiting { number: self.last_number, mode, hand };
        self.lines.entry(path.clone()).or_default().push_back(waiting);
        self.last_number
    }

    /// Leaves a line, if not served yet.
    pub(super) fn leave(&mut self, path: &EntityPath, number: u64) {
        if let Some(line) = self.lines.get_mut(path) {
            // Numbers only grow along a line.
            if let Ok(at) = line.binary_search_by_key(&number, |waiting| waiting.number) {
                line.remove(at);
            }
            if line.is_empty() {
                self.lines.remove(path);
            }
        }
    }

    /// The first in line that is still there, with how it wants to receive.
    pub(super) fn first(&mut self, path: &EntityPath) -> Option<ReceiveMode> {
        let line = self.lines.get_mut(path)?;
        while line.front().is_some_and(|waiting| waiting.hand.is_closed()) {
            line.pop_front();
        }
        match line.front() {
            Some(waiting) => Some(waiting.mode),
            None => {
                self.lines.remove(path);
                None
            }
        }
    }

    /// Takes the first in line.
    pub(super) fn serve(&mut self, path: &EntityPath) -> Option<Waiting> {
        let line = self.lines.get_mut(path)?;
        let first = line.pop_front();
        if line.is_empty() {
            self.lines.remove(path);
        }
        first
    }

    /// How long a line is.
    pub(super) fn len(&self, path: &EntityPath) -> usize {
        self.lines.get(path).map_or(0, VecDeque::len)
    }

    /// Every place where somebody waits.
    pub(super) fn places(&self) -> Vec<EntityPath> {
        self.lines.keys().cloned().collect()
    }
}
