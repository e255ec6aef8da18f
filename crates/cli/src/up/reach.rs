//! Whether an app answers, and whether it is the right one.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use oncebus_core::problem::Kind;
use oncebus_core::secret::Secret;
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::platform::{Clock as _, Transport as _};
use serde_json::Value;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long it may take to say who it is: it answers by now.
const IDENTIFYING: Duration = Duration::from_secs(30);

/// Waits until `/healthz` says 200.
pub(super) async fn wait(platform: &Native, url: &str, patience: Duration) -> anyhow::Result<()> {
    let deadline = platform.now().plus(patience);
    let health = format!("{url}/healthz");
    let mut last;
    loop {
        let request = Request::get(&health).body(Bytes::new()).context("the app's address is no URL")?;
        last = match platform.send(request, Duration::from_secs(5)).await {
            Ok(response) if response.status() == StatusCode::OK => return Ok(()),
            Ok(response) => format!("it answers {}", response.status()),
            Err(error) => error.to_string(),
        };
        if platform.now() >= deadline {
            bail!("{health} did not answer with 200 within {} s; at last: {last}", patience.as_secs());
        }
        platform.sleep(LOOK_AGAIN).await;
    }
}

/// Makes sure that what answers is the app that was started with our variables, and not one of before: it would take the
/// messages to another place, and the pump would be told 401 without end. Asked for is a run of a queue that no configuration
/// can have, since its name is none.
pub(super) async fn identify(platform: &Native, url: &str, run_token: &Secret) -> anyhow::Result<()> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", run_token.expose()))
        .context("the run token cannot stand in a header")?;
    bearer.set_sensitive(true);
    let request = Request::post(format!("{url}/internal/queues/~/run")).header(header::AUTHORIZATION, bearer);
    let request = request.body(Bytes::new()).context("the app's address is no URL")?;
    let answer = platform.send(request, IDENTIFYING).await.with_context(|| format!("the app at {url}"))?;
    match (answer.status(), problem(answer.body())) {
        (StatusCode::NOT_FOUND, (kind, _)) if kind == Kind::UnknownQueue.uri() => Ok(()),
        (StatusCode::UNAUTHORIZED, _) => {
            bail!("an app with other variables answers at {url}: end it, or give this one another address")
        }
        (StatusCode::INTERNAL_SERVER_ERROR, (kind, detail)) if kind == Kind::Configuration.uri() => {
            bail!("the app at {url} cannot use its variables: {detail}")
        }
        (status, _) => bail!("what answers at {url} is not this app: it answers {status} where a run is asked for"),
    }
}

/// Type and detail of a problem document.
fn problem(body: &[u8]) -> (String, String) {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key| document.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("type"), text("detail"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is said of something that gives this answer to every request.
    async fn identified(status: &str, body: &str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            let read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let said = identify(&Native::new().unwrap(), &url, &Secret::new("the-run-token")).await;
        let request = server.await.unwrap().to_ascii_lowercase();
        assert!(request.starts_with("post /internal/queues/~/run http/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: bearer the-run-token\r\n"), "{request}");
        said.map_err(|error| error.to_string().replace(&url, "URL"))
    }

    fn problem_of(kind: Kind, detail: &str) -> String {
        oncebus_core::problem::Problem::new(kind, detail).to_json().to_string()
    }

    #[tokio::test]
    async fn only_an_app_with_our_run_token_is_ours() {
        assert_eq!(identified("404 Not Found", &problem_of(Kind::UnknownQueue, "no queue")).await, Ok(()));
        let other = identified("401 Unauthorized", &problem_of(Kind::Unauthorized, "expected a token")).await;
        assert!(other.unwrap_err().starts_with("an app with other variables answers at URL"));
        let misled = identified("500 No", &problem_of(Kind::Configuration, "storage: expected a value")).await;
        assert_eq!(misled.unwrap_err(), "the app at URL cannot use its variables: storage: expected a value");
        for (status, body) in [("404 Not Found", "nothing here"), ("200 OK", "hello")] {
            let stranger = identified(status, body).await.unwrap_err();
            assert!(stranger.starts_with("what answers at URL is not this app"), "{stranger}");
        }
    }
}
