//! One instance of a component: it lives for one request, and for what its guest does after the response.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::app::Shared;
use crate::client::full;
use crate::hosts::AllowedHosts;
use crate::log::{Printer, Stream};
use crate::outbound::Outbound;
use crate::route::Match;

/// A component of the application, ready to be instantiated.
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) pre: ProxyPre<State>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) hosts: AllowedHosts,
    /// Whether it may use the database `default`.
    pub(crate) sqlite: bool,
    /// The largest linear memory that any instance has had, in bytes.
    pub(crate) peak_memory: AtomicUsize,
}

/// How long instances may live: as long as the server that started them.
#[derive(Clone)]
pub(crate) struct Life {
    /// Turns true when everything is to end at once.
    pub(crate) stop: watch::Receiver<bool>,
    /// Held while something still runs.
    pub(crate) _running: mpsc::Sender<Infallible>,
}

impl Life {
    pub(crate) async fn stopped(&mut self) {
        // An error means that the server is gone: the same.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }
}

/// What all parts of an instance know of it.
pub(crate) struct Instance {
    pub(crate) app: Arc<Shared>,
    pub(crate) component: Arc<Component>,
    pub(crate) number: u64,
    pub(crate) life: Life,
    killed: AtomicBool,
    kill: Notify,
    /// Set when the guest ends in any way but by returning, before its streams are closed.
    failed: AtomicBool,
}

impl Instance {
    /// Ends the instance at once. Never returns: whoever calls is a part of what ends.
    pub(crate) async fn kill(&self) -> Infallible {
        self.killed.store(true, Ordering::SeqCst);
        self.kill.notify_one();
        std::future::pending().await
    }

    /// Between `kill` and the end, the guest may still run on another thread: nothing with an effect passes.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }
}

/// The data of a store: what the guest's imports work on.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    instance: Arc<Instance>,
}

impl State {
    fn new(instance: Arc<Instance>) -> Self {
        let component = &instance.component;
        let printer = |stream| Printer::new(&instance.app.log, &component.name, instance.number, stream);
        let wasi = WasiCtx::builder()
            .stdout(printer(Stream::Stdout))
            .stderr(printer(Stream::Stderr))
            .envs(&component.environment)
            .build();
        let outbound = Outbound(Arc::clone(&instance));
        Self { table: ResourceTable::new(), wasi, http: WasiHttpCtx::new(), outbound, instance }
    }

    pub(crate) fn app(&self) -> &Shared {
        &self.instance.app
    }

    pub(crate) fn component(&self) -> &Component {
        &self.instance.component
    }

    /// A trap if the instance was killed.
    pub(crate) fn alive(&self) -> wasmtime::Result<()> {
        match self.instance.is_killed() {
            true => Err(wasmtime::format_err!("the instance was killed")),
            false => Ok(()),
        }
    }
}

/// Watches memories grow, and lets them.
impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.component().peak_memory.fetch_max(desired, Ordering::Relaxed);
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

/// Answers a request with a new instance of the component that the route leads to.
///
/// The guest runs in a task of its own: it goes on when the client goes away, and after its response. A trap before
/// the response gives a 500; after it, the connection is closed.
pub(crate) async fn respond(
    app: &Arc<Shared>,
    life: &Life,
    found: &Match<'_>,
    mut request: Request<WasiBody>,
    client: SocketAddr,
) -> Response<WasiBody> {
    let Some(component) = app.components.get(found.component).cloned() else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    add_headers(&mut request, found, client);
    let instance = Arc::new(Instance {
        app: Arc::clone(app),
        component,
        number: app.next_instance.fetch_add(1, Ordering::Relaxed),
        life: life.clone(),
        killed: AtomicBool::new(false),
        kill: Notify::new(),
        failed: AtomicBool::new(false),
    });
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(run(Arc::clone(&instance), request, sender));
    match receiver.await {
        Ok(Ok(response)) => response.map(|body| GuestBody { body, instance }.boxed_unsync()),
        Ok(Err(error)) => {
            tracing::error!(component = instance.component.name, ?error, "the guest answered with an error");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
        // The guest ended without an answer; the task has said why.
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

type Sender = oneshot::Sender<Result<Response<WasiBody>, wasmtime_wasi_http::p2::bindings::http::types::ErrorCode>>;

/// Runs the guest to its end. Dropping the store, on every way out, ends what the guest has begun.
async fn run(instance: Arc<Instance>, request: Request<WasiBody>, sender: Sender) {
    let component = Arc::clone(&instance.component);
    let mut life = instance.life.clone();
    let mut store = Store::new(component.pre.engine(), State::new(Arc::clone(&instance)));
    store.limiter(|state| state);
    let guest = async {
        let mut http = store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request)?;
        let response = http.new_response_outparam(sender)?;
        let proxy = component.pre.instantiate_async(&mut store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, response).await
    };
    let (component, number) = (&component.name, instance.number);
    let returned = tokio::select! {
        biased;
        () = instance.kill.notified() => {
            tracing::debug!(component, instance = number, "killed");
            false
        }
        () = life.stopped() => {
            tracing::debug!(component, instance = number, "stopped with the server");
            false
        }
        end = guest => match end {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(component, instance = number, "the guest trapped: {error:?}");
                false
            }
        },
    };
    instance.failed.store(!returned, Ordering::SeqCst);
    drop(store);
}

/// The body of a guest's response. When the guest fails before it has finished the body, so does the body, and the client does not
/// take a part of it for the whole.
struct GuestBody {
    body: WasiBody,
    instance: Arc<Instance>,
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            None if self.instance.failed.load(Ordering::SeqCst) => {
                Poll::Ready(Some(Err(Error::HttpResponseIncomplete)))
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The headers in which Spin tells a component how it was reached.
fn add_headers(request: &mut Request<WasiBody>, found: &Match<'_>, client: SocketAddr) {
    let uri = request.uri();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
    let scheme = uri.scheme_str().unwrap_or("http");
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let own = [
        ("spin-path-info", found.path_info.to_owned()),
        ("spin-full-url", format!("{scheme}://{host}{path}")),
        ("spin-matched-route", found.route.to_owned()),
        ("spin-base-path", "/".to_owned()),
        ("spin-raw-component-route", found.route.to_owned()),
        ("spin-component-route", found.prefix.to_owned()),
        ("spin-client-addr", client.to_string()),
    ];
    for (name, value) in own {
        if let Ok(value) = HeaderValue::from_str(&value) {
            request.headers_mut().insert(name, value);
        }
    }
}

pub(crate) fn empty(status: StatusCode) -> Response<WasiBody> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}
