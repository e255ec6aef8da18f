//! `oncebus status`: is an app ready, and what became of a message?
//!
//! Without `--id` it asks the app for its readiness; with it, for the message's record. Fails when the app is not ready, or
//! has no record of the message (it is unknown, or still queued).

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use oncebus_core::secret::Secret;
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::access;

const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `oncebus status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the app is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    app_url: String,
    /// An API key, where the app asks for one.
    #[arg(long, value_name = "KEY", env = "ONCEBUS_API_KEY", hide_env_values = true)]
    api_key: Option<Secret>,
    /// The message's queue.
    #[arg(long, value_name = "NAME", requires = "id")]
    queue: Option<String>,
    /// The message's id.
    #[arg(long, requires = "queue")]
    id: Option<String>,
    /// Print the answer as the JSON it is.
    #[arg(long)]
    json: bool,
}

/// Asks, and prints the answer.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let platform = Native::new().context("cannot set up HTTP")?;
    let deadline = platform.now().plus(PATIENCE);
    // An app that is not ready says so with 503: that is an answer, and not waited away.
    let bounds = Bounds { repeat: Repeat::Always, each: PATIENCE, deadline, wait_when_throttled: false };
    let answer = call(&platform, request(&args)?, bounds).await.result;
    let answer = answer.with_context(|| format!("{} does not answer", args.app_url))?;
    println!("{}", render(&answer, args.json));
    match (answer.status(), &args.id) {
        (StatusCode::OK, _) => Ok(()),
        (StatusCode::NOT_FOUND, Some(id)) => bail!("no record of {id}: unknown, or not yet begun"),
        (status, Some(_)) => bail!("the app answered {status}"),
        (_, None) => bail!("the app is not ready"),
    }
}

fn request(args: &Args) -> anyhow::Result<Request<Bytes>> {
    let base = args.app_url.trim_end_matches('/');
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let url = match (&args.queue, &args.id) {
        (Some(queue), Some(id)) => format!("{base}/queues/{}/messages/{}", encoded(queue), encoded(id)),
        _ => format!("{base}/readyz"),
    };
    access::show(args.api_key.as_ref(), Request::get(url).body(Bytes::new()).context("--app-url is no URL")?)
}

/// A row for each member of the answer, or the answer itself.
fn render(answer: &Response<Bytes>, json: bool) -> String {
    let text = String::from_utf8_lossy(answer.body()).trim().to_owned();
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(&text) else {
        return if text.is_empty() { answer.status().to_string() } else { text };
    };
    if json {
        return text;
    }
    let width = members.keys().map(String::len).max().unwrap_or_default();
    let rows = members.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name:<width$}  {text}"),
        other => format!("{name:<width$}  {other}"),
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(queue: Option<&str>, id: Option<&str>) -> Args {
        let app_url = "http://127.0.0.1:3000/".to_owned();
        Args { app_url, queue: queue.map(str::to_owned), id: id.map(str::to_owned), json: false, api_key: None }
    }

    fn answer(body: &'static str) -> Response<Bytes> {
        Response::new(Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn an_id_is_one_segment_of_the_path() {
        let uri = request(&args(Some("orders"), Some("a/b ü"))).unwrap().uri().to_string();
        assert_eq!(uri, "http://127.0.0.1:3000/queues/orders/messages/a%2Fb%20%C3%BC");
        assert_eq!(request(&args(None, None)).unwrap().uri().path(), "/readyz");
    }

    #[test]
    fn a_record_is_a_small_table_or_the_json_it_was() {
        let body = r#"{"id":"a","state":"done","attempts":1}"#;
        assert_eq!(render(&answer(body), true), body);
        let table = render(&answer(body), false);
        for row in ["id        a", "state     done", "attempts  1"] {
            assert!(table.lines().any(|line| line == row), "{table}");
        }
        assert_eq!(table.lines().count(), 3);
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is() {
        assert_eq!((render(&answer("ready\n"), false), render(&answer(""), true)), ("ready".into(), "200 OK".into()));
    }
}
