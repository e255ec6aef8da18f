//! The HTTP client of an application: one pool of connections for all its instances.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// As long as Spin waits when the guest sets no time.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Bodies of a known length up to this many bytes are gathered before the request is sent: head and body then leave in
/// one write. The guest writes such a body right after its request, without waiting for the answer.
const GATHERED_BODY_BYTES: u64 = 64 * 1024;

/// Sends requests over HTTP/1.1, plain or with TLS. A connection that was kept open and turns out to be
/// closed is replaced by another only if nothing of the request was sent.
pub(crate) struct Client(hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, WasiBody>);

impl Client {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(connector);
        let pool = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self(pool)
    }

    /// Errors are the ones that Spin gives. The guest's time to connect is part of the time to the first byte here,
    /// and the time between bytes is not watched.
    pub(crate) async fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<WasiBody>, Error> {
        let limit = options.and_then(|options| options.first_byte_timeout).unwrap_or(DEFAULT_TIMEOUT);
        let request = gather(request).await?;
        let response = tokio::time::timeout(limit, self.0.request(request)).await;
        let response = response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(|error| explain(&error))?;
        Ok(response.map(|body| body.map_err(Error::from).boxed_unsync()))
    }
}

async fn gather(request: Request<WasiBody>) -> Result<Request<WasiBody>, Error> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_none_or(|length: u64| length > GATHERED_BODY_BYTES) {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Request::from_parts(head, full(body)))
}

/// A body that is there.
pub(crate) fn full(body: Bytes) -> WasiBody {
    UnsyncBoxBody::new(Full::new(body).map_err(|never| match never {}))
}

/// The errors that Spin gives: a connection that cannot be made is refused, whatever the reason below; one that breaks is a
/// protocol error. Names that are not found and TLS have their own.
fn explain(error: &hyper_util::client::legacy::Error) -> Error {
    tracing::debug!(%error, cause = ?error.source(), "an outbound request failed");
    if !error.is_connect() {
        return Error::HttpProtocolError;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        // The connector's error type is private; its text is "dns error".
        if error.to_string() == "dns error" {
            return Error::DnsError { rcode: Some("address not available".to_owned()), info_code: Some(0) };
        }
        if error.downcast_ref::<io::Error>().is_some_and(is_tls) {
            return Error::TlsProtocolError;
        }
        cause = error.source();
    }
    Error::ConnectionRefused
}

/// TLS reports all of its errors as invalid data, and the connector wraps them once more.
fn is_tls(error: &io::Error) -> bool {
    let wrapped = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    error.kind() == io::ErrorKind::InvalidData || wrapped.is_some_and(is_tls)
}
