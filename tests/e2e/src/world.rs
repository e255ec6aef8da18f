//! Services, host and components, wired.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use oncebus_core::run::Summary;
use oncebus_emulator::Admin;
use oncebus_host::{App, LogSink, Options, Server, Sqlite};
use rusqlite::types::Value;
use serde_json::Value as Json;

use crate::cut::Cuts;
use crate::services::Services;

const RUN_TOKEN: &str = "run-token-of-the-tests";
/// After so many runs a queue that is not empty never will be.
const MOST_RUNS: usize = 100;
/// The auth token with which webhooks are signed.
pub const TWILIO_TOKEN: &str = "twilio-token-of-the-tests";

/// What a test wants different.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The configuration document.
    pub config: String,
    /// The processor: `store` or `flaky`.
    pub processor: &'static str,
    /// Variables over those that the world sets.
    pub variables: BTreeMap<String, String>,
    /// The processor's database.
    pub database: Sqlite,
}

impl Default for Setup {
    fn default() -> Self {
        let config = "
            public_url = 'https://hooks.example.com'
            [defaults]
            gather_milliseconds = 20
            retry_base_seconds = 1
            [queues.orders]
            [queues.texts]
            [webhooks.twilio]
            queue = 'texts'
            [processor.settings]
            effects = true
        ";
        Self { config: config.to_owned(), processor: "store", variables: BTreeMap::new(), database: Sqlite::Memory }
    }
}

impl Setup {
    /// With the processor that misbehaves as its messages say.
    #[must_use]
    pub fn flaky() -> Self {
        Self { processor: "flaky", ..Self::default() }
    }

    /// With more in `[defaults]` of the configuration.
    #[must_use]
    pub fn with_defaults(mut self, lines: &str) -> Self {
        self.config = self.config.replace("[defaults]", &format!("[defaults]\n{lines}\n"));
        self
    }

    /// With claims that run out after 5 s, and a margin of 2 s: as short as is allowed, for those who have to wait for it.
    #[must_use]
    pub fn with_short_claims(self) -> Self {
        self.with_defaults("claim_ttl_seconds = 5\nclaim_margin_seconds = 2")
    }

    /// With a database that outlives the app.
    #[must_use]
    pub fn with_database(mut self, path: impl Into<PathBuf>) -> Self {
        self.database = Sqlite::File(path.into());
        self
    }

    /// With a variable.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }
}

/// What a run answered.
#[derive(Debug)]
pub struct Ran {
    /// The status.
    pub status: StatusCode,
    /// The body as JSON; null where it is none.
    pub body: Json,
}

impl Ran {
    /// The summary of a run that went well.
    #[must_use]
    pub fn summary(self) -> Summary {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        serde_json::from_value(self.body).expect("a summary")
    }
}

/// One of everything.
pub struct World {
    services: Arc<Services>,
    app: App,
    server: Server,
    client: reqwest::Client,
    log: Arc<Mutex<Vec<String>>>,
    /// The cuts still to come.
    pub cuts: Cuts,
}

impl World {
    /// Starts with the defaults.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// Starts as the setup says, with services of its own.
    ///
    /// # Panics
    /// When anything does not start.
    pub async fn with(setup: Setup) -> Self {
        Self::on(Arc::new(Services::emulated().await), setup).await
    }

    /// An app as the setup says, on services that may have others too.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn on(services: Arc<Services>, setup: Setup) -> Self {
        let (cuts, log) = (Cuts::default(), Arc::new(Mutex::new(Vec::new())));
        let lines = Arc::clone(&log);
        let options = Options {
            variables: variables(&services, &setup),
            sqlite: setup.database,
            outbound: Some(Arc::new(cuts.clone())),
            log: LogSink::new(move |line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.text)),
            overrides: [(
                "queue-handler/oncebus:processor/process@0.1.0".to_owned(),
                component(&format!("oncebus_{}.wasm", setup.processor)),
            )]
            .into(),
        };
        let app = App::load(&root().join("spin.toml"), options).await.expect("the app loads (scripts/build)");
        let server = app.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("the app listens");
        Self { services, app, server, client: reqwest::Client::new(), log, cuts }
    }

    /// Ends the app; the services stay.
    pub async fn stop(self) {
        self.server.shutdown().await;
    }

    /// Broker and storage.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The emulator's admin.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.services.admin()
    }

    /// The address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    /// A request to the app.
    pub fn request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Posts a message with an id.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn send(&self, queue: &str, id: &str, body: impl Into<String>) {
        let path = format!("/queues/{queue}/messages");
        let request = self.request(http::Method::POST, &path).header("Idempotency-Key", format!("\"{id}\""));
        let answer = request.header("content-type", "application/json").body(body.into()).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status();
        assert_eq!(status, StatusCode::ACCEPTED, "{}", answer.text().await.unwrap_or_default());
    }

    /// One run of a queue that ends as soon as the queue is empty. `Err` when the instance died.
    ///
    /// # Errors
    /// The status, or that there was none.
    pub async fn try_run(&self, queue: &str) -> Result<Ran, String> {
        self.run_for(queue, 1).await
    }

    /// One run of so many seconds.
    ///
    /// # Errors
    /// As [`World::try_run`].
    pub async fn run_for(&self, queue: &str, seconds: u32) -> Result<Ran, String> {
        let path = format!("/internal/queues/{queue}/run?seconds={seconds}");
        let request = self.request(http::Method::POST, &path).bearer_auth(RUN_TOKEN);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let body = serde_json::from_str(&text).unwrap_or(Json::Null);
        if status == StatusCode::INTERNAL_SERVER_ERROR && body.is_null() {
            return Err("the instance died".to_owned());
        }
        Ok(Ran { status, body })
    }

    /// One run that must go well.
    ///
    /// # Panics
    /// When it does not.
    pub async fn run(&self, queue: &str) -> Summary {
        self.try_run(queue).await.expect("the run lives").summary()
    }

    /// Runs until the queue is empty. What a run leaves locked, as one does that is over before all is done, comes back at once.
    ///
    /// # Panics
    /// When a run does not go well, or too many of them change nothing.
    pub async fn drain(&self, queue: &str) {
        for _ in 0..MOST_RUNS {
            if self.queued(queue) == 0 {
                return;
            }
            self.run(queue).await;
            self.let_locks_expire().await;
        }
        panic!("{} messages of {queue} never end", self.queued(queue));
    }

    /// One run that must die.
    ///
    /// # Panics
    /// When it does not, or when a cut was not reached.
    pub async fn run_and_die(&self, queue: &str) {
        let ran = self.try_run(queue).await;
        assert!(ran.is_err(), "the instance lives: {ran:?}");
        assert_eq!(self.cuts.left(), 0, "a cut was not reached");
    }

    /// Returns when each peek-lock and each claim has run out.
    pub async fn let_locks_expire(&self) {
        self.services.let_locks_expire().await;
    }

    /// The rows of a statement on the processor's database; none when its tables are not there yet.
    #[must_use]
    pub fn query(&self, statement: &str) -> Vec<Vec<Value>> {
        self.app.database().and_then(|database| database.query(statement, &[]).ok()).unwrap_or_default()
    }

    /// The ids in the store, each as often as it is there.
    #[must_use]
    pub fn stored(&self) -> Vec<String> {
        self.query("SELECT id FROM messages ORDER BY id")
            .into_iter()
            .filter_map(|row| text(row.into_iter().next()?))
            .collect()
    }

    /// How many steps of a message ran, by the log without a key.
    #[must_use]
    pub fn effects(&self, id: &str) -> usize {
        let id = id.replace('\'', "''");
        self.query(&format!("SELECT step FROM effects WHERE id = '{id}'")).len()
    }

    /// The state of a message, as ingest tells it.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn state(&self, queue: &str, id: &str) -> (StatusCode, Json) {
        let answer = self.request(http::Method::GET, &format!("/queues/{queue}/messages/{id}")).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        (status, serde_json::from_str(&text).unwrap_or(Json::Null))
    }

    /// How many messages an entity holds, in whatever state.
    #[must_use]
    pub fn queued(&self, entity: &str) -> usize {
        self.services.queued(entity)
    }

    /// What the components have printed.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names of all blobs.
    pub async fn blob_names(&self) -> Vec<String> {
        self.services.blobs().await.blobs.into_iter().map(|blob| blob.name).collect()
    }

    /// The largest memory that any instance of a component has had, in bytes.
    #[must_use]
    pub fn peak_memory(&self, component: &str) -> usize {
        self.app.peak_memory(component)
    }

    /// The one record in the container; lock keys, large checkpoints and large bodies are none.
    ///
    /// # Panics
    /// When there is not exactly one.
    pub async fn record(&self) -> BTreeMap<String, String> {
        let mut blobs = self.services.blobs().await.blobs;
        blobs.retain(|blob| {
            !blob.name.starts_with("keys/") && !blob.name.contains(".cp/") && !blob.name.contains(".claim/")
        });
        assert_eq!(blobs.len(), 1, "not one record");
        blobs.remove(0).metadata
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn variables(services: &Services, setup: &Setup) -> BTreeMap<String, String> {
    let own = [
        ("oncebus_config", setup.config.clone()),
        ("servicebus_send", services.service_bus()),
        ("servicebus_listen", services.service_bus()),
        ("servicebus_origin", services.service_bus_url()),
        ("storage", services.storage()),
        ("storage_origin", services.storage_origin()),
        ("run_token", RUN_TOKEN.to_owned()),
        ("twilio_auth_token", TWILIO_TOKEN.to_owned()),
    ];
    let mut variables: BTreeMap<String, String> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    variables.extend(setup.variables.clone());
    variables
}

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn component(file: &str) -> PathBuf {
    root().join("target/wasm32-wasip2/release").join(file)
}
