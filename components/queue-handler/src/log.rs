//! What goes into the log: one JSON object a line, a sentence and fields, with the names of OpenTelemetry's conventions where they
//! have one. No bodies, no secrets.

use oncebus_core::run::{Note, Summary};
use serde_json::{Map, Value, json};

/// A message whose course was not the ordinary one.
pub(crate) fn note(run: &str, queue: &str, note: &Note) {
    let level = note.outcome.level();
    let mut line = line(level, &note.to_string(), queue, run, "process");
    line.insert("messaging.message.id".to_owned(), note.id.as_str().into());
    if let Some(trace) = &note.trace {
        line.insert("trace_id".to_owned(), trace.trace_id().into());
        line.insert("span_id".to_owned(), trace.span_id().into());
    }
    print(line);
}

/// A run that did something, or could not.
pub(crate) fn summary(summary: &Summary) {
    let of_run =
        |level: &str, message: &str, operation: &str| line(level, message, &summary.queue, &summary.run, operation);
    if let Some(trouble) = &summary.trouble {
        let message = format!("the run stopped receiving: {} {}", trouble.service, trouble.detail);
        let mut line = of_run("error", &message, "receive");
        line.insert("error.type".to_owned(), json!(trouble.kind));
        print(line);
    }
    for warning in &summary.warnings {
        print(of_run("error", warning, "receive"));
    }
    if summary.received > 0 {
        let message = format!("the run received {} messages and finished {}", summary.received, summary.done);
        let mut line = of_run("info", &message, "process");
        line.insert("messaging.batch.message_count".to_owned(), summary.received.into());
        for (name, count) in [
            ("done", summary.done),
            ("duplicate", summary.duplicate),
            ("busy", summary.busy),
            ("retried", summary.retried),
            ("parked", summary.parked),
            ("lost", summary.lost),
            ("process_milliseconds", summary.process_milliseconds),
        ] {
            line.insert(format!("oncebus.{name}"), count.into());
        }
        print(line);
    }
}

fn line(level: &str, message: &str, queue: &str, run: &str, operation: &str) -> Map<String, Value> {
    let fields = [
        ("level", level),
        ("message", message),
        ("messaging.system", "servicebus"),
        ("messaging.destination.name", queue),
        ("messaging.operation.type", operation),
        ("oncebus.run", run),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn print(line: Map<String, Value>) {
    println!("{}", Value::Object(line));
}
