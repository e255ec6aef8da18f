//! `oncebus pump`, the program as it is: lanes, metrics, and the backlog that routes go by.
//!
//! The last test needs the components (`scripts/build`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oncebus_core::run::Summary;
use oncebus_emulator::{Emulator, Options as EmulatorOptions};
use oncebus_host::{App, Options as HostOptions, Sqlite};
use prometheus_parse::{Scrape, Value};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

const TOKEN: &str = "run-token-of-the-tests";
/// How long anything may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a run of the app that is none lasts.
const RUN: Duration = Duration::from_millis(20);

/// A folder with a configuration, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, config: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oncebus-pump-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("oncebus.toml"), config).unwrap();
        Self(path)
    }

    fn pump(&self, app_url: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncebus"));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("ONCEBUS_") || name == "RUST_LOG") {
                command.env_remove(name);
            }
        }
        command.args(["pump", "--app-url", app_url]).arg("--config").arg(self.0.join("oncebus.toml"));
        command.env("ONCEBUS_RUN_TOKEN", TOKEN);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An app that is none: each of its runs lasts a moment, and brings what it is told to for its queue.
struct Fake {
    url: String,
    /// How many runs of each queue have begun.
    runs: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Fake {
    async fn start(received: impl Fn(&str) -> u64 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let runs = Arc::new(Mutex::new(BTreeMap::new()));
        let (received, counts) = (Arc::new(received), Arc::clone(&runs));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (received, counts) = (Arc::clone(&received), Arc::clone(&counts));
                let service = service_fn(move |request: Request<Incoming>| {
                    let queue = request.uri().path().split('/').nth(3).unwrap().to_owned();
                    *counts.lock().unwrap().entry(queue.clone()).or_default() += 1;
                    let received = received(&queue);
                    async move {
                        tokio::time::sleep(RUN).await;
                        let summary = Summary { queue, received, done: received, ..Summary::default() };
                        let body = Full::new(Bytes::from(serde_json::to_vec(&summary).unwrap()));
                        Ok::<_, Infallible>(Response::new(body))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, runs }
    }

    fn runs(&self, queue: &str) -> usize {
        self.runs.lock().unwrap().get(queue).copied().unwrap_or_default()
    }
}

/// Waits until something is so.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What stands behind these words in a line that the pump says.
async fn said(pump: &mut Child, words: &str) -> String {
    let mut lines = BufReader::new(pump.stderr.take().unwrap()).lines();
    let found = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
        }
        panic!("it ended without a word of {words:?}");
    });
    let found = found.await.expect(words);
    // Nobody reads on: a full pipe would hold the pump.
    tokio::spawn(async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} });
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_lane_gets_its_share_of_runs_under_load_and_no_more() {
    let config = "
        [queues]
        high = { group = 'g' }
        low = { group = 'g' }
        [[routes]]
        queues = ['high', 'low']
        strategy = 'priority'
        priority_header = 'x-priority'
        priorities = ['high', 'low']
        weights = { high = 8, low = 1 }
    ";
    let folder = Folder::new("lanes", config);
    let app = Fake::start(|_| 1).await;
    let _pump = folder.pump(&app.url).args(["--runs", "2", "--seconds", "1"]).spawn().unwrap();
    until("a thousand runs", async || (app.runs("high") + app.runs("low") >= 1_000).then_some(())).await;
    let (high, low) = (app.runs("high"), app.runs("low"));
    // A ninth is 111. Time is shared, not runs: those of a busy machine are not all as long.
    assert!((85..=140).contains(&low), "{high} runs of the high lane, {low} of the low one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lane_does_not_need_the_other_gets_and_it_is_listened_to_all_the_same() {
    let config = "
        [queues]
        high = { group = 'g' }
        low = { group = 'g' }
        [[routes]]
        queues = ['high', 'low']
        strategy = 'priority'
        priority_header = 'x-priority'
        priorities = ['high', 'low']
    ";
    let folder = Folder::new("idle", config);
    let app = Fake::start(|queue| u64::from(queue == "low")).await;
    let _pump = folder.pump(&app.url).args(["--runs", "1", "--seconds", "1"]).spawn().unwrap();
    until("runs of the low lane", async || (app.runs("low") >= 300).then_some(())).await;
    let high = app.runs("high");
    assert!((1..60).contains(&high), "{high} runs of a lane that has nothing, and pauses after each");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_there_for_whoever_asks() {
    let folder = Folder::new("metrics", "[queues.orders]\n[queues.texts]\n");
    let app = Fake::start(|queue| if queue == "orders" { 3 } else { 0 }).await;
    let mut command = folder.pump(&app.url);
    let mut pump = command.args(["--seconds", "1", "--metrics-listen", "127.0.0.1:0"]).spawn().unwrap();
    let url = said(&mut pump, "metrics at ").await;
    let sample = async |name: &str, queue: &str| {
        let answer = reqwest::get(&url).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text().await.unwrap();
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
        let of_queue = |labels: &prometheus_parse::Labels| labels.get("messaging_destination_name") == Some(queue);
        let sample = scrape.samples.into_iter().find(|sample| sample.metric == name && of_queue(&sample.labels));
        match sample.expect(name).value {
            Value::Counter(value) => value,
            other => panic!("{other:?}"),
        }
    };
    let received = "messaging_client_consumed_messages_total";
    until("ten runs", async || (sample(received, "orders").await >= 30.0).then_some(())).await;
    assert_eq!(sample(received, "texts").await, 0.0);
    assert_eq!(sample(received, "orders").await % 3.0, 0.0);
    let other = reqwest::get(url.replace("/metrics", "/")).await.unwrap();
    assert_eq!(other.status(), 404);
}

/// The components over an emulator.
struct World {
    emulator: Emulator,
    url: String,
    _app: (App, oncebus_host::Server),
}

impl World {
    async fn start(config: &str, queues: &[&str]) -> Self {
        let options = EmulatorOptions {
            queues: queues.iter().map(|queue| (*queue).into()).collect(),
            containers: vec!["oncebus".to_owned()],
            ..EmulatorOptions::default()
        };
        let emulator = Emulator::start(options).await.unwrap();
        let bus = emulator.service_bus_connection_string();
        let storage_origin = emulator.blob_url().rsplit_once('/').unwrap().0.to_owned();
        let variables = [
            ("oncebus_config", config.to_owned()),
            ("servicebus_send", bus.clone()),
            ("servicebus_listen", bus),
            ("servicebus_origin", emulator.service_bus_url()),
            ("storage", emulator.storage_connection_string()),
            ("storage_origin", storage_origin),
            ("run_token", TOKEN.to_owned()),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let options = HostOptions { variables, sqlite: Sqlite::Memory, ..HostOptions::default() };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let app = App::load(&root.join("spin.toml"), options).await.unwrap();
        let server = app.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        Self { emulator, url: server.url(), _app: (app, server) }
    }

    async fn post(&self, path: &str, id: &str) -> reqwest::Response {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url));
        request.header("Idempotency-Key", id).body("{}").send().await.unwrap()
    }

    async fn test(&self) -> Json {
        serde_json::from_str(&self.post("/routes/test", "any").await.text().await.unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_to_the_queue_with_the_shorter_backlog_as_the_pump_sees_it() {
    let config = "
        [routing]
        backlog_max_age_seconds = 5
        [queues]
        full = { group = 'g' }
        free = { group = 'g' }
        [[routes]]
        queues = ['full', 'free']
        strategy = 'shortest'
    ";
    let folder = Folder::new("backlog", config);
    let world = World::start(config, &["full", "free"]).await;
    for n in 0..3 {
        assert_eq!(world.post("/queues/full/messages", &format!("waiting-{n}")).await.status(), 202);
    }
    assert_eq!(world.test().await["fallback"], "no backlog has been written");

    // It pumps the one queue, and counts both.
    let mut pump = folder.pump(&world.url);
    pump.args(["--queue", "free", "--seconds", "1"]);
    pump.env("ONCEBUS_STORAGE", world.emulator.storage_connection_string());
    pump.env("ONCEBUS_SERVICEBUS", world.emulator.service_bus_connection_string());
    let mut pump = pump.spawn().unwrap();
    let seen = until("a backlog", async || {
        let told = world.test().await;
        (told["chosen_by"] == "backlog").then_some(told)
    });
    let seen = seen.await;
    assert_eq!((&seen["queue"], &seen["candidates"][0]["backlog"]["messages"]), (&"free".into(), &3.into()), "{seen}");
    for n in 0..8 {
        let told = world.post("/messages", &format!("m-{n}")).await;
        assert_eq!(told.headers()["location"], format!("/queues/free/messages/m-{n}"));
    }

    // Nobody writes any more: what was written grows old, and the id decides again.
    pump.kill().await.unwrap();
    world.emulator.admin().advance_clock(Duration::from_secs(6));
    let told = world.test().await;
    assert!(told["fallback"].as_str().unwrap().ends_with("nothing is known that is young enough"), "{told}");
}
