//! What is left when it is over: rows, the log of effects, records, messages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use http::Method;
use oncebus_core::record::Record;
use oncebus_host::{App, LogSink, Value};
use oncebus_runtime::platform::native::Native;
use serde::Deserialize;
use serde_json::Value as Json;

use super::effects::Effect;
use super::emulator::Emulator;
use super::queues::Queue;
use super::stage::CONTAINER;
use super::verdict::Found;

/// A file that takes what components print.
pub(super) fn log(path: &Path) -> anyhow::Result<LogSink> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let file = Mutex::new(file);
    Ok(LogSink::new(move |line| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk shows elsewhere.
        let _ = writeln!(file, "{} {}", line.component, line.text);
    }))
}

/// The ids in the store, each as often as it stands there.
pub(super) fn stored(app: &App) -> Vec<String> {
    query(app, "SELECT id FROM messages").into_iter().filter_map(|row| text(row.first()?)).collect()
}

/// How many messages are left on the queues and on their dead-letter queues.
pub(super) async fn left_in_queues(emulator: &Emulator, platform: &Native) -> anyhow::Result<u64> {
    let mut left = 0;
    for name in Queue::ALL.map(Queue::name) {
        left += queue(emulator, platform, name).await?.messages.len();
        left += queue(emulator, platform, &format!("{name}/$DeadLetterQueue")).await?.messages.len();
    }
    u64::try_from(left).context("too many messages")
}

/// Everything but what was sent.
pub(super) async fn gather(emulator: &Emulator, platform: &Native, app: &App) -> anyhow::Result<Found> {
    let mut found = Found {
        stored: stored(app),
        effects: query(app, "SELECT rowid, id, step, epoch, run, outcome FROM effects ORDER BY rowid")
            .iter()
            .map(|row| effect(row).context("a line of the log of effects cannot be read"))
            .collect::<anyhow::Result<_>>()?,
        left_in_queue: left_in_queues(emulator, platform).await?,
        ..Found::default()
    };
    for name in Queue::ALL.map(Queue::poison) {
        let poison = queue(emulator, platform, &name).await?;
        found.poisoned.extend(poison.messages.iter().filter_map(PoisonCopy::id));
    }

    let blobs = emulator.admin(platform, Method::GET, &format!("/containers/{CONTAINER}"), &Json::Null).await?;
    let blobs: Vec<Blob> = serde_json::from_value(blobs).context("the emulator's list of blobs")?;
    for blob in blobs.into_iter().filter(|blob| !blob.name.starts_with("keys/") && !blob.name.contains(".cp/")) {
        match Record::from_metadata(&blob.metadata) {
            Ok(record) => drop(found.records.insert(blob.name, record)),
            Err(error) => found.unreadable.push(format!("{}: {error}", blob.name)),
        }
    }
    Ok(found)
}

/// A blob as the admin port shows it.
#[derive(Deserialize)]
struct Blob {
    name: String,
    metadata: BTreeMap<String, String>,
}

/// A queue as the admin port shows it.
#[derive(Deserialize)]
struct Held {
    messages: Vec<PoisonCopy>,
}

/// What of a message matters here.
#[derive(Deserialize)]
struct PoisonCopy {
    properties: BTreeMap<String, Json>,
}

impl PoisonCopy {
    fn id(&self) -> Option<String> {
        self.properties.get("oncebus-id")?.as_str().map(str::to_owned)
    }
}

async fn queue(emulator: &Emulator, platform: &Native, name: &str) -> anyhow::Result<Held> {
    let queue = emulator.admin(platform, Method::GET, &format!("/queues/{name}?top=1000000"), &Json::Null).await?;
    serde_json::from_value(queue).with_context(|| format!("the emulator's view of {name}"))
}

/// Nothing while the table is not there yet.
fn query(app: &App, statement: &str) -> Vec<Vec<Value>> {
    app.database().and_then(|database| database.query(statement, &[]).ok()).unwrap_or_default()
}

fn effect(row: &[Value]) -> Option<Effect> {
    let [at, id, step, epoch, run, outcome] = row else { return None };
    Some(Effect {
        row: integer(at)?,
        id: text(id)?,
        step: integer(step)?.try_into().ok()?,
        epoch: integer(epoch)?.try_into().ok()?,
        run: text(run)?,
        outcome: text(outcome)?,
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        _ => None,
    }
}
