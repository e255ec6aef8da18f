//! The table `effects`: a line for every step that ran, for demos and tests.
//!
//! It has no unique key on purpose. What the table of messages hides so well, a step that ran twice,
//! shows here as two lines with the same id and step. `outcome` is what the step was about to answer when the line was
//! written, which is before the table of messages is touched: a step that dies then is exactly the one that may run twice.

use serde::Serialize;

use crate::bindings::exports::oncebus::processor::process::{Message, Step};
use crate::messages::json;
use crate::{Database, DatabaseError, setting};

/// `lower_case` names of a step's answer, and `trap` for one that never comes.
pub type Outcome = &'static str;

pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS effects (
        id TEXT NOT NULL,
        queue TEXT NOT NULL,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        delivery_count INTEGER NOT NULL,
        run TEXT NOT NULL,
        outcome TEXT NOT NULL
    ) STRICT"];

const INSERT: &str = "\
    INSERT INTO effects (id, queue, step, epoch, attempt, delivery_count, run, outcome)
    SELECT e.value ->> 'id', e.value ->> 'queue', e.value ->> 'step', e.value ->> 'epoch', e.value ->> 'attempt',
           e.value ->> 'delivery_count', e.value ->> 'run', e.value ->> 'outcome'
    FROM json_each(?1) AS e";

/// Whether the setting `effects = "true"` asks for the log.
#[must_use]
pub fn wanted(batch: &[Message]) -> bool {
    setting(batch, "effects") == Some("true")
}

/// What the log calls an answer.
#[must_use]
pub fn outcome(step: &Step) -> Outcome {
    match step {
        Step::Done(_) => "done",
        Step::More(_) => "more",
        Step::Retry(_) => "retry",
        Step::Reject(_) => "reject",
    }
}

/// Appends a line for each message, in one statement.
///
/// # Errors
///
/// When SQLite refuses: then no line was written.
pub fn append<'a>(
    database: &Database,
    steps: impl Iterator<Item = (&'a Message, Outcome)>,
) -> Result<(), DatabaseError> {
    let rows: Vec<Row<'_>> = steps.map(|(message, outcome)| Row::of(message, outcome)).collect();
    if !rows.is_empty() {
        database.execute("log the effects", INSERT, &[json(&rows)])?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    queue: &'a str,
    step: u32,
    epoch: u64,
    attempt: u32,
    delivery_count: u32,
    run: &'a str,
    outcome: Outcome,
}

impl<'a> Row<'a> {
    fn of(message: &'a Message, outcome: Outcome) -> Self {
        Self {
            id: &message.id,
            queue: &message.queue,
            step: message.step,
            epoch: message.epoch,
            attempt: message.attempt,
            delivery_count: message.delivery_count,
            run: &message.run,
            outcome,
        }
    }
}
