//! The admin port: JSON over HTTP, for tests in any language. No credentials: keep it on loopback.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::server::Handler;
use super::wire::Nonsense;
use super::{Answer, Payload, query_pairs, read_body};
use crate::admin::{Admin, AdminError};
use crate::auth::decode;
use crate::broker::QueueOptions;
use crate::entities::{ConfigError, Entities};
use crate::faults::{Fault, FaultError, Service};
use crate::time::UnixMillis;

const LARGEST_BODY: usize = 1024 * 1024;

/// Messages of one entity, or its locks, that are shown unless more are asked for.
const PAGE: usize = 100;

/// The admin port of one emulator.
#[derive(Debug)]
pub(crate) struct AdminService {
    pub(crate) admin: Admin,
    /// How long a body may take to arrive.
    pub(crate) patience: Duration,
}

/// `POST /clock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockMove {
    /// How far forward, in seconds; back when negative, which needs `service`.
    advance_seconds: f64,
    /// Which clock; both when absent.
    #[serde(default)]
    service: Option<Service>,
}

/// `POST /faults` takes one rule or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FaultRules {
    Several(Vec<Fault>),
    One(Box<Fault>),
}

/// An answer that is no success.
struct Problem(StatusCode, String);

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let status = match error {
            AdminError::Remove { .. } => StatusCode::NOT_FOUND,
            AdminError::Name(_) | AdminError::Entity(_) => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string())
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<FaultError> for Problem {
    fn from(error: FaultError) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl Handler for AdminService {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let Ok(body) = read_body(body, LARGEST_BODY, self.patience).await else {
            return Ok(problem(&Problem(StatusCode::BAD_REQUEST, "unreadable body".to_owned())));
        };
        let query = query_pairs(head.uri.query());
        let done = self.dispatch(&head.method, head.uri.path(), &query, &body);
        Ok(done.unwrap_or_else(|refused| problem(&refused)))
    }

    fn nonsense(&self, status: StatusCode) -> Nonsense {
        let error = status.canonical_reason().unwrap_or("Bad Request");
        Nonsense {
            content_type: "application/json",
            server: "oncebus-emulator",
            body: json!({ "error": error }).to_string(),
        }
    }

    fn time(&self) -> UnixMillis {
        UnixMillis::from(std::time::SystemTime::now())
    }
}

impl AdminService {
    fn dispatch(
        &self,
        method: &Method,
        path: &str,
        query: &[(String, String)],
        body: &Bytes,
    ) -> Result<Response<Payload>, Problem> {
        let admin = &self.admin;
        let number = |name: &str, default: usize| match query.iter().find(|(n, _)| n == name) {
            None => Ok(default),
            Some((_, value)) => value
                .parse()
                .map_err(|_| Problem(StatusCode::BAD_REQUEST, format!("{name} must be a number, not {value:?}"))),
        };
        let path = path.trim_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let name = decode(rest);
        match (method, first) {
            (&Method::GET, "healthz") => ok(&json!({ "status": "ok" })),
            (&Method::GET, "state") => ok(&admin.state_of(number("top", PAGE)?)),
            (&Method::GET, "locks") => ok(&admin.locks(number("top", PAGE)?)),
            (&Method::POST, "config") => {
                let entities = Entities::from_config(body)?;
                admin.put_entities(&entities)?;
                ok(&json!({}))
            }
            (&Method::GET, "calls") => ok(&admin.calls()),
            (&Method::POST, "reset") => {
                admin.reset();
                ok(&json!({}))
            }
            (&Method::POST, "clock") => self.move_clock(body),
            (&Method::GET, "faults") => {
                let list: Vec<Value> =
                    admin.faults().iter().map(|(fault, struck)| json!({ "fault": fault, "struck": struck })).collect();
                ok(&list)
            }
            (&Method::POST, "faults") => {
                let faults = match serde_json::from_slice(body)? {
                    FaultRules::Several(faults) => faults,
                    FaultRules::One(fault) => vec![*fault],
                };
                faults.iter().try_for_each(Fault::check)?;
                faults.into_iter().for_each(|fault| admin.add_fault(fault));
                ok(&json!({}))
            }
            (&Method::DELETE, "faults") => {
                admin.clear_faults();
                ok(&json!({}))
            }
            (&Method::PUT, "queues") if !name.is_empty() && says_properties(body) => {
                admin.put_entities(&Entities::default().with_queue(&name, &read(body)?))?;
                ok(&json!({}))
            }
            (&Method::PUT, "queues") if !name.is_empty() => {
                let options = if body.is_empty() { QueueOptions::default() } else { serde_json::from_slice(body)? };
                admin.put_queue(QueueOptions { name, ..options })?;
                ok(&json!({}))
            }
            (&Method::DELETE, "queues") if !name.is_empty() => match admin.remove_queue(&name) {
                true => ok(&json!({})),
                false => Err(Problem(StatusCode::NOT_FOUND, format!("no such queue: {name}"))),
            },
            (&Method::GET, "queues" | "topics") if !name.is_empty() => {
                match admin.entity(&name, number("skip", 0)?, number("top", PAGE)?) {
                    Some(view) => ok(&view),
                    None => Err(Problem(StatusCode::NOT_FOUND, format!("no such entity: {name}"))),
                }
            }
            (&Method::PUT, "topics") if !name.is_empty() => {
                self.put_below_topic(&name, body)?;
                ok(&json!({}))
            }
            (&Method::DELETE, "topics") if !name.is_empty() => {
                admin.remove_entity(&name)?;
                ok(&json!({}))
            }
            (&Method::PUT, "containers") if !name.is_empty() => {
                admin.put_container(&name)?;
                ok(&json!({}))
            }
            (&Method::GET, "containers") if !name.is_empty() => ok(&admin.blobs(&name)),
            _ => Err(Problem(StatusCode::NOT_FOUND, format!("nothing at {method} /{path}"))),
        }
    }

    /// A topic, a subscription or a rule, whichever the path names.
    fn put_below_topic(&self, path: &str, body: &Bytes) -> Result<(), Problem> {
        let none = Entities::default();
        let entities = match path.rsplit_once("/subscriptions/") {
            None => none.with_topic(path, &read(body)?),
            Some((topic, rest)) => match rest.split_once("/rules/") {
                Some((subscription, rule)) => {
                    return Ok(self.admin.put_rule(topic, subscription, rule, &read_required(body)?)?);
                }
                None => none.with_subscription(topic, rest, &read(body)?),
            },
        };
        Ok(self.admin.put_entities(&entities)?)
    }

    fn move_clock(&self, body: &Bytes) -> Result<Response<Payload>, Problem> {
        let clock: ClockMove = serde_json::from_slice(body)?;
        let refused = |text: &str| Problem(StatusCode::BAD_REQUEST, text.to_owned());
        let seconds = clock.advance_seconds;
        let by = Duration::try_from_secs_f64(seconds.abs())
            .map_err(|_| refused("advance_seconds must be a number of seconds"))?;
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        match clock.service {
            Some(service) => self.admin.shift_clock(service, if seconds < 0.0 { -millis } else { millis }),
            None if seconds < 0.0 => return Err(refused("to move a clock back, name its service")),
            None => self.admin.advance_clock(by),
        }
        ok(&json!({}))
    }
}

/// Properties by the names of `Config.json`; none of them in an empty body.
fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() { Ok(T::default()) } else { read_required(body) }
}

fn read_required<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| Problem(StatusCode::BAD_REQUEST, error.to_string()))
}

/// Whether a queue is described by the names of `Config.json`: they begin with capitals, ours do not.
fn says_properties(body: &[u8]) -> bool {
    let first = body.iter().position(|byte| *byte == b'"').and_then(|at| body.get(at + 1));
    first.is_some_and(u8::is_ascii_uppercase)
}

fn ok(value: &impl Serialize) -> Result<Response<Payload>, Problem> {
    let json = serde_json::to_vec(value)?;
    Ok(respond(StatusCode::OK, json))
}

fn problem(problem: &Problem) -> Response<Payload> {
    respond(problem.0, json!({ "error": problem.1 }).to_string().into_bytes())
}

fn respond(status: StatusCode, json: Vec<u8>) -> Response<Payload> {
    let mut response = Response::new(Payload::sized(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
