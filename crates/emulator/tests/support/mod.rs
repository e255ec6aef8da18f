//! A client of its own for the tests: it signs and speaks without any code of the emulator.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, Response};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The account that every storage emulator has.
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn hmac(key: &[u8], text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A Service Bus token that is good for so many seconds (bad, when negative).
pub(crate) fn token(uri: &str, rule: &str, key: &str, seconds: i64) -> String {
    let resource = encode(uri);
    let expiry = i64::try_from(now_seconds()).unwrap() + seconds;
    let signature = encode(&hmac(key.as_bytes(), &format!("{resource}\n{expiry}")));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={rule}")
}

/// The query of a container SAS with these letters, without its `?`, good until the year 2099.
pub(crate) fn container_sas(container: &str, letters: &str) -> String {
    let (expiry, version) = ("2099-01-01T00:00:00Z", "2023-11-03");
    let text = format!("{letters}\n\n{expiry}\n/blob/devstoreaccount1/{container}\n\n\n\n{version}\nc\n\n\n\n\n\n\n");
    let key = base64::engine::general_purpose::STANDARD.decode(ACCOUNT_KEY).unwrap();
    let signature = encode(&hmac(&key, &text));
    format!("sv={version}&se={}&sr=c&sp={letters}&sig={signature}", encode(expiry))
}

/// A Service Bus client.
#[derive(Clone)]
pub(crate) struct Bus {
    pub(crate) url: String,
    pub(crate) http: Client,
    pub(crate) token: String,
}

/// A message under peek-lock.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) location: String,
    pub(crate) body: String,
    pub(crate) broker: serde_json::Value,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Bus {
    pub(crate) fn new(url: &str) -> Self {
        // Redirects and pools as a plain client has them; no proxy of the environment.
        let http = Client::builder().no_proxy().build().unwrap();
        let token = token(url, "RootManageSharedAccessKey", "SAS_KEY_VALUE", 86_400 * 365);
        Self { url: url.to_owned(), http, token }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/{path}", self.url) };
        self.http.request(method, url).header("authorization", &self.token).header("content-length", "0")
    }

    pub(crate) async fn send(&self, queue: &str, body: &str) -> u16 {
        let path = format!("{}/{queue}/messages", self.url);
        let request = self.http.post(path).header("authorization", &self.token).body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    }

    /// Sends a batch of JSON.
    pub(crate) async fn send_batch(&self, queue: &str, json: &str) -> u16 {
        let path = format!("{}/{queue}/messages", self.url);
        let request = self.http.post(path).header("authorization", &self.token);
        let request = request.header("content-type", "application/vnd.microsoft.servicebus.json");
        request.body(json.to_owned()).send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn try_peek_lock(&self, entity: &str, timeout: u64) -> Result<Response, reqwest::Error> {
        self.request(Method::POST, &format!("{entity}/messages/head?timeout={timeout}")).send().await
    }

    pub(crate) async fn peek_lock(&self, entity: &str, timeout: u64) -> Option<Locked> {
        let response = self.try_peek_lock(entity, timeout).await.unwrap();
        match response.status().as_u16() {
            204 => None,
            201 => Some(locked(response).await),
            other => panic!("peek-lock answered {other}"),
        }
    }

    pub(crate) async fn complete(&self, location: &str) -> u16 {
        self.request(Method::DELETE, location).send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn abandon(&self, location: &str) -> u16 {
        self.request(Method::PUT, location).send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn renew(&self, location: &str) -> u16 {
        self.request(Method::POST, location).send().await.unwrap().status().as_u16()
    }
}

async fn locked(response: Response) -> Locked {
    let headers: BTreeMap<String, String> = headers(&response);
    let broker = serde_json::from_str(&headers["brokerproperties"]).unwrap();
    let location = headers["location"].clone();
    Locked { location, broker, headers, body: response.text().await.unwrap() }
}

/// An answer's headers.
pub(crate) fn headers(response: &Response) -> BTreeMap<String, String> {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// A blob client with a container SAS.
#[derive(Clone)]
pub(crate) struct Blobs {
    pub(crate) url: String,
    pub(crate) http: Client,
    pub(crate) sas: String,
    pub(crate) container: String,
}

impl Blobs {
    pub(crate) fn new(url: &str, container: &str, letters: &str) -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        let sas = container_sas(container, letters);
        Self { url: url.to_owned(), http, sas, container: container.to_owned() }
    }

    pub(crate) fn request(&self, method: Method, name: &str, query: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/{}/{name}?{query}{}", self.url, self.container, self.sas);
        let length = (method == Method::PUT).then_some(("content-length", "0"));
        let request = self.http.request(method, url).header("x-ms-version", "2023-11-03");
        length.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    pub(crate) fn put(&self, name: &str) -> reqwest::RequestBuilder {
        self.request(Method::PUT, name, "").header("x-ms-blob-type", "BlockBlob")
    }

    pub(crate) fn set_metadata(&self, name: &str) -> reqwest::RequestBuilder {
        self.request(Method::PUT, name, "comp=metadata&")
    }

    pub(crate) fn head(&self, name: &str) -> reqwest::RequestBuilder {
        self.request(Method::HEAD, name, "")
    }
}

/// Status and error code of a blob request.
pub(crate) async fn outcome(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let code = headers(&response).get("x-ms-error-code").cloned().unwrap_or_default();
    (response.status().as_u16(), code)
}

/// Writes a request and reads the answer as it is on the wire, until the connection is quiet for the
/// end of one message.
pub(crate) async fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                n => answer.extend_from_slice(&buffer[..n]),
            }
        }
    };
    // The request asks for the connection to be closed; this bounds a server that does not.
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("the connection stays open");
    String::from_utf8(answer).unwrap()
}

/// Waits until something is so, looking again and again, at most ten seconds.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
