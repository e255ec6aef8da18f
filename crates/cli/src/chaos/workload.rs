//! The messages of a chaos, and how they come in: over HTTP, by clients that try until they are accepted.

use std::collections::BTreeSet;
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

use super::schedule::Schedule;
use crate::rng::Rng;

/// Clients at work at once.
const CLIENTS: usize = 8;
/// The longest that one request may take.
const EACH: Duration = Duration::from_secs(10);
/// Between two tries of a client that got no 202.
const AGAIN: Duration = Duration::from_millis(200);

/// One message: what it says is what the test processor does with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Its id.
    pub(super) id: String,
    /// Its body.
    pub(super) body: Value,
    /// Whether the processor is to reject it.
    pub(super) rejected: bool,
}

/// The messages for a seed. `rejects` of 10,000 are to be rejected.
pub(super) fn messages(seed: u64, count: u32, rejects: u32) -> Vec<Message> {
    let seed = Rng(seed);
    (0..count)
        .map(|number| {
            let mut dice = seed.about("message", number.into());
            let rejected = dice.happens(rejects);
            let plan = match dice.below(100) {
                _ if rejected => json!({ "reject": "as the message asks" }),
                0..70 => json!({}),
                70..85 => json!({ "steps": 3 }),
                85..93 => json!({ "retry_until_attempt": 2 + dice.below(2), "after_seconds": 1 }),
                93..98 => json!({ "steps": 2, "checkpoint_bytes": 4_000 }),
                _ => json!({ "trap_until_epoch": 2 }),
            };
            Message { id: format!("chaos-{number:06}"), body: json!({ "number": number, "flaky": plan }), rejected }
        })
        .collect()
}

/// Sends all messages, some of them twice. Returns the ids that were accepted, and how many sends were repeats.
pub(super) async fn send(
    messages: &[Message],
    schedule: &Schedule,
    platform: &Native,
    url: &str,
    deadline: Instant,
) -> anyhow::Result<(BTreeSet<String>, u64)> {
    let clients = messages.iter().zip(0..).map(|(message, number)| async move {
        accept(message, platform, url, deadline).await?;
        let again = schedule.repeats_send(number);
        if again {
            accept(message, platform, url, deadline).await?;
        }
        anyhow::Ok((message.id.clone(), again))
    });
    let sent: Vec<(String, bool)> = stream::iter(clients).buffer_unordered(CLIENTS).try_collect().await?;
    let repeated = sent.iter().filter(|(_, again)| *again).count();
    Ok((sent.into_iter().map(|(id, _)| id).collect(), u64::try_from(repeated).unwrap_or(u64::MAX)))
}

/// One client: the same request with the same key until it is accepted.
async fn accept(message: &Message, platform: &Native, url: &str, deadline: Instant) -> anyhow::Result<()> {
    let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled: true };
    while platform.now() < deadline {
        let request = Request::post(url)
            .header("idempotency-key", format!("\"{}\"", message.id))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(message.body.to_string()))
            .context("the app's address is no URL")?;
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
        assert_eq!(messages(7, 100, 100), messages(7, 100, 100));
        assert_ne!(messages(7, 100, 100), messages(8, 100, 100));
    }

    #[test]
    fn every_sort_of_message_is_there() {
        let messages = messages(7, 1_000, 100);
        let with = |key: &str| messages.iter().filter(|m| m.body["flaky"].get(key).is_some()).count();
        for key in ["steps", "retry_until_attempt", "checkpoint_bytes", "trap_until_epoch", "reject"] {
            assert!(with(key) > 0, "{key}");
        }
        assert_eq!(with("reject"), messages.iter().filter(|m| m.rejected).count());
        assert!(super::messages(7, 1_000, 0).iter().all(|m| !m.rejected));
        let ids: BTreeSet<&str> = messages.iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
