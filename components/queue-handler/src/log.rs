//! What goes into the log: one JSON object a line, a sentence and fields. No bodies, no secrets.

use oncebus_core::run::{Note, Outcome, Summary};
use serde_json::json;

/// A message whose course was not the ordinary one.
pub(crate) fn note(run: &str, queue: &str, note: &Note) {
    let level = match note.outcome {
        Outcome::Denied(_) => "error",
        Outcome::Lost | Outcome::Parked | Outcome::Mismatched | Outcome::Unsettled(_) => "warn",
        _ => "info",
    };
    print(&json!({ "level": level, "message": note.to_string(), "queue": queue, "run": run, "message_id": note.id }));
}

/// A run that did something, or could not.
pub(crate) fn summary(summary: &Summary) {
    if let Some(trouble) = &summary.trouble {
        let message = format!("the run stopped receiving: {} {}", trouble.service, trouble.detail);
        print(&json!({ "level": "error", "message": message, "queue": summary.queue, "run": summary.run }));
    }
    if summary.received > 0 {
        let message = format!("the run received {} messages and finished {}", summary.received, summary.done);
        print(&json!({ "level": "info", "message": message, "queue": summary.queue, "run": summary.run,
            "received": summary.received, "done": summary.done, "duplicate": summary.duplicate, "busy": summary.busy,
            "retried": summary.retried, "parked": summary.parked, "lost": summary.lost,
            "process_milliseconds": summary.process_milliseconds }));
    }
}

fn print(line: &serde_json::Value) {
    println!("{line}");
}
