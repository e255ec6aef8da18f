//! What happens when a guest sends a request: allowed or not, the hook, then another component or the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response, header};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::hook::{Answer, OutboundCall, Verdict};
use crate::instance::{Instance, respond};
use crate::route::Match;

/// The hosts below this domain are the application's own components.
const INTERNAL: &str = ".spin.internal";

/// The way out of one instance.
pub(crate) struct Outbound(pub(crate) Arc<Instance>);

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let instance = Arc::clone(&self.0);
        Box::new(async move {
            let response = send(&instance, request, options).await?;
            let rest: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((response, rest))
        })
    }
}

async fn send(
    instance: &Arc<Instance>,
    mut request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Response<WasiBody>, Error> {
    if instance.is_killed() {
        instance.kill().await;
    }
    if !instance.component.hosts.allows(request.uri()) {
        let (component, uri) = (&instance.component.name, request.uri());
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
        tracing::warn!(component, "a request to {scheme}://{authority} is not in allowed_outbound_hosts");
        return Err(Error::HttpRequestDenied);
    }
    // The client makes it from the address.
    request.headers_mut().remove(header::HOST);
    let Some(hook) = instance.app.hook.clone() else {
        return perform(instance, request, options).await;
    };

    let call = OutboundCall {
        component: instance.component.name.clone(),
        instance: instance.number,
        method: request.method().clone(),
        uri: request.uri().clone(),
        headers: request.headers().clone(),
    };
    let before = hook.before(&call).await;
    match before {
        Verdict::Continue | Verdict::DropReply => (),
        Verdict::Fail => return Err(Error::ConnectionRefused),
        Verdict::Kill => match instance.kill().await {},
    }
    let answer = perform(instance, request, options).await;
    let head =
        |answer: &Response<WasiBody>| Answer { status: answer.status().as_u16(), headers: answer.headers().clone() };
    let seen = answer.as_ref().map(head).map_err(ToString::to_string);
    match hook.after(&call, seen).await {
        Verdict::Kill => match instance.kill().await {},
        Verdict::Continue if before != Verdict::DropReply => answer,
        // What Spin gives when a connection breaks.
        Verdict::Continue | Verdict::Fail | Verdict::DropReply => Err(Error::HttpProtocolError),
    }
}

async fn perform(
    instance: &Arc<Instance>,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Response<WasiBody>, Error> {
    let Some(component) = request.uri().host().and_then(|host| host.strip_suffix(INTERNAL)).map(str::to_owned) else {
        return instance.app.client.send(request, options).await;
    };
    if !instance.app.components.contains_key(&component) {
        return Err(Error::DestinationNotFound);
    }
    let path = request.uri().path().to_owned();
    let found = Match::internal(&component, &path);
    let client = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Ok(Box::pin(respond(&instance.app, &instance.life, &found, request, client)).await)
}
