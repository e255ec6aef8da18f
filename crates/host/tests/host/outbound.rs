//! Requests from inside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use oncebus_host::{Answer, OutboundCall, OutboundHook, Verdict};
use tokio::sync::Semaphore;

use crate::support::{Peer, Project};

/// Holds every request until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<GateState>);

struct GateState {
    reached: Semaphore,
    open: Semaphore,
    abandoned: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        let none = || Semaphore::new(0);
        Self(Arc::new(GateState { reached: none(), open: none(), abandoned: none() }))
    }
}

impl Gate {
    pub(crate) async fn reached(&self, count: u32) {
        self.0.reached.acquire_many(count).await.unwrap().forget();
    }

    pub(crate) fn open(&self) {
        self.0.open.close();
    }

    /// Until a request that waited is no more.
    pub(crate) async fn abandoned(&self) {
        self.0.abandoned.acquire().await.unwrap().forget();
    }
}

struct OnDrop(Arc<GateState>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.abandoned.add_permits(1);
    }
}

impl OutboundHook for Gate {
    fn before<'a>(&'a self, _: &'a OutboundCall) -> BoxFuture<'a, Verdict> {
        Box::pin(async {
            let waiting = OnDrop(Arc::clone(&self.0));
            self.0.reached.add_permits(1);
            // The error is that it was closed: open.
            let _ = self.0.open.acquire().await;
            std::mem::forget(waiting);
            Verdict::Continue
        })
    }
}

/// Says a verdict for the n-th request, before or after it; notes all.
struct Script {
    at: usize,
    before: Verdict,
    after: Verdict,
    next: AtomicUsize,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(at: usize, before: Verdict, after: Verdict) -> (Self, Arc<Mutex<Vec<String>>>) {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        (Self { at, before, after, next: AtomicUsize::new(0), seen: Arc::clone(&seen) }, seen)
    }
}

impl OutboundHook for Script {
    fn before<'a>(&'a self, call: &'a OutboundCall) -> BoxFuture<'a, Verdict> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let OutboundCall { component, instance, method, uri, .. } = call;
        self.seen.lock().unwrap().push(format!("{component} {instance} {method} {}", uri.path()));
        let verdict = if number == self.at { self.before } else { Verdict::Continue };
        Box::pin(async move { verdict })
    }

    fn after<'a>(&'a self, _: &'a OutboundCall, answer: Result<Answer, String>) -> BoxFuture<'a, Verdict> {
        self.seen.lock().unwrap().push(format!("{:?}", answer.map(|answer| answer.status)));
        let verdict = if self.next.load(Ordering::SeqCst) == self.at + 1 { self.after } else { Verdict::Continue };
        Box::pin(async move { verdict })
    }
}

#[tokio::test]
async fn only_allowed_hosts_are_reached() {
    let (allowed, other) = (Peer::start().await, Peer::start().await);
    let app = Project::new("allowed_outbound_hosts = [\"{{ origin }}\"]\n[variables]\norigin = { required = true }")
        .variable("origin", &format!("http://{}", allowed.address))
        .start()
        .await;
    assert_eq!(app.send(&allowed.calls(1)).await, ["200 peer"]);
    let refused = app.send(&other.calls(1)).await;
    assert!(refused[0].contains("HttpRequestDenied"), "{refused:?}");
    assert_eq!((allowed.count(), other.count()), (1, 0));
}

#[tokio::test]
async fn nothing_is_reached_by_default() {
    let peer = Peer::start().await;
    let app = Project::new("").start().await;
    assert!(app.send(&peer.calls(1)).await[0].contains("HttpRequestDenied"));
    assert_eq!(peer.count(), 0);
}

#[tokio::test]
async fn connections_are_kept_across_instances() {
    let peer = Peer::start().await;
    let app = Project::new(&peer.allow()).start().await;
    for _ in 0..5 {
        app.send(&peer.calls(4)).await;
    }
    assert_eq!(peer.see(|seen| (seen.requests.len(), seen.connections)), (20, 1));
}

#[tokio::test]
async fn a_length_that_the_guest_sets_is_sent_and_no_other() {
    let peer = Peer::start().await;
    let app = Project::new(&peer.allow()).start().await;
    let uri = format!("http://{}/x", peer.address);
    let calls = serde_json::json!([
        { "method": "PUT", "uri": uri, "headers": [["content-length", "4"], ["x-ms-date", "now"]], "body": "body" },
        { "method": "PUT", "uri": uri, "headers": [["content-length", "0"]] },
        { "method": "PUT", "uri": uri, "body": "body" },
    ]);
    app.send(&calls.to_string()).await;
    let seen = peer.see(|seen| {
        let header = |head: &hyper::http::request::Parts, name| {
            head.headers.get(name).map(|value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned())
        };
        let request = |(head, body): &(hyper::http::request::Parts, bytes::Bytes)| {
            (header(head, "content-length"), header(head, "transfer-encoding"), body.len())
        };
        assert_eq!(header(&seen.requests[0].0, "host"), Some(peer.address.to_string()));
        assert_eq!(header(&seen.requests[0].0, "x-ms-date"), Some("now".to_owned()));
        seen.requests.iter().map(request).collect::<Vec<_>>()
    });
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(seen, [(some("4"), None, 4), (some("0"), None, 0), (None, some("chunked"), 4)]);
}

#[tokio::test]
async fn a_component_is_reached_by_its_name_if_it_is_allowed() {
    let call = |component: &str| {
        let uri = format!("http://{component}.spin.internal/headers");
        serde_json::json!([{ "method": "GET", "uri": uri }]).to_string()
    };
    let app = Project::new("allowed_outbound_hosts = [\"http://*.spin.internal\"]").start().await;
    let answers = app.send(&call("other")).await;
    assert!(answers[0].starts_with("200 "), "{answers:?}");
    assert!(answers[0].contains("[\"spin-path-info\",\"/headers\"]"), "{answers:?}");
    assert!(app.send(&call("nobody")).await[0].contains("DestinationNotFound"));

    let app = Project::new("").start().await;
    assert!(app.send(&call("other")).await[0].contains("HttpRequestDenied"));
}

#[tokio::test]
async fn the_hook_sees_every_request_with_its_instance() {
    let peer = Peer::start().await;
    let (script, seen) = Script::new(9, Verdict::Continue, Verdict::Continue);
    let app = Project::new(&peer.allow()).hook(script).start().await;
    app.send(&peer.calls(2)).await;
    app.send(&peer.calls(1)).await;
    let expected = ["guest 1 GET /0", "Ok(200)", "guest 1 GET /1", "Ok(200)", "guest 2 GET /0", "Ok(200)"];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_request_fails_or_loses_its_reply() {
    use Verdict::{Continue, DropReply, Fail};
    for (before, after, expected, made) in [
        (Fail, Continue, "ConnectionRefused", 2),
        (DropReply, Continue, "HttpProtocolError", 3),
        (Continue, DropReply, "HttpProtocolError", 3),
        (Continue, Fail, "HttpProtocolError", 3),
    ] {
        let peer = Peer::start().await;
        let app = Project::new(&peer.allow()).hook(Script::new(1, before, after).0).start().await;
        let answers = app.send(&peer.calls(3)).await;
        assert_eq!((answers[0].as_str(), answers[2].as_str()), ("200 peer", "200 peer"));
        assert!(answers[1].contains(expected), "{before:?} {after:?} {answers:?}");
        assert_eq!(peer.count(), made, "{before:?} {after:?}");
    }
}

#[tokio::test]
async fn a_killed_instance_does_nothing_more() {
    for (before, after, made) in [(Verdict::Kill, Verdict::Continue, 1), (Verdict::Continue, Verdict::Kill, 2)] {
        let peer = Peer::start().await;
        let app = Project::new(&peer.allow()).hook(Script::new(1, before, after).0).start().await;
        assert_eq!(app.post("/send", &peer.calls(3)).await, (500, String::new()));
        // The next instance is untouched, and comes after whatever the first might have done.
        assert_eq!(app.send(&peer.calls(1)).await, ["200 peer"]);
        assert_eq!(peer.count(), made + 1);
    }
}

#[tokio::test]
async fn a_kill_after_the_response_began_closes_the_connection() {
    let peer = Peer::start().await;
    let app = Project::new(&peer.allow()).hook(Script::new(0, Verdict::Kill, Verdict::Continue).0).start().await;
    let answer = app.try_post("/half", &peer.calls(1)).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap_err();
    assert_eq!(peer.count(), 0);
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_says_why() {
    let peer = Peer::start().await;
    let listener = tokio::net::TcpListener::bind(crate::support::local()).await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let app = Project::new("allowed_outbound_hosts = [\"*://*:*\"]").start().await;
    for (uri, expected) in
        [(format!("http://{nobody}/"), "ConnectionRefused"), (format!("https://{}/", peer.address), "TlsProtocolError")]
    {
        let answers = app.send(&serde_json::json!([{ "method": "GET", "uri": uri }]).to_string()).await;
        assert!(answers[0].contains(expected), "{uri} {answers:?}");
    }
}

#[tokio::test]
async fn a_small_request_leaves_in_one_write() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind(crate::support::local()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Project::new(&format!("allowed_outbound_hosts = [\"http://{address}\"]")).start().await;
    let calls = serde_json::json!([{
        "method": "PUT",
        "uri": format!("http://{address}/"),
        "headers": [["content-length", "4"]],
        "body": "body",
    }])
    .to_string();
    let peer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = vec![0; 4096];
        let length = stream.read(&mut first).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8(first[..length].to_vec()).unwrap()
    };
    let (answers, first) = tokio::join!(app.send(&calls), peer);
    assert_eq!(answers, ["204 "]);
    assert!(first.ends_with("\r\n\r\nbody"), "{first}");
}
