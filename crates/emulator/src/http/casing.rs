//! Header names as the live gateway writes them: `BrokerProperties`, `Content-Type`, `Location`.
//!
//! HTTP says that case does not matter, and hyper writes everything small; but a client that compares names
//! byte by byte works against the gateway and should work here. hyper keeps the names of a request as they were
//! written, and writes an answer's in the same way when it finds them there: so one request that never leaves
//! this process carries the names, and each answer gets what hyper kept of it. Custom properties, which are
//! not among them, stay small.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Every header that the gateway sends. A length is void beside chunks, but its name is kept.
const NAMES: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\
                     Content-Type: x\r\nServer: x\r\nStrict-Transport-Security: x\r\nDate: x\r\nLocation: x\r\n\
                     BrokerProperties: x\r\nETag: x\r\nConnection: close\r\n\r\n0\r\n\r\n";

/// The names alone.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name)
}

/// What an answer's extensions need for its names to be written as recorded. Empty, and names are small, if
/// hyper keeps none.
pub(crate) async fn as_recorded() -> Extensions {
    let kept = Mutex::new(Extensions::new());
    let service = service_fn(|request: Request<Incoming>| {
        if let Ok(mut kept) = kept.lock() {
            kept.clone_from(request.extensions());
        }
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let (mut client, server) = tokio::io::duplex(4096);
    let connection = http1::Builder::new().preserve_header_case(true).serve_connection(TokioIo::new(server), service);
    let speak = async {
        let mut answer = Vec::new();
        // Nothing can go wrong in memory; and if it does, names are small.
        let _ = client.write_all(NAMES.as_bytes()).await;
        let _ = client.read_to_end(&mut answer).await;
    };
    let _ = tokio::join!(connection, speak);
    kept.into_inner().unwrap_or_default()
}
