//! The HTTP server in front of an application.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use wasmtime_wasi_http::WasiBody;

use crate::app::Shared;
use crate::client::full;
use crate::error::ServeError;
use crate::instance::{Life, empty, respond};

/// Answered by the host itself, as with Spin: probes of orchestrators call it.
const HEALTH: &str = "/.well-known/spin/health";

/// A running server. Dropping it ends everything that it started at once, guests too; [`Server::shutdown`] lets them
/// finish.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// Ends the accepting of connections when it is dropped or used.
    accept: oneshot::Sender<()>,
    stop: watch::Sender<bool>,
    running: mpsc::Receiver<Infallible>,
}

impl Server {
    pub(crate) async fn start(app: Arc<Shared>, address: SocketAddr) -> Result<Self, ServeError> {
        let refused = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (accept, ending) = oneshot::channel();
        let (stop, stopping) = watch::channel(false);
        let (sender, running) = mpsc::channel(1);
        let life = Life { stop: stopping, _running: sender };
        tokio::spawn(accept_all(app, listener, life, ending));
        Ok(Self { address, accept, stop, running })
    }

    /// Where it listens: `http://127.0.0.1:41234`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new request and waits until every guest has finished, also those that work on after their response. A
    /// caller with less patience drops the future.
    pub async fn shutdown(self) {
        let Self { accept, stop, mut running, .. } = self;
        // An error means that it has ended already.
        let _ = accept.send(());
        // Nothing is ever sent: this is the moment when the last sender is gone.
        let _ = running.recv().await;
        drop(stop);
    }
}

async fn accept_all(app: Arc<Shared>, listener: TcpListener, life: Life, mut ending: oneshot::Receiver<()>) {
    let connections = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => serve(&app, &life, &connections, stream, client),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // Out of file descriptors, mostly: it passes.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = &mut ending => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

fn serve(app: &Arc<Shared>, life: &Life, connections: &GracefulShutdown, stream: TcpStream, client: SocketAddr) {
    // Without it a small response waits for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let (app, mut ends, life) = (Arc::clone(app), life.clone(), life.clone());
    let service = service_fn(move |request| {
        let (app, life) = (Arc::clone(&app), life.clone());
        async move { Ok::<_, Infallible>(handle(&app, &life, request, client).await) }
    });
    let connection = connections.watch(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::spawn(async move {
        tokio::select! {
            end = connection => if let Err(error) = end {
                tracing::debug!(%error, %client, "a connection broke");
            },
            () = ends.stopped() => (),
        }
    });
}

async fn handle(
    app: &Arc<Shared>,
    life: &Life,
    mut request: Request<Incoming>,
    client: SocketAddr,
) -> Response<WasiBody> {
    if request.uri().authority().is_none() && !request.headers().contains_key(header::HOST) {
        return empty(StatusCode::BAD_REQUEST);
    }
    request.headers_mut().remove(header::CONNECTION);
    let path = request.uri().path().to_owned();
    if path == HEALTH {
        return Response::new(full(Bytes::from_static(b"OK")));
    }
    let Some(found) = app.router.find(&path) else {
        return empty(StatusCode::NOT_FOUND);
    };
    let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    respond(app, life, &found, request, client).await
}
