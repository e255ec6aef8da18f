//! The messages of a chaos, and how they come in: over HTTP, by clients that try until they are accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, StatusCode, header};
use oncebus_core::time::Instant;
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;
use serde_json::{Value, json};

use super::queues::Queue;
use super::schedule::Schedule;
use crate::rng::Rng;

/// Clients at work at once.
const CLIENTS: usize = 8;
/// The longest that one request may take.
const EACH: Duration = Duration::from_secs(10);
/// Between two tries of a client that got no 202.
const AGAIN: Duration = Duration::from_millis(200);
/// About how many messages share a key.
const PER_KEY: u32 = 8;

/// One message: what it says is what the test processor does with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Its id.
    pub(super) id: String,
    /// Where it goes.
    pub(super) queue: Queue,
    /// Its lock key.
    pub(super) key: Option<String>,
    /// Its body.
    pub(super) body: Value,
    /// Whether the processor is to reject it.
    pub(super) rejected: bool,
}

/// The messages for a seed: `count` on queues that remember, and `forgetful` on the one that forgets. `rejects` of 10,000 are to be
/// rejected.
pub(super) fn messages(seed: u64, count: u32, forgetful: u32, rejects: u32) -> Vec<Message> {
    let seed = Rng(seed);
    let mut messages: Vec<Message> = (0..count)
        .map(|number| {
            let mut dice = seed.about("message", number.into());
            let (body, rejected) = work(number, rejects, &mut dice);
            let keys = |share: u32| usize::try_from(count * share / 100 / PER_KEY + 1).unwrap_or(1);
            let (queue, key) = match dice.below(100) {
                0..20 => (Queue::Holding, Some(format!("held-{}", dice.below(keys(20))))),
                20..45 => (Queue::Plain, Some(format!("key-{}", dice.below(keys(25))))),
                _ => (Queue::Plain, None),
            };
            Message { id: format!("chaos-{number:06}"), queue, key, body, rejected }
        })
        .collect();
    messages.extend((0..forgetful).map(|number| {
        let (body, rejected) = work(number, rejects, &mut seed.about("forgetful", number.into()));
        Message { id: format!("forget-{number:06}"), queue: Queue::Forgetful, key: None, body, rejected }
    }));
    // All queues have work from the beginning.
    seed.about("order", 0).shuffle(&mut messages);
    messages
}

/// What the processor is to do with a message, and whether it is to reject it.
fn work(number: u32, rejects: u32, dice: &mut Rng) -> (Value, bool) {
    let rejected = dice.happens(rejects);
    let plan = match dice.below(100) {
        _ if rejected => json!({ "reject": "as the message asks" }),
        0..70 => json!({}),
        70..85 => json!({ "steps": 3 }),
        85..93 => json!({ "retry_until_attempt": 2 + dice.below(2), "after_seconds": 1 }),
        93..98 => json!({ "steps": 2, "checkpoint_bytes": 4_000 }),
        _ => json!({ "trap_until_epoch": 2 }),
    };
    (json!({ "number": number, "flaky": plan }), rejected)
}

/// Sends all messages, some of them twice; those of one key one after the other. Returns the ids that were accepted, and how many sends were
/// repeats.
pub(super) async fn send(
    messages: &[Message],
    schedule: &Schedule,
    platform: &Native,
    url: &str,
    deadline: Instant,
) -> anyhow::Result<(BTreeSet<String>, u64)> {
    let lines = lines(messages).into_iter().map(|line| async move {
        let mut repeated = 0_u64;
        for (number, message) in &line {
            accept(message, platform, url, deadline).await?;
            if schedule.repeats_send(*number) {
                accept(message, platform, url, deadline).await?;
                repeated += 1;
            }
        }
        anyhow::Ok((line, repeated))
    });
    let sent: Vec<_> = stream::iter(lines).buffer_unordered(CLIENTS).try_collect().await?;
    let repeated = sent.iter().map(|(_, repeated)| repeated).sum();
    let ids = sent.into_iter().flat_map(|(line, _)| line).map(|(_, message)| message.id.clone());
    Ok((ids.collect(), repeated))
}

/// The messages with their numbers, in lines whose members wait for each other.
fn lines(messages: &[Message]) -> Vec<Vec<(u32, &Message)>> {
    let mut lines: Vec<Vec<_>> = Vec::new();
    let mut of_key = BTreeMap::new();
    for (message, number) in messages.iter().zip(0..) {
        let place = match &message.key {
            Some(key) => *of_key.entry((message.queue, key)).or_insert(lines.len()),
            None => lines.len(),
        };
        match lines.get_mut(place) {
            Some(line) => line.push((number, message)),
            None => lines.push(vec![(number, message)]),
        }
    }
    lines
}

/// One client: the same request with the same key until it is accepted.
async fn accept(message: &Message, platform: &Native, url: &str, deadline: Instant) -> anyhow::Result<()> {
    let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled: true };
    while platform.now() < deadline {
        let mut request = Request::post(format!("{url}/queues/{}/messages", message.queue.name()))
            .header("idempotency-key", format!("\"{}\"", message.id))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &message.key {
            request = request.header("oncebus-lock-key", key);
        }
        let request = request.body(Bytes::from(message.body.to_string())).context("the app's address is no URL")?;
        match call(platform, request, bounds).await.result {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => return Ok(()),
            Ok(answer) if answer.status().is_client_error() => {
                let said = String::from_utf8_lossy(answer.body());
                bail!("ingest refuses a message with {}: {said}", answer.status());
            }
            Ok(_) | Err(_) => platform.sleep(AGAIN).await,
        }
    }
    bail!("{} was not accepted in time", message.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_what_is_sent() {
        assert_eq!(messages(7, 100, 20, 100), messages(7, 100, 20, 100));
        assert_ne!(messages(7, 100, 20, 100), messages(8, 100, 20, 100));
    }

    #[test]
    fn every_sort_of_message_is_there() {
        let messages = messages(7, 1_000, 200, 100);
        let with = |key: &str| messages.iter().filter(|m| m.body["flaky"].get(key).is_some()).count();
        for key in ["steps", "retry_until_attempt", "checkpoint_bytes", "trap_until_epoch", "reject"] {
            assert!(with(key) > 0, "{key}");
        }
        assert_eq!(with("reject"), messages.iter().filter(|m| m.rejected).count());
        assert!(super::messages(7, 1_000, 0, 0).iter().all(|m| !m.rejected));
        let ids: BTreeSet<&str> = messages.iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids.len(), 1_200);
    }

    #[test]
    fn keys_are_shared_and_forgetful_messages_have_none() {
        let messages = messages(7, 1_000, 200, 0);
        let on = |queue| messages.iter().filter(move |m| m.queue == queue);
        assert_eq!(on(Queue::Forgetful).count(), 200);
        assert!(on(Queue::Forgetful).all(|m| m.key.is_none()) && on(Queue::Holding).all(|m| m.key.is_some()));
        for queue in [Queue::Plain, Queue::Holding] {
            let keys: BTreeSet<_> = on(queue).filter_map(|m| m.key.as_deref()).collect();
            let keyed = on(queue).filter(|m| m.key.is_some()).count();
            assert!((5..12).contains(&(keyed / keys.len())), "{keyed} messages with {} keys", keys.len());
        }
    }

    #[test]
    fn one_key_is_one_line() {
        let messages = messages(7, 300, 20, 0);
        let lines = lines(&messages);
        assert_eq!(lines.iter().map(Vec::len).sum::<usize>(), 320);
        let keys: Vec<_> = lines.iter().filter_map(|line| Some((line[0].1.queue, line[0].1.key.as_ref()?))).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "one line for each");
        assert!(lines.iter().all(|line| line.iter().all(|(_, m)| m.key == line[0].1.key)));
        assert!(lines.iter().all(|line| line.iter().map(|(number, _)| number).is_sorted()));
    }
}
