//! A fuzz target: requests of any shape to a small namespace.
//!
//! An input is a script of requests divided by lines of `%%`: a line with method and path, headers, an
//! empty line, a body. `@` in place of a path is the location that the last answer gave. A request
//! without `Authorization` is given one that allows everything; an empty one is none. Time stands still,
//! but for a request that waits: it is moved on until there is an answer.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use quick_xml::Reader;
use quick_xml::events::Event;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::super::ServiceBus;
use super::header_lines;
use crate::auth::fuzzing::{root, token};
use crate::auth::service_bus::Rules;
use crate::behaviour::Behaviour;
use crate::broker::{Broker, QueueOptions};
use crate::clock::Clock;
use crate::clocks::Clocks;
use crate::emulator::Tier;
use crate::faults::Faults;
use crate::http::Payload;
use crate::ids::CountingIds;
use crate::namespace::Namespace;
use crate::store::Journal;
use crate::time::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_795_000_000_500);

/// More says nothing new, and takes longer.
const MOST_REQUESTS: usize = 24;

/// No request makes the emulator panic, fail, hang up or wait longer than the longest wait, and every answer
/// has the shape of the service's.
pub fn whole_request(data: &[u8]) {
    let mut gateway = Gateway::new();
    let mut location = "/".to_owned();
    for script in scripts(data).take(MOST_REQUESTS) {
        let Some(request) = request(script, &location) else { continue };
        let (status, headers, body) = gateway.answer(request);
        check(status, &headers, &body);
        if let Some(next) = headers.get(header::LOCATION) {
            let text = String::from_utf8_lossy(next.as_bytes()).into_owned();
            let path = text.strip_prefix("http://").and_then(|rest| Some(rest.split_once('/')?.1));
            location = path.map(|path| format!("/{path}")).unwrap_or(location);
        }
    }
}

/// A namespace with everything that a request may meet, and its time.
struct Gateway {
    service: ServiceBus,
    clock: Clock,
    closing: watch::Sender<bool>,
}

impl Gateway {
    fn new() -> Self {
        let mut broker = Broker::new(Box::new(CountingIds::default()), false);
        let lock_duration = Duration::from_secs(5);
        broker.put_queue(
            QueueOptions {
                lock_duration,
                max_delivery_count: 2,
                dead_lettering_on_expiration: true,
                ..QueueOptions::from("q")
            },
            NOW,
        );
        broker.put_queue(QueueOptions { requires_duplicate_detection: true, ..QueueOptions::from("once/only") }, NOW);
        let clock = Clock::standing(NOW);
        let (closing, closed) = watch::channel(false);
        let journal = Arc::new(Journal::default());
        let faults = Faults::new(Clocks::new(clock.clone(), clock.clone(), Arc::clone(&journal)));
        let namespace = Namespace::new(broker, clock.clone(), journal, closed);
        let service = ServiceBus {
            namespace: Arc::new(namespace),
            rules: Rules { namespace: vec![root()], ..Rules::default() },
            faults: Arc::new(faults),
            calls: Arc::default(),
            tier: Tier::Standard,
            patience: Duration::from_secs(60),
            behaviour: Behaviour::default(),
        };
        let mut gateway = Self { service, clock, closing };
        for script in SETUP.split("%%\n") {
            if let Some(request) = request(script.as_bytes(), "/") {
                let (status, _, body) = gateway.answer(request);
                assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&body));
            }
        }
        gateway
    }

    /// Answers, while the namespace's watch over time runs beside it as it does in a running emulator.
    #[allow(clippy::panic, reason = "a broken promise is a panic")]
    fn answer(&mut self, request: Request<Full<Bytes>>) -> (StatusCode, http::HeaderMap, Bytes) {
        const STEP: Duration = Duration::from_secs(4);
        let _timers = runtime().enter();
        let line = format!("{} {}", request.method(), request.uri());
        let mut context = Context::from_waker(Waker::noop());
        let mut watch = Box::pin(Arc::clone(&self.service.namespace).watch_time());
        let mut answer = std::pin::pin!(self.service.answer(request));
        let mut waited = Duration::ZERO;
        let longest = self.service.behaviour.patience(Some(u64::MAX));
        while waited <= longest {
            assert!(watch.as_mut().poll(&mut context).is_pending());
            match answer.as_mut().poll(&mut context) {
                Poll::Ready(Ok(response)) => return whole(response),
                Poll::Ready(Err(hangup)) => panic!("{line}: {hangup}"),
                Poll::Pending => self.clock.advance(STEP),
            }
            waited += STEP;
        }
        panic!("{line}: no answer after {waited:?}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}

/// A topic whose subscriptions have a default rule, a filter with an action, and a correlation.
const SETUP: &str = r#"PUT /t

<entry xmlns="http://www.w3.org/2005/Atom"><content><TopicDescription/></content></entry>
%%
PUT /t/subscriptions/all

<entry><content><SubscriptionDescription/></content></entry>
%%
PUT /t/subscriptions/some

<entry><content><SubscriptionDescription><DefaultRuleDescription xmlns:i="x"><Filter i:type="SqlFilter"><SqlExpression>number &gt; 1 AND sys.Label LIKE 'h%'</SqlExpression></Filter><Action i:type="SqlRuleAction"><SqlExpression>SET seen = TRUE</SqlExpression></Action><Name>r</Name></DefaultRuleDescription></SubscriptionDescription></content></entry>
"#;

/// For timers only: nothing ever waits for them.
#[allow(clippy::expect_used, reason = "without timers there is nothing to run")]
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"))
}

/// The requests of an input.
fn scripts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    const DIVIDER: &[u8] = b"\n%%\n";
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        let end = data.windows(DIVIDER.len()).position(|window| window == DIVIDER);
        let (script, after) = data.split_at(end.unwrap_or(data.len()));
        rest = end.and_then(|_| after.get(DIVIDER.len()..));
        Some(script)
    })
}

/// A request of a script; none when no server would take it for one.
fn request(script: &[u8], location: &str) -> Option<Request<Full<Bytes>>> {
    let head_end = script.windows(2).position(|window| window == b"\n\n");
    let (head, body) = script.split_at(head_end.unwrap_or(script.len()));
    let (line, headers) = head.split_at(head.iter().position(|b| *b == b'\n').unwrap_or(head.len()));
    let (method, path) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let path = if path == "@" { location } else { path };
    let body = Bytes::copy_from_slice(body.get(2..).unwrap_or_default());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    *request.headers_mut() = header_lines(headers);
    let headers = request.headers_mut();
    match headers.get(header::AUTHORIZATION) {
        None => {
            static TOKEN: OnceLock<String> = OnceLock::new();
            let token = TOKEN.get_or_init(|| token("http://localhost/", "9999999999"));
            headers.insert(header::AUTHORIZATION, token.parse().ok()?);
        }
        Some(none) if none.is_empty() => {
            headers.remove(header::AUTHORIZATION);
        }
        Some(_) => {}
    }
    Some(request)
}

/// An answer with its body, which is in memory.
#[allow(clippy::panic, reason = "a broken promise is a panic")]
fn whole(response: Response<Payload>) -> (StatusCode, http::HeaderMap, Bytes) {
    let (head, body) = response.into_parts();
    let mut body = std::pin::pin!(body.collect());
    match body.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(body)) => (head.status, head.headers, body.to_bytes()),
        Poll::Pending => panic!("an answer in memory keeps its reader waiting"),
    }
}

/// The shapes of answers.
fn check(status: StatusCode, headers: &http::HeaderMap, body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    let known = matches!(status.as_u16(), 200 | 201 | 204 | 400 | 401 | 403 | 404 | 405 | 409 | 410);
    assert!(known, "{status} is no answer of the service: {text}");
    for name in [header::SERVER, header::DATE] {
        assert!(headers.contains_key(&name), "{status} without {name}");
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if status.is_success() {
        // A message has the type that its sender gave it.
        let is_message = headers.contains_key("brokerproperties");
        if content_type.starts_with("application/atom+xml") && !is_message {
            assert!(is_document(body), "no XML: {text}");
        }
    } else if body.is_empty() {
        assert_eq!(status, StatusCode::NOT_FOUND, "an error without a body");
        assert_eq!(headers.get(header::CONTENT_LENGTH).map(header::HeaderValue::as_bytes), Some(&b"0"[..]));
    } else {
        assert_eq!(content_type, super::super::XML);
        assert!(is_document(body), "no XML: {text}");
        let start = format!("<Error><Code>{}</Code><Detail>", status.as_u16());
        assert!(text.starts_with(&start) && text.ends_with("</Detail></Error>"), "not the shape of an error: {text}");
        assert!(text.contains(" TrackingId:") && text.contains(", Timestamp:"), "nothing to track it by: {text}");
    }
}

/// Whether this is one well-formed element and nothing else.
fn is_document(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    if text.chars().any(|c| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')) {
        return false;
    }
    let mut reader = Reader::from_str(text);
    let (mut depth, mut roots) = (0_usize, 0_usize);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                roots += usize::from(depth == 0);
                depth += 1;
                if start.attributes().any(|attribute| attribute.is_err()) {
                    return false;
                }
            }
            Ok(Event::Empty(start)) => {
                roots += usize::from(depth == 0);
                if start.attributes().any(|attribute| attribute.is_err()) {
                    return false;
                }
            }
            Ok(Event::End(_)) => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return false,
            },
            Ok(Event::Text(text)) if depth == 0 || text.unescape().is_err() => return false,
            Ok(Event::Eof) => return depth == 0 && roots == 1,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
