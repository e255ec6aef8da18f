//! Listening, and connections: plain and over TLS, within limits.
//!
//! A client that is slow, silent or talks nonsense costs at most one connection, and that for a bounded time:
//! there are limits to how long a handshake, a request's head and its body may take, to the size of the
//! head, and to how many connections there are. What is no HTTP is answered with a 4xx in the service's own
//! shape (see [`super::wire`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::line::{Line, Peer};
use super::wire::{Nonsense, Wire, refusal};
use super::{Answer, Payload, Secure};
use crate::time::UnixMillis;

/// The headers that a request may have. The service counts only the bytes of properties; in 64 KB there is
/// no room for many more. hyper has place for 100 on its stack, and allocates for each request when it is
/// told another number: so a connection is only told so when it needs it.
const MANY_HEADERS: usize = 4096;

/// How much of the emulator one client may hold, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest head of a request, in bytes. Default 72 KB: 64 KB for properties, as the service allows
    /// them, and 8 KB for the rest.
    pub head_bytes: usize,
    /// How long a connection may be silent between requests, and a head may take to arrive. Default 240 s, as
    /// the services' load balancers have it: pools of clients keep connections for 90 s and more, and a request
    /// on one that was cut in this moment fails.
    pub head: Duration,
    /// How long a body may take to arrive. Default 60 s.
    pub body: Duration,
    /// How long a TLS handshake may take. Default 10 s.
    pub handshake: Duration,
    /// Connections to one port at once; one more is closed as soon as it is accepted. Default 10,000.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 72 * 1024,
            head: Duration::from_secs(240),
            body: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            connections: 10_000,
        }
    }
}

/// Something that answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;

    /// Says in the service's own words that a request cannot be read.
    fn nonsense(&self, status: StatusCode) -> Nonsense;

    /// The service's time.
    fn time(&self) -> UnixMillis;
}

/// An open port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    /// Over TLS, when there is one.
    pub(crate) tls: Option<Acceptor>,
}

/// The server's side of TLS. It shows nothing of its keys.
#[derive(Clone)]
pub(crate) struct Acceptor(pub(crate) TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// Serves connections until `closing` turns true; then lets requests in flight finish.
pub(crate) async fn serve<H: Handler>(
    port: Port,
    limits: Arc<Limits>,
    handler: Arc<H>,
    mut closing: watch::Receiver<bool>,
) {
    /// How long requests in flight may take to finish.
    const LAST_WORDS: Duration = Duration::from_secs(5);
    let Port { listener, tls } = port;
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let mut is_full = false;
    let mut connections = JoinSet::new();
    while !*closing.borrow() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                        if !is_full {
                            tracing::warn!(connections = limits.connections, "connections are refused: there are too many");
                        }
                        is_full = true;
                        continue;
                    };
                    is_full = false;
                    let (handler, limits) = (Arc::clone(&handler), Arc::clone(&limits));
                    let (tls, closing) = (tls.clone(), closing.clone());
                    connections.spawn(async move {
                        accept(stream, tls, &limits, handler, closing).await;
                        drop(place);
                    });
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

async fn accept<H: Handler>(
    stream: TcpStream,
    tls: Option<Acceptor>,
    limits: &Limits,
    handler: Arc<H>,
    mut closing: watch::Receiver<bool>,
) {
    // An answer is written in one go; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    let Some(Acceptor(acceptor)) = tls else {
        connection(stream, false, limits, handler, closing).await;
        return;
    };
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(limits.handshake, handshake(stream, &acceptor, &*handler)) => handshake,
        _ = closing.changed() => return,
    };
    match handshake {
        Ok(Ok(Some(stream))) => connection(stream, true, limits, handler, closing).await,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// Nothing when the client does not speak TLS; it was told so.
async fn handshake<H: Handler>(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    handler: &H,
) -> std::io::Result<Option<tokio_rustls::server::TlsStream<TcpStream>>> {
    /// A record of TLS that holds a handshake begins with this byte.
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Ok(None),
        _ if first == [HANDSHAKE] => acceptor.accept(stream).await.map(Some),
        _ => {
            refuse(&Line::new(stream), StatusCode::BAD_REQUEST, handler).await;
            Ok(None)
        }
    }
}

async fn connection<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_secure: bool,
    limits: &Limits,
    handler: Arc<H>,
    mut closing: watch::Receiver<bool>,
) {
    let line = Arc::new(Line::new(stream));
    let service = service_fn(|mut request: Request<Incoming>| {
        if is_secure {
            request.extensions_mut().insert(Secure);
        }
        request.extensions_mut().insert(Peer::of(&line));
        let (handler, line) = (Arc::clone(&handler), Arc::clone(&line));
        line.asks();
        async move {
            let mut answer = handler.handle(request).await;
            line.answers(answer.as_mut().ok().and_then(|answer| answer.body_mut().names.take()));
            answer
        }
    });
    let mut settings = settings(limits);
    let mut connection = settings.serve_connection(Wire::new(Arc::clone(&line)), service);
    let mut ended = until_closing(&mut connection, &mut closing).await;
    if line.lock().withheld == Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) {
        // Perhaps they were only too many for what hyper has room for unless it is told otherwise.
        let parts = connection.into_parts();
        line.read_again(&parts.read_buf);
        connection = settings.max_headers(MANY_HEADERS).serve_connection(parts.io, parts.service);
        ended = until_closing(&mut connection, &mut closing).await;
    }
    if let Some(status) = refusal(&line, &ended) {
        refuse(&line, status, &*handler).await;
    }
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Lets a connection run; when the server closes, what is in flight is the last.
async fn until_closing<S, T>(
    connection: &mut http1::Connection<Wire<S>, T>,
    closing: &mut watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: HttpService<Incoming, ResBody = Payload, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let early = async {
        if !*closing.borrow() {
            let _ = closing.changed().await;
        }
    };
    tokio::select! {
        ended = &mut *connection => return ended,
        () = early => {}
    }
    Pin::new(&mut *connection).graceful_shutdown();
    connection.await
}

/// Says in the service's own words that a request cannot be read, and closes.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(line: &Line<S>, status: StatusCode, handler: &impl Handler) {
    line.refuse(handler.nonsense(status).response(status, handler.time())).await;
}

/// How every port speaks HTTP/1.1 unless its limits are others; for comparisons with a server that does
/// nothing else.
#[must_use]
pub fn connection_settings() -> http1::Builder {
    settings(&Limits::default())
}

fn settings(limits: &Limits) -> http1::Builder {
    let mut settings = http1::Builder::new();
    settings
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(limits.head_bytes)
        // The services' clocks may be moved; they write the date themselves.
        .auto_date_header(false)
        // A client that closes its half has gone away: its long poll must not take a message. Where hyper does
        // not look, those who wait do: see `line`.
        .half_close(false);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_kept_longer_than_pools_of_clients_keep_it() {
        // net/http of Go keeps a connection for 90 s unless it is told otherwise.
        assert!(Limits::default().head >= 2 * Duration::from_secs(90));
    }
}
