//! Idempotency, over a storage that keeps what is written to it: what a client is told, and what it costs, call by call.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::*;

const PATH: &str = "/queues/orders/messages";
const KEY: (&str, &str) = ("idempotency-key", "\"k\"");

/// A container, a queue and the clock of the storage.
#[derive(Default)]
struct Services {
    /// Metadata headers, version and time of writing, by path.
    blobs: RefCell<BTreeMap<String, (HeaderMap, u32, u64)>>,
    versions: Cell<u32>,
    now: Cell<u64>,
    /// What came, a word each.
    calls: RefCell<Vec<&'static str>>,
    /// What the next call of this kind meets, in place of its answer; with `true`, after it was done.
    trouble: RefCell<Vec<(&'static str, bool, Trouble)>>,
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Status(u16),
    NoAnswer,
}

impl Services {
    fn world(self: &Rc<Self>, config: &'static str) -> World {
        self.now.set(1_795_174_201);
        let services = Rc::clone(self);
        World { config, ..World::new(move |request| services.answer(request)) }
    }

    fn answer(&self, request: &Request<Bytes>) -> Reply {
        let call = match (request.uri().host(), request.method().as_str(), request.uri().query()) {
            (Some("bus.example"), "GET", _) => "time",
            (Some("bus.example"), ..) => "send",
            (_, "HEAD", _) => "look",
            (_, _, Some(query)) if query.contains("comp=metadata") => "write",
            _ => "create",
        };
        self.calls.borrow_mut().push(call);
        let trouble = {
            let mut trouble = self.trouble.borrow_mut();
            trouble.iter().position(|(kind, ..)| *kind == call).map(|at| trouble.remove(at))
        };
        match trouble {
            Some((_, done, trouble)) => {
                if done {
                    self.done(call, request);
                }
                match trouble {
                    Trouble::Status(status) => Ok(response(status, &[])),
                    Trouble::NoAnswer => Err(TransportError::NoAnswer("reset".to_owned())),
                }
            }
            None => Ok(self.done(call, request)),
        }
    }

    fn done(&self, call: &str, request: &Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path().to_owned();
        let version = self.blobs.borrow().get(&path).map(|(_, version, _)| format!("\"{version}\""));
        let wanted = request.headers().get("if-match").map(|etag| etag.to_str().unwrap().to_owned());
        match call {
            "time" => response(401, &[("date", "Fri, 20 Nov 2026 11:30:01 GMT")]),
            "send" => response(201, &[]),
            "create" if version.is_some() => response(409, &[("x-ms-error-code", "BlobAlreadyExists")]),
            "write" if wanted.is_none() || wanted != version => response(412, &[]),
            "create" | "write" => {
                self.versions.set(self.versions.get() + 1);
                let metadata = request.headers().iter().filter(|(name, _)| name.as_str().starts_with("x-ms-meta-"));
                let metadata = metadata.map(|(name, value)| (name.clone(), value.clone())).collect();
                let etag = format!("\"{}\"", self.versions.get());
                self.blobs.borrow_mut().insert(path, (metadata, self.versions.get(), self.now.get()));
                response(if call == "create" { 201 } else { 200 }, &[("etag", &etag)])
            }
            _ => match self.blobs.borrow().get(&path) {
                None => response(404, &[]),
                Some((metadata, version, written)) => {
                    let date = |seconds: u64| {
                        let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
                        httpdate(time)
                    };
                    let headers = [
                        ("etag", format!("\"{version}\"")),
                        ("last-modified", date(*written)),
                        ("date", date(self.now.get())),
                    ];
                    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
                    let mut found = response(200, &headers);
                    found.headers_mut().extend(metadata.clone());
                    found
                }
            },
        }
    }

    fn meets(&self, call: &'static str, done: bool, trouble: Trouble) {
        self.trouble.borrow_mut().push((call, done, trouble));
    }

    /// What came since the last time.
    fn calls(&self) -> String {
        self.calls.take().join(" ")
    }
}

/// An HTTP-date within 20 November 2026.
fn httpdate(time: std::time::SystemTime) -> String {
    let midnight = 1_795_132_800;
    let second = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - midnight;
    assert!(second < 86_400);
    format!("Fri, 20 Nov 2026 {:02}:{:02}:{:02} GMT", second / 3_600, second / 60 % 60, second % 60)
}

const RECORD: &str = "[queues.orders]\nidempotency = 'record'\ngroup = 'shop'";

fn accepted(told: &Told) -> (u16, Option<&str>) {
    (told.status, told.header("location"))
}

const ACCEPTED: (u16, Option<&str>) = (202, Some("/queues/orders/messages/k"));

#[test]
fn a_new_key_costs_three_calls_and_a_repetition_two() {
    let services = Rc::new(Services::default());
    let world = services.world(RECORD);
    assert_eq!(accepted(&world.ask("POST", PATH, &[KEY], "x")), ACCEPTED);
    assert_eq!(services.calls(), "create send write");
    assert_eq!(accepted(&world.ask("POST", PATH, &[KEY], "x")), ACCEPTED);
    assert_eq!(services.calls(), "create look");
    let blobs = services.blobs.borrow();
    let (name, (metadata, ..)) = blobs.first_key_value().unwrap();
    assert!(name.starts_with("/oncebus/door/") && name.contains("/shop/"), "{name}");
    assert_eq!(
        (&metadata["x-ms-meta-st"], &metadata["x-ms-meta-q"]),
        (&"t".parse().unwrap(), &"orders".parse().unwrap())
    );
}

#[test]
fn another_payload_under_a_key_is_422_and_nothing_is_sent() {
    let services = Rc::new(Services::default());
    let world = services.world(RECORD);
    world.ask("POST", PATH, &[KEY], "x");
    services.calls();
    assert_eq!(world.ask("POST", PATH, &[KEY], "y").problem(), problem(422, "key-reused"));
    assert_eq!(world.ask("POST", PATH, &[KEY, ("content-type", "a/b")], "x").problem(), problem(422, "key-reused"));
    assert_eq!(services.calls(), "create look create look");
}

#[test]
fn a_key_is_its_clients_own() {
    let services = Rc::new(Services::default());
    let config = "[queues.orders]\nidempotency = 'record'\n[access]\nmode = 'keys'\n[[access.keys]]\nname = 'a'\nsha256 = '3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d'\n[[access.keys]]\nname = 'b'\nsha256 = 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'";
    let world = services.world(config);
    // The SHA-256 of `b` and of `a`.
    for (key, id, body) in [("b", "a%3Ak", "x"), ("a", "b%3Ak", "y")] {
        let told = world.ask("POST", PATH, &[KEY, ("x-api-key", key)], body);
        assert_eq!(accepted(&told), (202, Some(format!("/queues/orders/messages/{id}").as_str())));
    }
    assert_eq!(services.calls(), "create send write create send write");
}

#[test]
fn a_request_that_died_before_it_sent_is_healed_by_the_next() {
    let services = Rc::new(Services::default());
    let world = services.world(RECORD);
    // The record is made, and the instance does not live to hear of it: no answer, and the look fails as well.
    services.meets("create", true, Trouble::NoAnswer);
    services.meets("look", false, Trouble::Status(403));
    assert_eq!(world.ask("POST", PATH, &[KEY], "x").problem(), problem(502, "credential-refused"));
    assert_eq!(services.calls(), "create look");
    let told = world.ask("POST", PATH, &[KEY], "x");
    assert_eq!((told.problem(), told.header("retry-after")), (problem(409, "in-progress"), Some("16")));
    assert_eq!(services.calls(), "create look");
    services.now.set(services.now.get() + 16);
    assert_eq!(accepted(&world.ask("POST", PATH, &[KEY], "x")), ACCEPTED);
    assert_eq!(services.calls(), "create look write send write");
    assert_eq!(accepted(&world.ask("POST", PATH, &[KEY], "x")), ACCEPTED);
    assert_eq!(services.calls(), "create look");
}

#[test]
fn a_send_that_failed_may_be_repeated_at_once() {
    let services = Rc::new(Services::default());
    let world = services.world(RECORD);
    services.meets("send", false, Trouble::Status(429));
    let told = world.ask("POST", PATH, &[KEY], "x");
    assert_eq!((told.problem(), told.header("retry-after")), (problem(503, "throttled"), Some("2")));
    assert_eq!(services.calls(), "create send write");
    assert_eq!(accepted(&world.ask("POST", PATH, &[KEY], "x")), ACCEPTED);
    assert_eq!(services.calls(), "create look write send write");
}

#[test]
fn a_lost_answer_of_the_storage_is_looked_into() {
    let services = Rc::new(Services::default());
    let world = services.world(RECORD);
    services.meets("create", true, Trouble::NoAnswer);
    assert_eq!(accepted(&world.ask("POST", PATH, &[KEY], "x")), ACCEPTED);
    assert_eq!(services.calls(), "create look send write");
    // A mark that is not answered is repeated, and what it says then decides nothing.
    let other = [("idempotency-key", "l")];
    services.meets("write", true, Trouble::NoAnswer);
    assert_eq!(world.ask("POST", PATH, &other, "x").status, 202);
    assert_eq!(services.calls(), "create send write write");
    assert_eq!(world.ask("POST", PATH, &other, "x").status, 202);
    assert_eq!(services.calls(), "create look");
}

#[test]
fn a_storage_that_is_busy_is_not_waited_for() {
    let services = Rc::new(Services::default());
    let world = services.world(RECORD);
    services.meets("create", false, Trouble::Status(503));
    let told = world.ask("POST", PATH, &[KEY], "x");
    assert_eq!((told.problem(), &told.json()["service"]), (problem(503, "throttled"), &"storage".into()));
    assert_eq!((services.calls().as_str(), world.now.get()), ("create", Duration::ZERO));
    world.ask("POST", PATH, &[KEY], "x");
    services.calls();
    services.meets("look", false, Trouble::Status(503));
    assert_eq!(world.ask("POST", PATH, &[KEY], "x").problem(), problem(503, "throttled"));
    assert_eq!((services.calls().as_str(), world.now.get()), ("create look", Duration::ZERO));
}

#[test]
fn without_a_key_there_is_no_record_unless_a_key_is_required() {
    let services = Rc::new(Services::default());
    assert_eq!(services.world(RECORD).ask("POST", PATH, &[], "x").status, 202);
    assert_eq!(services.calls(), "send");
    for config in [
        "[queues.orders]\nidempotency = 'record'\nkey_required = true",
        "[queues.orders]\nkey_required = true",
        "[queues.orders]\nidempotency = 'broker'",
    ] {
        let told = services.world(config).ask("POST", PATH, &[], "x");
        assert_eq!(told.problem(), problem(400, "missing-key"), "{config}");
        let detail = told.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(
            detail,
            "this queue takes nothing without a key: send the header idempotency-key, or the header message-id"
        );
    }
    assert_eq!(services.calls(), "");
    let broker = services.world("[queues.orders]\nidempotency = 'broker'");
    assert_eq!((broker.ask("POST", PATH, &[KEY], "x").status, services.calls().as_str()), (202, "send"));
}

#[test]
fn a_message_is_named_by_what_the_queue_says() {
    let services = Rc::new(Services::default());
    let config = "[queues.orders]\nkey_from = ['json:/order/id', 'form:MessageSid', 'payload']\nlock_key_from = ['json:/customer', 'form:From']\n[[routes]]\nqueue = 'orders'";
    let world = services.world(config);
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    for path in [PATH, "/messages"] {
        let told = world.ask("POST", path, &[json, KEY], r#"{"order": {"id": 7}, "customer": "c"}"#);
        assert_eq!(accepted(&told), (202, Some("/queues/orders/messages/7")), "{path}");
        let sent = world.only_sent();
        assert_eq!((sent_header(&sent, "oncebus-id"), sent_header(&sent, "oncebus-key")), ("\"7\"", "\"c\""));
        assert_eq!(&sent.body()[..], br#"{"order": {"id": 7}, "customer": "c"}"#);
        let told = world.ask("POST", path, &[form], "MessageSid=SM1&From=%2B49");
        assert_eq!(accepted(&told), (202, Some("/queues/orders/messages/SM1")));
        assert_eq!(sent_header(&world.only_sent(), "oncebus-key"), "\"+49\"");
        let told = world.ask("POST", path, &[], "x");
        assert_eq!(told.header("location").unwrap().len(), PATH.len() + 1 + 64);
        assert!(!world.only_sent().headers().contains_key("oncebus-key"));
        assert_eq!(world.ask("POST", path, &[json], "{").problem(), problem(400, "malformed"));
        assert_eq!(world.ask("POST", path, &[json], r#"{"order": {"id": []}}"#).problem(), problem(400, "invalid-id"));
        assert_eq!(world.ask("POST", path, &[json], &"x".repeat(262_145)).problem(), problem(413, "too-large"));
    }
}

#[test]
fn a_delay_is_reckoned_by_the_brokers_clock_and_costs_one_call() {
    let services = Rc::new(Services::default());
    let world = services.world("[queues.orders]");
    let ask = |headers: &[(&str, &str)]| {
        world.sent.borrow_mut().clear();
        let told = world.ask("POST", PATH, headers, "x");
        let sent = world.sent.borrow_mut().pop();
        let properties =
            sent.filter(|_| told.status == 202).map(|sent| sent_header(&sent, "brokerproperties").to_owned());
        (told.status, properties.map(|text| serde_json::from_str::<Value>(&text).unwrap()))
    };
    let (status, properties) = ask(&[KEY, ("oncebus-delay", "90"), ("oncebus-ttl", "60")]);
    let expected = serde_json::json!({ "MessageId": "k", "ScheduledEnqueueTimeUtc": "Fri, 20 Nov 2026 11:31:31 GMT", "TimeToLive": 60 });
    assert_eq!((status, properties.unwrap(), services.calls().as_str()), (202, expected, "time send"));
    let (status, properties) = ask(&[KEY, ("oncebus-deliver-at", "2026-11-20T11:30:02Z")]);
    assert_eq!(
        (status, properties.unwrap()["ScheduledEnqueueTimeUtc"].as_str()),
        (202, Some("Fri, 20 Nov 2026 11:30:02 GMT"))
    );
    let (status, properties) = ask(&[KEY, ("oncebus-deliver-at", "Fri, 20 Nov 2026 11:30:01 GMT")]);
    assert_eq!((status, properties.unwrap().get("ScheduledEnqueueTimeUtc").is_none()), (202, true), "it is past");
    services.calls();
    assert_eq!((ask(&[("oncebus-deliver-at", "2026-11-28T00:00:00Z")]).0, services.calls().as_str()), (400, "time"));
    assert_eq!(
        (ask(&[("oncebus-delay", "1"), ("oncebus-deliver-at", "2026-11-20T11:30:02Z")]).0, services.calls().as_str()),
        (400, "")
    );
    assert_eq!(
        (ask(&[("oncebus-ttl", "60")]).0, services.calls().as_str()),
        (202, "send"),
        "a lifetime needs no clock"
    );
    // A broker that does not tell the time gets no message.
    services.meets("time", false, Trouble::Status(200));
    assert_eq!((ask(&[("oncebus-delay", "1")]).0, services.calls().as_str()), (503, "time"));
}
