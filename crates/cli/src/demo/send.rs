//! Sends the plan over HTTP, as senders do: bounded, and again with the same id when there was no clear answer.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, Response, StatusCode, header};
use oncebus_core::secret::Secret;
use oncebus_core::time::Instant;
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::platform::native::Native;
use serde_json::{Value, json};

use super::plan::{Message, Plan, Post};
use super::twilio;

/// Requests under way at once.
const AT_ONCE: usize = 16;
/// The longest that one request may take.
const EACH: Duration = Duration::from_secs(20);

/// Where the plan goes.
pub(super) struct Target<'a> {
    pub(super) platform: &'a Native,
    pub(super) app_url: &'a str,
    /// The queue of everything but Twilio's forms.
    pub(super) queue: &'a str,
    pub(super) twilio_auth_token: Option<&'a Secret>,
}

/// Sends everything and returns how many messages were accepted. `progress` hears of each request's.
pub(super) async fn send(
    plan: &Plan,
    target: &Target<'_>,
    deadline: Instant,
    progress: impl Fn(usize),
) -> anyhow::Result<usize> {
    let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled: true };
    let progress = &progress;
    let requests = plan.posts.iter().map(|post| async move {
        let request = target.request(post)?;
        let answer = call(target.platform, request, bounds).await.result.context("the app does not answer")?;
        accepted(post, &answer)?;
        progress(post.messages().len());
        anyhow::Ok(post.messages().len())
    });
    stream::iter(requests).buffer_unordered(AT_ONCE).try_fold(0, |sum, n| async move { Ok(sum + n) }).await
}

impl Target<'_> {
    fn request(&self, post: &Post) -> anyhow::Result<Request<Bytes>> {
        let base = format!("{}/queues/{}", self.app_url, self.queue);
        let request = match post {
            Post::Single(message) => Request::post(format!("{base}/messages"))
                .header("idempotency-key", format!("\"{}\"", message.id))
                .header(header::CONTENT_TYPE, "application/json")
                .body(Bytes::from(content(message.number).to_string())),
            Post::Array(messages) => {
                let items: Vec<Value> = messages.iter().map(item).collect();
                Request::post(format!("{base}/batch"))
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Bytes::from(Value::from(items).to_string()))
            }
            Post::Lines(messages) => {
                let lines: String = messages.iter().map(|message| format!("{}\n", item(message))).collect();
                Request::post(format!("{base}/batch"))
                    .header(header::CONTENT_TYPE, "application/x-ndjson")
                    .body(Bytes::from(lines))
            }
            Post::Form(message) => {
                let token = self.twilio_auth_token.context("a form needs an auth token")?;
                let url = format!("{}/webhooks/twilio", self.app_url);
                let fields = twilio::message(&message.id, message.number);
                let signature = twilio::signature(token, &url, &fields);
                Request::post(url)
                    .header("x-twilio-signature", signature)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Bytes::from(twilio::form(&fields)))
            }
        };
        request.context("the app's address is no URL")
    }
}

/// What a message says.
fn content(number: usize) -> Value {
    json!({ "order": number, "item": format!("item {}", number % 17), "quantity": number % 5 + 1 })
}

/// A message as an item of a batch.
fn item(message: &Message) -> Value {
    json!({ "id": message.id, "body": content(message.number) })
}

fn accepted(post: &Post, answer: &Response<Bytes>) -> anyhow::Result<()> {
    let expected = if matches!(post, Post::Form(_)) { StatusCode::OK } else { StatusCode::ACCEPTED };
    if answer.status() == expected {
        return Ok(());
    }
    let kind = match post {
        Post::Single(_) => "a single message",
        Post::Array(_) => "a batch as an array",
        Post::Lines(_) => "a batch as lines",
        Post::Form(_) => "a form of Twilio's",
    };
    let said: String = String::from_utf8_lossy(answer.body()).chars().take(500).collect();
    bail!("the app answered {} to {kind}: {said}", answer.status())
}
