//! The blob service over HTTP.

mod headers;
mod refusal;
mod route;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use uuid::Uuid;

use super::server::Handler;
use super::wire::Nonsense;
use super::{Answer, BodyError, Hangup, Payload, escape_xml, is_secure, query_pairs, read_body};
use crate::account::Account;
use crate::auth::storage::{self as auth, AccountKey, Grant};
use crate::blob::{Blob, Metadata, NewBlob, Receipt, is_container_name};
use crate::calls::Calls;
use crate::faults::{Faults, Moment, Service};
use crate::time::UnixMillis;
use headers::{META, conditions, content, metadata, text};
use refusal::Refusal;
use route::{NoRoute, Operation, Route, route};

/// A bound for one request: far more than what checkpoints and claim checks need.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// The newest version that the emulator claims to speak; the answer's version unless the request has one.
const VERSION: &str = "2025-11-05";

/// What every answer says about who gives it.
const SERVER: &str = "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0";

const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

/// The blob service of one account.
#[derive(Debug)]
pub(crate) struct BlobService {
    pub(crate) account: Arc<Account>,
    pub(crate) key: AccountKey,
    pub(crate) faults: Arc<Faults>,
    pub(crate) calls: Arc<Calls>,
    /// How long a body may take to arrive.
    pub(crate) patience: Duration,
}

enum Failure {
    Refused(Refusal),
    Hangup,
}

impl<E: Into<Refusal>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Handler for BlobService {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let query = query_pairs(head.uri.query());
        let body = read_body(body, LARGEST_BODY, self.patience).await;
        let mut response = match self.dispatch(&head, &query, body).await {
            Ok(response) => response,
            Err(Failure::Hangup) => return Err(Hangup),
            Err(Failure::Refused(refusal)) => error(&refusal, &head.method),
        };
        self.sign_off(&head.headers, &query, response.headers_mut());
        Ok(response)
    }

    fn nonsense(&self, _: StatusCode) -> Nonsense {
        let body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>InvalidInput</Code><Message>One of the \
                    request inputs is not valid.</Message></Error>";
        Nonsense { content_type: "application/xml", server: SERVER, body: body.to_owned() }
    }

    fn time(&self) -> UnixMillis {
        self.account.clock().now()
    }
}

impl BlobService {
    async fn dispatch(
        &self,
        head: &Parts,
        query: &[(String, String)],
        body: Result<Bytes, BodyError>,
    ) -> Result<Response<Payload>, Failure> {
        let route = route(&self.key.name, &head.method, head.uri.path(), query).map_err(|none| match none {
            NoRoute::Path => Refusal::INVALID_URI,
            NoRoute::NotImplemented => Refusal::NOT_IMPLEMENTED,
        })?;
        let request = auth::Request {
            method: &head.method,
            path: head.uri.path(),
            query,
            headers: &head.headers,
            target: route.target(),
            is_secure: is_secure(&head.extensions),
        };
        let grant = match auth::authorize(&self.key, &request, self.account.clock().now()) {
            Ok(grant) => grant,
            Err(refusal) => {
                self.calls.count(Service::Blob, "refused");
                return Err(refusal.into());
            }
        };
        let name = route.operation.name();
        self.calls.count(Service::Blob, name);
        let strike = self.faults.strike(Service::Blob, name, &route.name(), Moment::Any);
        strike.wait().await;
        if strike.drop_before {
            return Err(Failure::Hangup);
        }
        if let Some(status) = strike.status {
            return Err(Refusal::injected(status).into());
        }
        check_version(&head.headers, query)?;
        let done = self.carry_out(&route, head, query, &grant, body).await;
        if strike.drop_after { Err(Failure::Hangup) } else { Ok(done?) }
    }

    async fn carry_out(
        &self,
        route: &Route,
        head: &Parts,
        query: &[(String, String)],
        grant: &Grant,
        body: Result<Bytes, BodyError>,
    ) -> Result<Response<Payload>, Refusal> {
        let (container, blob) = (route.container.as_str(), route.blob.as_str());
        let headers = &head.headers;
        match route.operation {
            Operation::CreateContainer => {
                grant.require_account("cw")?;
                check_length(headers)?;
                if !is_container_name(container) {
                    return Err(Refusal::INVALID_NAME);
                }
                let metadata = metadata(headers)?;
                let create = self.account.commit(|store, now| store.create_container(container, metadata, now));
                Ok(written(StatusCode::CREATED, &create.await?))
            }
            Operation::ContainerProperties => {
                grant.require_account("r")?;
                let found = self.account.read(|store| store.container(container).cloned()).await?;
                let receipt = Receipt { etag: found.etag, last_modified: found.last_modified };
                let mut response = written(StatusCode::OK, &receipt);
                write_metadata(&found.metadata, response.headers_mut());
                Ok(response)
            }
            Operation::DeleteContainer => {
                grant.require_account("d")?;
                self.account.commit(|store, _| store.delete_container(container)).await?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            Operation::List => {
                grant.require("l")?;
                self.list(container, query).await
            }
            Operation::Put => {
                grant.require("cw")?;
                check_length(headers)?;
                match text(headers, "x-ms-blob-type") {
                    Some("BlockBlob") => {}
                    Some("AppendBlob" | "PageBlob") => return Err(Refusal::NOT_IMPLEMENTED),
                    Some(_) => return Err(Refusal::INVALID_HEADER),
                    None => return Err(Refusal::MISSING_HEADER),
                }
                let body = body.map_err(|error| match error {
                    BodyError::TooLarge => Refusal::TOO_LARGE,
                    BodyError::Broken => Refusal::BROKEN_BODY,
                })?;
                let conditions = conditions(headers)?;
                let new = NewBlob { body, metadata: metadata(headers)?, headers: content(headers) };
                let may_overwrite = grant.any("w");
                let put =
                    self.account.commit(|store, now| store.put(container, blob, new, &conditions, may_overwrite, now));
                let mut response = written(StatusCode::CREATED, &put.await?);
                response.headers_mut().insert("x-ms-request-server-encrypted", HeaderValue::from_static("true"));
                Ok(response)
            }
            Operation::SetMetadata => {
                grant.require("w")?;
                check_length(headers)?;
                let (metadata, conditions) = (metadata(headers)?, conditions(headers)?);
                let set =
                    self.account.commit(|store, now| store.set_metadata(container, blob, metadata, &conditions, now));
                let mut response = written(StatusCode::OK, &set.await?);
                response.headers_mut().insert("x-ms-request-server-encrypted", HeaderValue::from_static("true"));
                Ok(response)
            }
            Operation::Get | Operation::Head | Operation::GetMetadata => {
                grant.require("r")?;
                let conditions = conditions(headers)?;
                let found = self.account.read(|store| store.get(container, blob, &conditions).cloned()).await?;
                Ok(show(&found, route.operation))
            }
            Operation::Delete => {
                grant.require("d")?;
                let conditions = conditions(headers)?;
                self.account.commit(|store, _| store.delete(container, blob, &conditions)).await?;
                Ok(empty(StatusCode::ACCEPTED))
            }
        }
    }

    /// List Blobs with `prefix`, `marker` and `maxresults`; the marker is the next name.
    async fn list(&self, container: &str, query: &[(String, String)]) -> Result<Response<Payload>, Refusal> {
        const LARGEST_PAGE: usize = 5000;
        let parameter = |name: &str| query.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
        let page = match parameter("maxresults") {
            "" => LARGEST_PAGE,
            text => text.parse::<usize>().map_err(|_| Refusal::INVALID_HEADER)?.clamp(1, LARGEST_PAGE),
        };
        let (prefix, marker) = (parameter("prefix"), parameter("marker"));
        let with_metadata = parameter("include").split(',').any(|part| part == "metadata");
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"{}\"><Prefix>{}</Prefix>\
             <Marker>{}</Marker><MaxResults>{page}</MaxResults><Blobs>",
            escape_xml(container),
            escape_xml(prefix),
            escape_xml(marker),
        );
        let next = self.account.read(|store| {
            let mut blobs = store.list(container, prefix, marker)?;
            for (name, blob) in blobs.by_ref().take(page) {
                write_entry(&mut xml, name, blob, with_metadata);
            }
            Ok(blobs.next().map(|(name, _)| name.to_owned()))
        });
        let next = next.await?;
        let next = next.as_deref().map(escape_xml).unwrap_or_default();
        let _ = write!(xml, "</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>");
        let mut response = Response::new(Payload::sized(xml));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        Ok(response)
    }

    /// The headers that all answers have.
    fn sign_off(&self, request: &HeaderMap, query: &[(String, String)], headers: &mut HeaderMap) {
        let signed = query.iter().find(|(name, _)| name == "sv").map(|(_, value)| value.as_str());
        let version = text(request, "x-ms-version").or(signed).unwrap_or(VERSION);
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        set(header::SERVER, SERVER);
        set(HeaderName::from_static("x-ms-request-id"), &Uuid::new_v4().to_string());
        set(HeaderName::from_static("x-ms-version"), version);
        set(header::DATE, &self.account.clock().now().http_date());
        if let Some(id) = text(request, "x-ms-client-request-id") {
            set(HeaderName::from_static("x-ms-client-request-id"), id);
        }
    }
}

/// Every request has a version: its own header, or the one that its SAS was signed for.
fn check_version(headers: &HeaderMap, query: &[(String, String)]) -> Result<(), Refusal> {
    let is_version = |text: &str| text.len() == 10 && crate::time::UnixMillis::parse_iso(text).is_some();
    match text(headers, "x-ms-version") {
        Some(version) if is_version(version) => Ok(()),
        Some(_) => Err(Refusal::INVALID_HEADER),
        None if query.iter().any(|(name, _)| name == "sv") => Ok(()),
        None => Err(Refusal::MISSING_HEADER),
    }
}

/// Writes say how long they are, also when that is 0.
fn check_length(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(header::CONTENT_LENGTH) { Ok(()) } else { Err(Refusal::NO_LENGTH) }
}

fn empty(status: StatusCode) -> Response<Payload> {
    let mut response = Response::new(Payload::sized(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn written(status: StatusCode, receipt: &Receipt) -> Response<Payload> {
    let mut response = empty(status);
    write_receipt(receipt, response.headers_mut());
    response
}

fn write_receipt(receipt: &Receipt, headers: &mut HeaderMap) {
    if let Ok(etag) = HeaderValue::try_from(receipt.etag.quoted()) {
        headers.insert(header::ETAG, etag);
    }
    if let Ok(date) = HeaderValue::try_from(receipt.last_modified.http_date()) {
        headers.insert(header::LAST_MODIFIED, date);
    }
}

fn write_metadata(metadata: &Metadata, headers: &mut HeaderMap) {
    for (name, value) in metadata {
        let name = HeaderName::try_from(format!("{META}{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

fn show(blob: &Blob, operation: Operation) -> Response<Payload> {
    let properties = &blob.properties;
    let payload = match operation {
        Operation::Get => Payload::sized(blob.body.clone()),
        _ => Payload::none(),
    };
    let mut response = Response::new(payload);
    let headers = response.headers_mut();
    write_receipt(&Receipt { etag: properties.etag, last_modified: properties.last_modified }, headers);
    write_metadata(&properties.metadata, headers);
    if operation == Operation::GetMetadata {
        return response;
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.body.len()));
    for (name, value) in &properties.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    if let Ok(created) = HeaderValue::try_from(properties.created.http_date()) {
        headers.insert("x-ms-creation-time", created);
    }
    for (name, value) in [
        ("accept-ranges", "bytes"),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-lease-state", "available"),
        ("x-ms-lease-status", "unlocked"),
        ("x-ms-server-encrypted", "true"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn write_entry(xml: &mut String, name: &str, blob: &Blob, with_metadata: bool) {
    let properties = &blob.properties;
    let _ = write!(
        xml,
        "<Blob><Name>{}</Name><Properties><Creation-Time>{}</Creation-Time><Last-Modified>{}</Last-Modified>\
         <Etag>{}</Etag><Content-Length>{}</Content-Length><BlobType>BlockBlob</BlobType></Properties>",
        escape_xml(name),
        properties.created.http_date(),
        properties.last_modified.http_date(),
        properties.etag.text(),
        blob.body.len(),
    );
    if with_metadata {
        xml.push_str("<Metadata>");
        for (name, value) in &properties.metadata {
            let _ = write!(xml, "<{name}>{}</{name}>", escape_xml(value));
        }
        xml.push_str("</Metadata>");
    }
    xml.push_str("</Blob>");
}

fn error(refusal: &Refusal, method: &Method) -> Response<Payload> {
    let bodiless = *method == Method::HEAD || refusal.status == StatusCode::NOT_MODIFIED;
    let mut response = if bodiless {
        Response::new(Payload::none())
    } else {
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{}</Code><Message>{}</Message></Error>",
            refusal.code,
            escape_xml(refusal.message)
        );
        let mut response = Response::new(Payload::sized(xml));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        response
    };
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(ERROR_CODE, HeaderValue::from_static(refusal.code));
    response
}
