//! A processor for tests: the message's body says how it fails.
//!
//! A body that is JSON with a key `flaky` is a plan, every part of which may be left out:
//!
//! ```json
//! {"flaky": {
//!     "steps": 3,                 // answers `more` until its third step; the checkpoint is the number of the next one
//!     "checkpoint_bytes": 4097,   // pads the checkpoints with spaces to this length
//!     "retry_until_attempt": 4,   // attempts 1 to 3 answer `retry` …
//!     "after_seconds": 2,         // … not before so many seconds
//!     "reject": "no such account",// answers `reject`
//!     "trap": true,               // traps at every attempt
//!     "trap_until_epoch": 2,      // traps while the epoch is lower
//!     "at_step": 1,               // the step at which it retries, rejects or traps; 0 if absent
//!     "answers": -1,              // adds so many answers to the batch's, or takes them away
//!     "result": "42"              // the text that goes with `done`
//! }}
//! ```
//!
//! Of several, a trap goes before `retry`, that before `reject`. A plan that does not parse is rejected. Any other body is done at once.
//!
//! As the store does, it writes a row of the table `messages` for what is done and, with `effects = "true"`, a line of
//! the table `effects` for every step. A trap comes after both are written: the worst moment, when the effect
//! is there and nobody was told. And it rejects a checkpoint that is not the one of this step: a handler that
//! mixes them up shows.

use oncebus_processor_kit::bindings::exports::oncebus::processor::process::{Guest, Message, Retry, Step};
use oncebus_processor_kit::{Database, DatabaseError, bindings, effects, messages, retry};
use serde::Deserialize;

struct Flaky;

bindings::export!(Flaky);

impl Guest for Flaky {
    fn process(batch: Vec<Message>) -> Vec<Step> {
        let plans: Vec<Plan> = batch.iter().map(Plan::of).collect();
        let acts: Vec<Act> = plans.iter().zip(&batch).map(|(plan, message)| plan.act(message)).collect();
        let Err(error) = write(&batch, &acts) else {
            return answers(&plans, acts);
        };
        batch.iter().map(|_| retry(&error)).collect()
    }
}

/// What one message makes the processor do.
enum Act {
    Answer(Step),
    Trap,
}

fn write(batch: &[Message], acts: &[Act]) -> Result<(), DatabaseError> {
    let named = batch.iter().zip(acts).map(|(message, act)| match act {
        Act::Answer(step) => (message, effects::outcome(step)),
        Act::Trap => (message, "trap"),
    });
    let done = batch
        .iter()
        .zip(acts)
        .filter(|(_, act)| matches!(act, Act::Trap | Act::Answer(Step::Done(_))))
        .map(|(message, _)| message);
    Database::with(|database| {
        if effects::wanted(batch) {
            effects::append(database, named)?;
        }
        messages::store(database, done)?;
        Ok(())
    })
}

#[expect(clippy::panic, reason = "a trap was asked for")]
fn answers(plans: &[Plan], acts: Vec<Act>) -> Vec<Step> {
    let mut steps = Vec::new();
    for act in acts {
        match act {
            Act::Answer(step) => steps.push(step),
            Act::Trap => panic!("a trap, as the message asks"),
        }
    }
    let more: isize = plans.iter().map(|plan| plan.answers).sum();
    steps.resize(steps.len().saturating_add_signed(more), Step::Done(None));
    steps
}

#[derive(Deserialize)]
struct Body {
    flaky: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Plan {
    steps: u32,
    checkpoint_bytes: usize,
    retry_until_attempt: u32,
    after_seconds: Option<u32>,
    reject: Option<String>,
    trap: bool,
    trap_until_epoch: u64,
    at_step: u32,
    answers: isize,
    result: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            steps: 1,
            checkpoint_bytes: 0,
            retry_until_attempt: 0,
            after_seconds: None,
            reject: None,
            trap: false,
            trap_until_epoch: 0,
            at_step: 0,
            answers: 0,
            result: None,
        }
    }
}

impl Plan {
    fn of(message: &Message) -> Self {
        let Ok(Body { flaky }) = serde_json::from_slice(&message.body) else {
            return Self::default();
        };
        serde_json::from_value(flaky).unwrap_or_else(|error| Self {
            reject: Some(format!("the plan does not parse: {error}")),
            at_step: message.step,
            ..Self::default()
        })
    }

    fn act(&self, message: &Message) -> Act {
        if message.checkpoint != self.checkpoint(message.step) {
            let step = message.step;
            return Act::Answer(Step::Reject(format!("the checkpoint is not the one of step {step}")));
        }
        if message.step == self.at_step {
            if self.trap || message.epoch < self.trap_until_epoch {
                return Act::Trap;
            }
            if message.attempt < self.retry_until_attempt {
                return Act::Answer(Step::Retry(Retry {
                    reason: format!("attempt {} is to fail", message.attempt),
                    after_seconds: self.after_seconds,
                }));
            }
            if let Some(reason) = &self.reject {
                return Act::Answer(Step::Reject(reason.clone()));
            }
        }
        let next = message.step.saturating_add(1);
        Act::Answer(match self.checkpoint(next) {
            Some(checkpoint) if next < self.steps => Step::More(checkpoint),
            _ => Step::Done(self.result.clone()),
        })
    }

    /// What `message.checkpoint` must be in this step.
    fn checkpoint(&self, step: u32) -> Option<Vec<u8>> {
        let width = self.checkpoint_bytes;
        (step > 0).then(|| format!("{step:<width$}").into_bytes())
    }
}
