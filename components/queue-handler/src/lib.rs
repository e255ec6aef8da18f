//! The queue handler: `POST /internal/queues/{queue}/run?seconds=&batch=` runs one queue for so long.
//!
//! A thin entry point. It checks the bearer secret, reads the settings, and hands over to
//! [`oncebus_runtime::handler::run`]; the rules are in `oncebus-core`. The answer is the run's summary as JSON, or a problem
//! when the run could receive nothing.
//!
//! The processor is imported from another component (`wit/oncebus-processor.wit`, `spin.toml`); [`processor`] translates.

#![expect(unsafe_code, reason = "the glue of the component model is generated")]

mod log;
mod processor;
mod request;

use http::{Request, Response, StatusCode, header};
use oncebus_azure::connection::{ConnectionStringError, ServiceBusConnection, StorageConnection};
use oncebus_core::config::{Config, ConfigError, OnDone, settings};
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::run::{Run, Summary, TroubleKind};
use oncebus_core::secret::Secret;
use oncebus_runtime::broker::Broker;
use oncebus_runtime::component::{config, misconfigured, problem_response, required};
use oncebus_runtime::handler::{self, Services};
use oncebus_runtime::platform::spin::Spin;
use oncebus_runtime::platform::{Clock as _, Entropy as _};
use oncebus_runtime::records::Records;
use request::RunRequest;
use spin_sdk::http_component;

#[http_component]
async fn handle(request: Request<Vec<u8>>) -> Response<Vec<u8>> {
    answer(&request).await.unwrap_or_else(|problem| problem_response(&problem))
}

async fn answer(request: &Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Problem> {
    let path = request::route(request)?;
    let run_token = Settings::run_token().map_err(|error| misconfigured(&error))?;
    request::authorise(request, &run_token)?;
    // Only now: whoever does not know the secret learns nothing of the rest.
    let settings = Settings::read().map_err(|error| misconfigured(&error))?;
    let wanted = RunRequest::parse(path, request.uri().query(), &settings.config)?;
    let summary = run(&settings, wanted).await;
    log::summary(&summary);
    match refused(&summary) {
        Some(problem) => Err(problem),
        None => json(&summary),
    }
}

async fn run(settings: &Settings, wanted: RunRequest) -> Summary {
    let platform = Spin;
    let services = Services {
        platform: &platform,
        listen: Broker::new(&platform, &settings.listen),
        send: Broker::new(&platform, &settings.send),
        records: match wanted.queue.on_done {
            OnDone::Keep => Records::new(&platform, &settings.storage, &settings.config.container),
            OnDone::Delete => Records::that_may_delete(&platform, &settings.storage, &settings.config.container),
        },
        queue: wanted.queue.name.clone(),
    };
    let mut random = [0; 16];
    platform.fill(&mut random);
    let run = Run::new(wanted.queue, wanted.batch, wanted.length, platform.now(), u128::from_le_bytes(random));
    let id = run.id().to_owned();
    let process = |run: &str, work| processor::process(run, work, &settings.config.processor_settings);
    handler::run(&services, run, process, |note| log::note(&id, &services.queue, note)).await
}

/// A run that could receive nothing because a service refused or failed is a problem; one that did some work before is not:
/// its summary names the trouble.
fn refused(summary: &Summary) -> Option<Problem> {
    let trouble = summary.trouble.as_ref().filter(|_| summary.received == 0)?;
    let (kind, what) = match trouble.kind {
        TroubleKind::Refused => (Kind::CredentialRefused, "refused the credential"),
        TroubleKind::Missing => (Kind::NotProvisioned, "does not know the queue or the container"),
        TroubleKind::Unavailable => (Kind::Unavailable, "does not answer as it should"),
    };
    let detail = format!("{} {what}", trouble.service);
    Some(Problem::new(kind, detail).with("service", trouble.service.as_str()).with("queue", summary.queue.as_str()))
}

fn json(summary: &Summary) -> Result<Response<Vec<u8>>, Problem> {
    let body = serde_json::to_vec(summary).map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        .body(body)
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))
}

/// What the variables say.
struct Settings {
    config: Config,
    listen: ServiceBusConnection,
    send: ServiceBusConnection,
    storage: StorageConnection,
}

/// A shorter secret can be guessed.
const MIN_RUN_TOKEN: usize = 16;

impl Settings {
    fn run_token() -> Result<Secret, ConfigError> {
        let run_token = required(&settings::RUN_TOKEN)?;
        if run_token.len() < MIN_RUN_TOKEN {
            return Err(ConfigError::new(
                settings::RUN_TOKEN.key,
                format!("expected at least {MIN_RUN_TOKEN} characters"),
            ));
        }
        Ok(Secret::new(run_token))
    }

    fn read() -> Result<Self, ConfigError> {
        let listen = ServiceBusConnection::parse(&required(&settings::SERVICEBUS_LISTEN)?);
        let send = ServiceBusConnection::parse(&required(&settings::SERVICEBUS_SEND)?);
        let storage = StorageConnection::parse(&required(&settings::STORAGE)?);
        Ok(Self {
            config: config()?,
            listen: listen.map_err(|error| connection(&settings::SERVICEBUS_LISTEN, &error))?,
            send: send.map_err(|error| connection(&settings::SERVICEBUS_SEND, &error))?,
            storage: storage.map_err(|error| connection(&settings::STORAGE, &error))?,
        })
    }
}

fn connection(setting: &settings::Setting, error: &ConnectionStringError) -> ConfigError {
    ConfigError::new(setting.key, error.to_string())
}
