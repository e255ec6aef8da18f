//! The yardstick: a route that does nothing but what every route must do.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::Ipv4Addr;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

/// Serves until it is killed. Prints its address and `ready`, as the emulator does.
pub(super) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "service-bus=http://{}", listener.local_addr()?)?;
    writeln!(out, "ready")?;
    out.flush()?;
    let router = Router::new().route("/{queue}/messages", post(accept));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = oncebus_emulator::connection_settings().serve_connection(TokioIo::new(stream), service);
            // A client that goes away is no concern of ours.
            let _ = connection.await;
        });
    }
}

/// Reads the body and answers as a send is answered. The date is a constant: writing one is part of
/// what the emulator has to do.
async fn accept(_body: Bytes) -> Response {
    // A body of unknown length is framed in chunks, as in the emulator's answers.
    let mut response = Response::new(Body::from_stream(futures::stream::empty::<Result<Bytes, Infallible>>()));
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("Microsoft-HTTPAPI/2.0"));
    headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    headers.insert(header::DATE, HeaderValue::from_static("Fri, 20 Nov 2026 00:00:00 GMT"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    response
}
