//! The default processor: the whole batch into SQLite, in one statement.
//!
//! * Every message becomes one row of the table `messages`, once, whichever attempt gets there first
//!   ([`oncebus_processor_kit::messages`] has the columns and says why the id is the key).
//! * A message whose id is in the table with another body is rejected: it would otherwise be lost in silence.
//! * When SQLite refuses, nothing of the batch was written, and every message is retried.
//! * With the setting `effects = "true"`, every step is also logged in the table `effects`, before its row is
//!   written, so that what ran twice is seen ([`oncebus_processor_kit::effects`]).
//!
//! The database is the Spin database `default`: the manifest grants it with
//! `inherit_configuration = ["sqlite_databases"]`.

use oncebus_processor_kit::bindings::exports::oncebus::processor::process::{Guest, Message, Step};
use oncebus_processor_kit::messages::Outcome;
use oncebus_processor_kit::{Database, DatabaseError, bindings, effects, messages, retry};

struct Store;

bindings::export!(Store);

impl Guest for Store {
    fn process(batch: Vec<Message>) -> Vec<Step> {
        match store(&batch) {
            Ok(steps) => steps,
            Err(error) => batch.iter().map(|_| retry(&error)).collect(),
        }
    }
}

fn store(batch: &[Message]) -> Result<Vec<Step>, DatabaseError> {
    Database::with(|database| {
        if effects::wanted(batch) {
            effects::append(database, batch.iter().map(|message| (message, "done")))?;
        }
        let outcomes = messages::store(database, batch.iter())?;
        Ok(outcomes.into_iter().map(answer).collect())
    })
}

fn answer(outcome: Outcome) -> Step {
    match outcome {
        Outcome::Stored => Step::Done(None),
        Outcome::Taken => Step::Reject("the id is in the store with another body".to_owned()),
    }
}
