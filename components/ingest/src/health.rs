//! `GET /readyz`: whether what is behind this answers.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join;
use http::Request;
use oncebus_core::problem::{Kind, Problem};
use oncebus_runtime::platform::{Platform, TransportError};
use serde_json::json;

use crate::answer::{Answer, Refusal, Service};
use crate::serve::Context;

/// How long a probe may wait for an answer. Probes of an orchestrator often give up after 5 s.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks for a record that does not exist, and asks Service Bus for nothing.
///
/// The right to send cannot be checked without sending, so any answer of Service Bus will do. Of the storage the SAS is
/// checked too.
///
/// # Errors
/// One of the two does not answer, or the storage refuses: 503 whatever the reason, as a probe expects.
pub async fn ready<P: Platform>(context: &Context<'_, P>) -> Result<Answer, Refusal> {
    let deadline = context.platform.now().plus(PATIENCE);
    let records = context.records();
    let (service_bus, storage) = join(reach(context), records.probe(deadline)).await;
    let service_bus = service_bus.err().map(|error| (Service::ServiceBus, error.to_string()));
    let storage = storage.err().map(|failure| (Service::Storage, failure.to_string()));
    match storage.or(service_bus) {
        None => Ok(Answer::json(200, &json!({ "status": "ready" }))),
        Some((service, cause)) => {
            let detail = format!("{} does not answer as it should", service.name());
            let problem = Problem::new(Kind::Unavailable, detail).with("service", service.name());
            Err(Refusal { problem, cause: Some(format!("{}: {cause}", service.name())) })
        }
    }
}

async fn reach<P: Platform>(context: &Context<'_, P>) -> Result<(), TransportError> {
    let uri = format!("{}/", context.settings.service_bus.origin());
    let request = Request::get(uri).body(Bytes::new()).map_err(|error| TransportError::NotSent(error.to_string()))?;
    context.platform.send(request, PATIENCE).await.map(|_| ())
}
