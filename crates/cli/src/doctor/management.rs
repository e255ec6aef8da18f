//! The little of Service Bus' management API (Atom over HTTP) that is needed here: read a queue's settings and the number of
//! its messages, make a queue.
//!
//! As `oncebus-azure`, and unlike its callers, this is pure: it builds requests and reads responses. It is here because
//! nothing but the command line has any business with the right Manage.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use oncebus_azure::connection::ServiceBusConnection;
use oncebus_azure::servicebus::ServiceBus;
use oncebus_core::time::UnixTime;

/// The newest version whose fields were seen on the wire.
const API_VERSION: &str = "2021-05";
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/atom+xml;type=entry;charset=utf-8");
const TOKEN_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// How long messages live in the queues that are made here. Records are kept for 14 days; a message must not outlive them.
pub(super) const MESSAGE_TTL: &str = "P3D";

/// What a queue is on Service Bus, as far as it matters here. A field is `None` where the answer does not have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) lock_duration: Option<Duration>,
    pub(crate) max_delivery_count: Option<u32>,
    pub(crate) requires_session: bool,
    /// For how long the broker remembers ids, if it does.
    pub(crate) detects_duplicates: Option<Duration>,
    /// Any but `Active`.
    pub(crate) inactive: Option<String>,
    /// Messages that are there to be received, locked ones among them.
    pub(crate) active_messages: Option<u64>,
}

/// What reading a queue's settings came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is there.
    Queue(Description),
    /// It is not.
    Missing,
    /// It was not said, and why.
    NotSaid(String),
}

/// What making a queue came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Made {
    /// It is made, or somebody made it meanwhile.
    There,
    /// It is not, and why.
    Refused(String),
}

/// Asks for a queue's settings. Read the answer with [`read_found`].
pub(crate) fn get(connection: &ServiceBusConnection, queue: &str, now: UnixTime) -> Request<Bytes> {
    request(Method::GET, connection, queue, Bytes::new(), now)
}

/// Asks for a queue to be made. Read the answer with [`read_made`].
///
/// The service wants the elements in its own order. What expires goes to the dead-letter queue, where it is seen.
pub(super) fn put(
    connection: &ServiceBusConnection,
    queue: &str,
    lock_duration: Duration,
    max_delivery_count: u32,
    detects_duplicates: bool,
    now: UnixTime,
) -> Request<Bytes> {
    let lock_seconds = lock_duration.as_secs();
    let detection =
        if detects_duplicates { "<RequiresDuplicateDetection>true</RequiresDuplicateDetection>" } else { "" };
    let body = format!(
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><content type=\"application/xml\">\
         <QueueDescription xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">\
         <LockDuration>PT{lock_seconds}S</LockDuration>{detection}\
         <DefaultMessageTimeToLive>{MESSAGE_TTL}</DefaultMessageTimeToLive>\
         <DeadLetteringOnMessageExpiration>true</DeadLetteringOnMessageExpiration>\
         <MaxDeliveryCount>{max_delivery_count}</MaxDeliveryCount>\
         </QueueDescription></content></entry>"
    );
    let mut request = request(Method::PUT, connection, queue, Bytes::from(body), now);
    request.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    request
}

/// Reads the answer to [`get`]. A missing queue is a 200 with an empty feed.
pub(crate) fn read_found(response: &Response<Bytes>) -> Found {
    match response.status() {
        StatusCode::OK => {
            let body = String::from_utf8_lossy(response.body());
            if body.contains("QueueDescription") { Found::Queue(description(&body)) } else { Found::Missing }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Found::NotSaid("no right to manage".to_owned()),
        status => Found::NotSaid(format!("management is not answered here, status {}", status.as_u16())),
    }
}

/// Reads the answer to [`put`].
pub(super) fn read_made(response: &Response<Bytes>) -> Made {
    match response.status() {
        StatusCode::CREATED | StatusCode::OK | StatusCode::CONFLICT => Made::There,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Made::Refused("no right to manage".to_owned()),
        status => Made::Refused(format!("status {}", status.as_u16())),
    }
}

fn request(
    method: Method,
    connection: &ServiceBusConnection,
    queue: &str,
    body: Bytes,
    now: UnixTime,
) -> Request<Bytes> {
    // Any request of the data plane will do to start from: what is wanted of it is its address and its token, which is
    // good for everything in the namespace.
    let data = ServiceBus::new(connection, now, TOKEN_LIFETIME).peek_lock(queue, 0);
    let authorization = data.headers().get(header::AUTHORIZATION).cloned();
    let path = data.uri().path().strip_suffix("/messages/head").unwrap_or_default().to_owned();
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // Parts of a URI that was one already.
    *request.uri_mut() = format!("{}{path}?api-version={API_VERSION}", connection.origin()).parse().unwrap_or_default();
    if let Some(authorization) = authorization {
        request.headers_mut().insert(header::AUTHORIZATION, authorization);
    }
    request
}

fn description(entry: &str) -> Description {
    Description {
        lock_duration: element(entry, "LockDuration").and_then(duration),
        max_delivery_count: element(entry, "MaxDeliveryCount").and_then(|text| text.parse().ok()),
        requires_session: element(entry, "RequiresSession") == Some("true"),
        detects_duplicates: (element(entry, "RequiresDuplicateDetection") == Some("true"))
            .then(|| element(entry, "DuplicateDetectionHistoryTimeWindow").and_then(duration).unwrap_or_default()),
        inactive: element(entry, "Status").filter(|status| *status != "Active").map(str::to_owned),
        active_messages: element(entry, "ActiveMessageCount").and_then(|text| text.parse().ok()),
    }
}

/// The text of the first element of this name, in whatever namespace.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let open = xml.match_indices(name).find(|(at, _)| {
        let (before, after) = (xml.get(..*at).unwrap_or_default(), xml.get(at + name.len()..).unwrap_or_default());
        let tag = before.rfind('<').and_then(|start| before.get(start..)).unwrap_or_default();
        after.starts_with('>') && (tag == "<" || (tag.ends_with(':') && !tag.contains([' ', '/', '>'])))
    })?;
    let inside = xml.get(open.0 + name.len() + 1..)?;
    inside.split_once('<').map(|(text, _)| text.trim())
}

/// An ISO 8601 duration of days, hours, minutes and seconds. Years and months have no length, and no queue has any.
fn duration(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P')?;
    let (days, time) = rest.split_once('T').unwrap_or((rest, ""));
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let units: [(&str, &[(char, f64)]); 2] =
        [(days, &[('D', 86_400.0)]), (time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)])];
    let mut seconds = 0.0;
    for (mut text, units) in units {
        for (unit, length) in units {
            if let Some((number, rest)) = text.split_once(*unit) {
                seconds += number.parse::<f64>().ok()? * length;
                text = rest;
            }
        }
        if !text.is_empty() {
            return None;
        }
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: &str = "Endpoint=sb://ns.example;SharedAccessKeyName=root;SharedAccessKey=abc=";

    fn connection() -> ServiceBusConnection {
        ServiceBusConnection::parse(CONNECTION).unwrap()
    }

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    #[test]
    fn a_queue_is_asked_for_and_made_at_its_own_address() {
        let get = get(&connection(), "orders.poison", UnixTime(1_795_174_201));
        assert_eq!(get.uri(), "https://ns.example/orders.poison?api-version=2021-05");
        assert!(get.headers()[header::AUTHORIZATION].is_sensitive());
        let put = put(&connection(), "orders", Duration::from_secs(90), 12, false, UnixTime(1_795_174_201));
        assert_eq!((put.method(), put.uri().path()), (&Method::PUT, "/orders"));
        let body = String::from_utf8(put.body().to_vec()).unwrap();
        assert_eq!(element(&body, "LockDuration").and_then(duration), Some(Duration::from_secs(90)));
        assert_eq!(element(&body, "DefaultMessageTimeToLive"), Some("P3D"));
        assert_eq!(element(&body, "MaxDeliveryCount"), Some("12"));
    }

    #[test]
    fn a_queue_tells_its_settings_and_an_empty_feed_that_there_is_none() {
        let entry = "<entry><title>q</title><content><QueueDescription xmlns:i=\"x\"><LockDuration>PT1M30S</LockDuration>\
            <RequiresDuplicateDetection>true</RequiresDuplicateDetection><RequiresSession>false</RequiresSession>\
            <DuplicateDetectionHistoryTimeWindow>PT10M</DuplicateDetectionHistoryTimeWindow><MaxDeliveryCount>10</MaxDeliveryCount><d:Status>SendDisabled</d:Status>\
            <CountDetails><d2p1:ActiveMessageCount>7</d2p1:ActiveMessageCount></CountDetails>\
            <EntityAvailabilityStatus>Available</EntityAvailabilityStatus></QueueDescription></content></entry>";
        let expected = Description {
            lock_duration: Some(Duration::from_secs(90)),
            max_delivery_count: Some(10),
            requires_session: false,
            detects_duplicates: Some(Duration::from_secs(600)),
            inactive: Some("SendDisabled".to_owned()),
            active_messages: Some(7),
        };
        assert_eq!(read_found(&answer(200, entry)), Found::Queue(expected));
        let feed = "<feed><title>Publicly Listed Services</title></feed>";
        assert_eq!(read_found(&answer(200, feed)), Found::Missing);
        assert_eq!(read_found(&answer(401, "")), Found::NotSaid("no right to manage".to_owned()));
        assert!(matches!(read_found(&answer(501, "")), Found::NotSaid(_)));
        assert_eq!(read_made(&answer(409, "")), Made::There);
        assert!(matches!(read_made(&answer(400, "")), Made::Refused(_)));
    }

    #[test]
    fn durations_are_read_as_the_service_writes_them() {
        for (text, seconds) in [("PT1M", 60), ("PT45S", 45), ("PT5M", 300), ("P3D", 259_200), ("P1DT1H1M1S", 90_061)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert!(duration("P10675199DT2H48M5.4775807S").is_some());
        for text in ["", "P", "PT", "1M", "P1Y", "PT1X", "PTM", "PT-1S", "PTNaNS"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
