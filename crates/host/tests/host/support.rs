//! A guest that does what it is told (`tests/guest`), a manifest around it, and a peer that it sends requests to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use oncebus_host::{App, LogLine, LogSink, Options, OutboundHook, Server, Sqlite};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub(crate) const DEPENDENCY: &str = "oncebus:processor/process@0.1.0";

/// The built wasm file of a package: `oncebus_store`. The first call builds all of them.
pub(crate) fn wasm(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let target = "wasm32-wasip2";
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--target", target])
            .args(
                ["oncebus-host-guest", "oncebus-host-probe", "oncebus-store", "oncebus-flaky"]
                    .map(|p| format!("-p{p}")),
            )
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "the guests do not build");
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("..").join(target).join("release")
    });
    folder.join(format!("{name}.wasm"))
}

/// A manifest with the guest as the components `guest` (at `/...`) and `other` (private), and its folder.
pub(crate) struct Project {
    folder: TempDir,
    pub(crate) options: Options,
    pub(crate) lines: Arc<Mutex<Vec<LogLine>>>,
}

impl Project {
    /// `more` comes after `[component.guest]` and its source.
    pub(crate) fn new(more: &str) -> Self {
        Self::with_inherit("[\"sqlite_databases\"]", more)
    }

    /// `inherit` is what the processor of `guest` inherits.
    pub(crate) fn with_inherit(inherit: &str, more: &str) -> Self {
        let (guest, store) = (wasm("oncebus_host_guest"), wasm("oncebus_store"));
        let (guest, store) = (guest.display(), store.display());
        Self::bare(&format!(
            "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n\
            [[trigger.http]]\nroute = \"/routes/more/...\"\ncomponent = \"guest\"\n\
            [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"other\"\n\
            [component.other]\nsource = \"{guest}\"\n\
            [component.other.dependencies]\n\"{DEPENDENCY}\" = {{ path = \"{store}\" }}\n\
            [component.guest.dependencies]\n\
            \"{DEPENDENCY}\" = {{ path = \"{store}\", inherit_configuration = {inherit} }}\n\
            [component.guest]\nsource = \"{guest}\"\n{more}\n"
        ))
    }

    /// `text` comes after the head of the manifest.
    pub(crate) fn bare(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("spin_manifest_version = 2\napplication.name = \"test\"\n{text}");
        std::fs::write(folder.path().join("spin.toml"), text).unwrap();
        let lines: Arc<Mutex<Vec<LogLine>>> = Arc::default();
        let kept = Arc::clone(&lines);
        let log = LogSink::new(move |line| kept.lock().unwrap().push(line));
        Self { folder, options: Options { sqlite: Sqlite::Memory, log, ..Options::default() }, lines }
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.options.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn hook(mut self, hook: impl OutboundHook) -> Self {
        self.options.outbound = Some(Arc::new(hook));
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn start(self) -> Running {
        let app = App::load(&self.folder.path().join("spin.toml"), self.options).await.unwrap();
        let server = app.serve(local()).await.unwrap();
        Running { app, server, client: reqwest::Client::new(), lines: self.lines, folder: self.folder }
    }

    /// Loads what must not load, and returns the whole chain of reasons.
    pub(crate) async fn refusal(self) -> String {
        let error = App::load(&self.folder.path().join("spin.toml"), self.options).await.err().unwrap();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// The application of a [`Project`], served.
pub(crate) struct Running {
    pub(crate) app: App,
    pub(crate) server: Server,
    client: reqwest::Client,
    pub(crate) lines: Arc<Mutex<Vec<LogLine>>>,
    pub(crate) folder: TempDir,
}

impl Running {
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.post(path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let answer = self.try_post(path, body).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn try_post(&self, path: &str, body: &str) -> reqwest::Result<reqwest::Response> {
        self.client.post(format!("{}{path}", self.server.url())).body(body.to_owned()).send().await
    }

    pub(crate) async fn headers(&self, path: &str) -> BTreeMap<String, String> {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200);
        let pairs: Vec<(String, String)> = serde_json::from_str(&body).unwrap();
        pairs.into_iter().collect()
    }

    /// The answers to requests that the guest sent.
    pub(crate) async fn send(&self, calls: &str) -> Vec<String> {
        let (status, body) = self.post("/send", calls).await;
        assert_eq!(status, 200);
        serde_json::from_str(&body).unwrap()
    }

    /// The steps that the guest's processor answered.
    pub(crate) async fn process(&self, messages: serde_json::Value) -> serde_json::Value {
        let (status, body) = self.post("/process", &messages.to_string()).await;
        assert_eq!(status, 200, "{:?}", self.lines.lock().unwrap());
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn rows(&self, statement: &str) -> Vec<Vec<oncebus_host::Value>> {
        self.app.database().unwrap().query(statement, &[]).unwrap()
    }
}

pub(crate) fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Somebody outside, who notes every request and answers 200 with the body `peer`.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) requests: Vec<(hyper::http::request::Parts, Bytes)>,
}

impl Peer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(local()).await.unwrap();
        let peer = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let own = peer.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                own.seen.lock().unwrap().connections += 1;
                let own = own.clone();
                let service = hyper::service::service_fn(move |request| own.clone().answer(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        peer
    }

    async fn answer(self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        self.seen.lock().unwrap().requests.push((head, body));
        Ok(Response::new(Full::new(Bytes::from_static(b"peer"))))
    }

    pub(crate) fn see<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    pub(crate) fn count(&self) -> usize {
        self.see(|seen| seen.requests.len())
    }

    /// The line that lets a component reach it.
    pub(crate) fn allow(&self) -> String {
        format!("allowed_outbound_hosts = [\"http://{}\"]", self.address)
    }

    /// So many requests to it, for `/send`.
    pub(crate) fn calls(&self, count: usize) -> String {
        let calls: Vec<_> = (0..count)
            .map(|i| serde_json::json!({ "method": "GET", "uri": format!("http://{}/{i}", self.address) }))
            .collect();
        serde_json::to_string(&calls).unwrap()
    }
}

/// Waits until something is so, with a deadline.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited 10 s until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
