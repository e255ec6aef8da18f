//! The requests, as bytes made once.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use oncebus_azure::sas::service_bus;
use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;
use oncebus_emulator::AccessRule;

/// What is sent: 100 bytes.
const BODY: &str = "{\"order\":1234567890,\"customer\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\
    \"lines\":[{\"sku\":\"A-1\"}],\"n\":1}";

/// Messages in a request of [`Requests::batch`].
pub(super) const BATCH: usize = 500;

/// Longer than any measurement.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Requests to one server.
#[derive(Debug)]
pub(super) struct Requests {
    /// `Host` and `Authorization`.
    common: String,
}

impl Requests {
    /// Requests with a SAS token of the emulator's default rule.
    pub(super) fn new(host: &str) -> anyhow::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let expires = UnixTime((since + TOKEN_LIFE).as_secs());
        let rule = AccessRule::default();
        let key = Secret::from(rule.primary_key);
        let token = service_bus::token(&format!("http://{host}"), &rule.name, &key, expires);
        Ok(Self { common: format!("Host: {host}\r\nAuthorization: {}\r\n", token.expose()) })
    }

    /// One message with a content type, a label and a custom property.
    pub(super) fn send(&self, queue: &str) -> Vec<u8> {
        let length = BODY.len();
        let common = &self.common;
        format!(
            "POST /{queue}/messages HTTP/1.1\r\n{common}Content-Type: application/json\r\n\
             BrokerProperties: {{\"Label\":\"order\"}}\r\nPriority: \"high\"\r\nContent-Length: {length}\r\n\r\n{BODY}"
        )
        .into_bytes()
    }

    /// [`BATCH`] messages like that of [`Self::send`], their content type excepted.
    pub(super) fn batch(&self, queue: &str) -> anyhow::Result<Vec<u8>> {
        let message = serde_json::json!({
            "Body": BODY, "BrokerProperties": {"Label": "order"}, "UserProperties": {"Priority": "high"}
        });
        let body = serde_json::to_string(&vec![message; BATCH])?;
        let mut request = format!("POST /{queue}/messages HTTP/1.1\r\n{}", self.common);
        let (kind, length) = ("application/vnd.microsoft.servicebus.json", body.len());
        write!(request, "Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")?;
        Ok(request.into_bytes())
    }

    /// A receive that holds what it finds, and does not wait.
    pub(super) fn peek_lock(&self, queue: &str) -> Vec<u8> {
        self.empty("POST", &format!("/{queue}/messages/head?timeout=0"))
    }

    /// A settlement: `DELETE` completes, `PUT` abandons, `POST` renews.
    pub(super) fn settle(&self, method: &str, lock: &str) -> Vec<u8> {
        self.empty(method, lock)
    }

    fn empty(&self, method: &str, path: &str) -> Vec<u8> {
        format!("{method} {path} HTTP/1.1\r\n{}Content-Length: 0\r\n\r\n", self.common).into_bytes()
    }
}

/// Bytes of a message's body and properties, as [`Requests::batch`] sends it and the broker keeps it:
/// the body, the label, one custom property, the content type that batches get, and the `MessageId` of
/// 32 digits that the broker draws.
pub(super) fn payload_bytes() -> usize {
    let texts = [BODY, "order", "Priority", "high", "application/xml; charset=utf-8"];
    texts.map(str::len).into_iter().sum::<usize>() + 32
}

#[cfg(test)]
mod tests {
    use oncebus_emulator::{Emulator, Options};

    use super::*;
    use crate::emulator::wire::Connection;

    async fn started() -> (Emulator, Requests, Connection) {
        let options = Options { queues: vec!["orders".into()], ..Options::default() };
        let emulator = Emulator::start(options).await.unwrap();
        let host = emulator.service_bus_url().replace("http://", "");
        let connection = Connection::open(host.parse().unwrap()).await.unwrap();
        (emulator, Requests::new(&host).unwrap(), connection)
    }

    #[tokio::test]
    async fn every_request_is_answered_as_the_measurement_expects() {
        let (emulator, requests, mut to) = started().await;
        to.call(&requests.send("orders"), 201).await.unwrap();
        let lock = to.call_for_location(&requests.peek_lock("orders"), 201).await.unwrap();
        to.call(&requests.settle("POST", &lock), 200).await.unwrap();
        to.call(&requests.settle("PUT", &lock), 200).await.unwrap();
        let lock = to.call_for_location(&requests.peek_lock("orders"), 201).await.unwrap();
        to.call(&requests.settle("DELETE", &lock), 200).await.unwrap();
        to.call(&requests.peek_lock("orders"), 204).await.unwrap();
        let calls = emulator.admin().calls();
        for operation in ["send", "renew", "abandon", "complete", "peek-lock-empty"] {
            assert_eq!(calls.get(&format!("service-bus.{operation}")), Some(&1), "{operation}");
        }
    }

    #[tokio::test]
    async fn the_payload_is_what_the_broker_counts() {
        let (emulator, requests, mut to) = started().await;
        to.call(&requests.batch("orders").unwrap(), 201).await.unwrap();
        let counts = emulator.admin().counts("orders").unwrap();
        // What the broker adds for its own headers to the size of a message with one property.
        let headers = 88;
        assert_eq!((counts.ready, counts.bytes), (BATCH, u64::try_from(BATCH * (payload_bytes() + headers)).unwrap()));
    }
}
