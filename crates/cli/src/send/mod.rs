//! `oncebus send`: puts messages into a queue of an app, over HTTP.
//!
//! A file or standard input is one message; with `--ndjson` each line is one; with `--generate` they are made up. Every
//! message has an id before it leaves (the given one, or a random one), so that a request whose answer is lost is sent again
//! without harm: the same id is the same message.
//!
//! Prints how many were accepted and refused, and why the first few were refused. Fails if any was.

mod answer;
mod source;

use std::path::PathBuf;
use std::time::Duration;

use answer::Outcome;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, header};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oncebus_core::secret::Secret;
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use source::{Post, Source};

use crate::access;

/// The longest that one request may take, and with its repetitions.
const EACH: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(90);

/// How many reasons are shown.
const SHOWN: usize = 5;

/// Arguments of `oncebus send`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the app is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    app_url: String,
    /// An API key, where the app asks for one.
    #[arg(long, value_name = "KEY", env = "ONCEBUS_API_KEY", hide_env_values = true)]
    api_key: Option<Secret>,
    /// The queue.
    #[arg(long, value_name = "NAME")]
    queue: String,
    /// What to send; - is standard input.
    #[arg(value_name = "FILE", default_value = "-", conflicts_with = "generate")]
    file: PathBuf,
    /// Each line is a message: JSON, or an envelope {"id", "key", "content_type", "properties", "body"}.
    #[arg(long, conflicts_with_all = ["generate", "id", "key", "content_type"])]
    ndjson: bool,
    /// Make up this many messages instead.
    #[arg(long, value_name = "COUNT")]
    generate: Option<u64>,
    /// How large made-up messages are, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 200, requires = "generate")]
    size: usize,
    /// The lock key: messages with the same one never run side by side.
    #[arg(long)]
    key: Option<String>,
    /// The message's id. Default: a random one.
    #[arg(long, conflicts_with = "generate")]
    id: Option<String>,
    /// The content type. Default: application/json for what is made up, application/octet-stream for a file.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Requests under way at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
}

/// Sends everything, then says what came of it.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let platform = Native::new().context("cannot set up HTTP")?;
    let source = Source::open(&args)?;
    let progress = progress(source.messages());
    let began = platform.now();
    let mut tally = Tally::default();
    let mut requests = stream::iter(source)
        .map(|post| deliver(&platform, &args, post))
        .buffer_unordered(usize::from(args.concurrency));
    while let Some(outcome) = requests.next().await {
        // What cannot be read, or no app at all: nothing after it would do better.
        let outcome = outcome.inspect_err(|_| progress.abandon())?;
        progress.inc(outcome.accepted + outcome.refused);
        tally.add(outcome);
    }
    progress.finish_and_clear();
    tally.tell(platform.now().since(began))
}

async fn deliver(platform: &Native, args: &Args, post: anyhow::Result<Post>) -> anyhow::Result<Outcome> {
    let post = post?;
    let request = request(args, &post)?;
    let deadline = platform.now().plus(PATIENCE);
    let bounds = Bounds { repeat: Repeat::Always, each: EACH, deadline, wait_when_throttled: true };
    let answer = call(platform, request, bounds).await.result;
    let answer = answer.with_context(|| format!("{} does not answer", args.app_url))?;
    Ok(answer::read(&post, &answer))
}

fn request(args: &Args, post: &Post) -> anyhow::Result<Request<Bytes>> {
    let queue = utf8_percent_encode(&args.queue, NON_ALPHANUMERIC);
    let base = format!("{}/queues/{queue}", args.app_url.trim_end_matches('/'));
    let request = match post {
        Post::Single { id, content_type, body } => {
            let request = Request::post(format!("{base}/messages"))
                .header("idempotency-key", quoted(id))
                .header(header::CONTENT_TYPE, content_type);
            match &args.key {
                Some(key) => request.header("oncebus-lock-key", key),
                None => request,
            }
            .body(body.clone())
        }
        Post::Lines { body, .. } => Request::post(format!("{base}/batch"))
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(body.clone()),
    };
    let request = request.context("the URL, the id, the key or the content type cannot be sent")?;
    access::show(args.api_key.as_ref(), request)
}

/// A string as a structured field has it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A bar where the number of messages is known, a count where it is not, nothing without a terminal.
fn progress(messages: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(messages, ProgressDrawTarget::stderr());
    let template =
        if messages.is_some() { "{bar:40} {pos}/{len} {per_sec} {eta}" } else { "{spinner} {pos} {per_sec}" };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What came of everything.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    reasons: Vec<String>,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.accepted += outcome.accepted;
        self.refused += outcome.refused;
        let room = SHOWN.saturating_sub(self.reasons.len());
        self.reasons.extend(outcome.reasons.into_iter().take(room));
    }

    fn tell(self, took: Duration) -> anyhow::Result<()> {
        println!("accepted {}, refused {}, {:.1} s", self.accepted, self.refused, took.as_secs_f64());
        for reason in &self.reasons {
            eprintln!("refused: {reason}");
        }
        match self.refused {
            0 => Ok(()),
            1 => bail!("1 message was refused"),
            refused => bail!("{refused} messages were refused"),
        }
    }
}

#[cfg(test)]
mod tests;
