//! Listening, and connections.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Answer;

/// Something that answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Serves connections until `closing` turns true; then lets requests in flight finish.
pub(crate) async fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>, mut closing: watch::Receiver<bool>) {
    /// How long requests in flight may take to finish.
    const LAST_WORDS: Duration = Duration::from_secs(5);
    let mut connections = JoinSet::new();
    while !*closing.borrow() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&handler), closing.clone()));
                }
                Err(error) => {
                    // Too many open files, as a rule: others must close first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = closing.changed() => {}
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, finish).await.is_err() {
        connections.shutdown().await;
    }
}

/// How every port speaks HTTP/1.1; for comparisons with a server that does nothing else.
#[must_use]
pub fn connection_settings() -> http1::Builder {
    let mut settings = http1::Builder::new();
    settings
        .timer(TokioTimer::new())
        // The services' clocks may be moved; they write the date themselves.
        .auto_date_header(false)
        // A client that closes its half has gone away: its long poll must not take a message.
        .half_close(false);
    settings
}

async fn connection<H: Handler>(stream: TcpStream, handler: Arc<H>, mut closing: watch::Receiver<bool>) {
    // An answer is written in one go; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| Arc::clone(&handler).handle(request));
    let connection = connection_settings().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            _ = closing.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}
