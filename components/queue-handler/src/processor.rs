//! Translates between the core's words and the processor's.

use std::collections::BTreeMap;
use std::time::Duration;

use oncebus_core::run::{Step, Work};

mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "handler" });
}

use bindings::oncebus::processor::process::{self, Message};

/// Calls the processor with a batch.
pub(crate) fn process(run: &str, work: Vec<Work>, settings: &BTreeMap<String, String>) -> Vec<Step> {
    let batch: Vec<Message> = work.into_iter().map(|work| message(run, work, settings)).collect();
    process::process(&batch).into_iter().map(step).collect()
}

fn message(run: &str, work: Work, settings: &BTreeMap<String, String>) -> Message {
    Message {
        id: work.id,
        queue: work.queue,
        group: work.group,
        key: work.key,
        content_type: work.content_type,
        body: Vec::from(work.body),
        properties: work.properties,
        enqueued_at_ms: work.enqueued_at.0.saturating_mul(1_000),
        delivery_count: work.delivery_count,
        attempt: work.attempt,
        epoch: work.epoch,
        key_epoch: work.key_epoch,
        step: work.step,
        checkpoint: work.checkpoint,
        time_left_ms: u32::try_from(work.time_left.as_millis()).unwrap_or(u32::MAX),
        run: run.to_owned(),
        settings: settings.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

fn step(step: process::Step) -> Step {
    match step {
        process::Step::Done(result) => Step::Done(result),
        process::Step::More(checkpoint) => Step::More(checkpoint),
        process::Step::Retry(retry) => Step::Retry {
            reason: retry.reason,
            after: retry.after_seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
        },
        process::Step::Reject(reason) => Step::Reject(reason),
    }
}
