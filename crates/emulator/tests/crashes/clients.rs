//! Clients of the message broker. Each works until nobody answers any more, and tells what it knows then.

use std::time::UNIX_EPOCH;

use reqwest::{Method, Response};
use serde_json::Value;

use crate::program::Program;
use crate::support::{Bus, headers};
use crate::{Draw, LATER, ONCE, QUEUE, SUBSCRIPTION, TOPIC};

/// Something that a client knows about a message, or about several.
#[derive(Debug)]
pub(crate) enum Event {
    /// These were sent together and answered with 201, or not answered.
    Sent { entity: &'static str, bodies: Vec<String>, answered: bool },
    /// An id was sent to the queue without duplicates.
    Once { id: String, answered: bool },
    /// A message was received under a lock.
    Locked(Lock),
    /// A lock was renewed.
    Renewed { entity: &'static str, body: String },
    /// A lock was given back, or perhaps: nobody answered.
    Released { entity: &'static str, body: String },
    /// A message was completed or taken.
    Gone { entity: &'static str, body: String },
    /// A completion was not answered.
    PerhapsGone { entity: &'static str, body: String },
}

/// What a receiver was told.
#[derive(Debug, Clone)]
pub(crate) struct Lock {
    pub(crate) entity: &'static str,
    pub(crate) body: String,
    /// The way to settle it, without the host.
    pub(crate) path: String,
    /// In seconds since 1970.
    pub(crate) until: i64,
    pub(crate) deliveries: u64,
    pub(crate) number: u64,
}

/// What a client does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Sender,
    Repeater,
    Receiver(&'static str),
    Taker,
}

pub(crate) struct Client {
    bus: Bus,
    kind: Kind,
    /// What its messages begin with.
    name: String,
    draw: Draw,
    events: Vec<Event>,
}

/// Nobody answers any more.
struct Silence;

impl From<reqwest::Error> for Silence {
    fn from(_: reqwest::Error) -> Self {
        Self
    }
}

impl Client {
    pub(crate) fn kinds() -> [Kind; 9] {
        use Kind::{Receiver, Repeater, Sender, Taker};
        let (queue, subscription) = (Receiver(QUEUE), Receiver(SUBSCRIPTION));
        [Sender, Sender, Sender, Repeater, queue, queue, subscription, subscription, Taker]
    }

    pub(crate) fn new(program: &Program, round: u64, kind: Kind, mut draw: Draw) -> Self {
        let name = format!("{round}-{:x}", draw.next());
        Self { bus: Bus::new(&program.service_bus), kind, name, draw, events: Vec::new() }
    }

    pub(crate) async fn work(mut self) -> Vec<Event> {
        for n in 0.. {
            let worked = match self.kind {
                Kind::Sender => self.send(n).await,
                Kind::Repeater => self.repeat(n).await,
                Kind::Receiver(entity) => self.receive(entity).await,
                Kind::Taker => self.take().await,
            };
            if worked.is_err() {
                break;
            }
        }
        self.events
    }

    /// One message, or three in a batch, or one for later, or one for a topic.
    async fn send(&mut self, n: u64) -> Result<(), Silence> {
        let body = format!("{}-{n}", self.name);
        let (entity, bodies, request) = match self.draw.below(8) {
            0 => {
                let bodies: Vec<String> = (0..3).map(|part| format!("{body}.{part}")).collect();
                let items: Vec<Value> = bodies.iter().map(|body| serde_json::json!({ "Body": body })).collect();
                let batch = "application/vnd.microsoft.servicebus.json";
                let request = self.post(QUEUE).header("content-type", batch).body(Value::from(items).to_string());
                (QUEUE, bodies, request)
            }
            1 => {
                let due = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
                let due = format!("{{\"ScheduledEnqueueTimeUtc\":\"{}\"}}", httpdate::fmt_http_date(due));
                (LATER, vec![body.clone()], self.post(LATER).header("brokerproperties", due).body(body))
            }
            2 | 3 => (SUBSCRIPTION, vec![body.clone()], self.post(TOPIC).body(body)),
            _ => (QUEUE, vec![body.clone()], self.post(QUEUE).header("n", "1").body(body)),
        };
        let answer = status(request.send().await);
        self.events.push(Event::Sent { entity, bodies, answered: answer.is_ok() });
        answer.map(|status| assert_eq!(status, 201))
    }

    /// The same id twice at once, and now and then an old one.
    async fn repeat(&mut self, n: u64) -> Result<(), Silence> {
        let n = if n > 0 && self.draw.below(4) == 0 { self.draw.below(n) } else { n };
        let id = format!("{}-{n}", self.name);
        let request = || {
            let properties = format!("{{\"MessageId\":\"{id}\"}}");
            self.post(ONCE).header("brokerproperties", properties).body(id.clone()).send()
        };
        let (one, other) = tokio::join!(request(), request());
        let (one, other) = (status(one), status(other));
        let answered = one.is_ok() || other.is_ok();
        self.events.push(Event::Once { id, answered });
        one.and(other).map(|status| assert_eq!(status, 201))
    }

    /// Locks a message, and completes it, gives it back, renews it, or keeps the lock.
    async fn receive(&mut self, entity: &'static str) -> Result<(), Silence> {
        let response = self.bus.try_peek_lock(entity, 1).await?;
        if response.status() == 204 {
            return Ok(());
        }
        let lock = lock(entity, response).await?;
        let (path, body) = (lock.path.clone(), lock.body.clone());
        self.events.push(Event::Locked(lock));
        match self.draw.below(8) {
            0..4 => match self.settle(Method::DELETE, &path).await {
                Ok(()) => self.events.push(Event::Gone { entity, body }),
                Err(silence) => {
                    self.events.push(Event::PerhapsGone { entity, body });
                    return Err(silence);
                }
            },
            4 | 5 => {
                let settled = self.settle(Method::PUT, &path).await;
                self.events.push(Event::Released { entity, body });
                settled?;
            }
            6 => {
                self.settle(Method::POST, &path).await?;
                self.events.push(Event::Renewed { entity, body });
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes messages without a lock. One whose answer is lost is lost, so that it takes only from the queue.
    async fn take(&mut self) -> Result<(), Silence> {
        let path = format!("{QUEUE}/messages/head?timeout=1");
        let response = self.bus.request(Method::DELETE, &path).send().await;
        let response = response.inspect_err(|_| {
            // Nobody knows which message this was.
            self.events.push(Event::PerhapsGone { entity: QUEUE, body: String::new() });
        })?;
        if response.status() == 200 {
            let body = response.text().await?;
            self.events.push(Event::Gone { entity: QUEUE, body });
        }
        Ok(())
    }

    async fn settle(&self, method: Method, path: &str) -> Result<(), Silence> {
        status(self.bus.request(method, path).send().await).map(|status| assert_eq!(status, 200))
    }

    fn post(&self, entity: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/{entity}/messages", self.bus.url);
        self.bus.http.post(url).header("authorization", &self.bus.token)
    }
}

fn status(answer: Result<Response, reqwest::Error>) -> Result<u16, Silence> {
    Ok(answer?.status().as_u16())
}

/// Reads the answer to a peek-lock.
async fn lock(entity: &'static str, response: Response) -> Result<Lock, Silence> {
    assert_eq!(response.status(), 201);
    let headers = headers(&response);
    let broker: Value = serde_json::from_str(&headers["brokerproperties"]).unwrap();
    let path = headers["location"].splitn(4, '/').nth(3).unwrap().to_owned();
    let until = httpdate::parse_http_date(broker["LockedUntilUtc"].as_str().unwrap()).unwrap();
    let until = i64::try_from(until.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let number = |name: &str| broker[name].as_u64().unwrap();
    let (deliveries, number) = (number("DeliveryCount"), number("SequenceNumber"));
    Ok(Lock { entity, path, until, deliveries, number, body: response.text().await? })
}
