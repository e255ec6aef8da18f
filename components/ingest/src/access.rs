//! Who has sent a request, before anything is done with it.

use bytes::Bytes;
use futures::Stream;
use oncebus_core::config::ConfigError;
use oncebus_core::ingest::access::signature::Policy;
use oncebus_core::ingest::access::{Access, Caller, check_key};
use oncebus_core::ingest::cloudevents::Mode;
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::route::Route;
use oncebus_core::ingest::size::Sizes;
use oncebus_core::problem::Problem;
use oncebus_runtime::platform::Platform;

use crate::answer::Refusal;
use crate::body::Body;
use crate::serve::{Settings, misconfigured, read_body};

/// Finds out who has sent a request. A signature covers the body, so that is read where signatures are asked for, and handed on.
///
/// # Errors
/// It does not show who it is, its body cannot be read, or no secret is there to check it by.
pub async fn admit<P, S, E>(
    platform: &P,
    settings: &Settings,
    route: &Route,
    head: &Head,
    body: S,
) -> Result<(Caller, Body<S>), Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>> + Unpin,
{
    if !route.needs_access() {
        return Ok((Caller::Anybody, Body::Live(body)));
    }
    match &settings.config.access {
        Access::Open => Ok((Caller::Anybody, Body::Live(body))),
        Access::Keys(keys) => Ok((check_key(head, keys)?, Body::Live(body))),
        Access::Signatures(policy) => {
            let claimed = policy.read(head, platform.wall())?;
            has_a_secret(policy, settings)?;
            let body = if head.method == "POST" {
                read_body(head, body, limit(settings, route, head)?).await?
            } else {
                Bytes::new()
            };
            let caller = policy.verify(&claimed, head, &body, &settings.access_secrets)?;
            Ok((caller, Body::Read(Some(body))))
        }
    }
}

/// How much of a body may be read before it is known whose it is: what the path takes at the most.
fn limit(settings: &Settings, route: &Route, head: &Head) -> Result<usize, Problem> {
    let sizes = Sizes::of_any(&settings.config);
    Ok(match (route, Mode::of(head)?) {
        (Route::Batch { .. }, _) | (Route::Messages { .. }, Some(Mode::Batched)) => settings.config.max_batch_bytes,
        (_, Some(Mode::Structured)) => sizes.most_json(),
        _ => sizes.most(),
    })
}

/// Without any secret nobody could be told from a stranger, and the operator is told so.
fn has_a_secret(policy: &Policy, settings: &Settings) -> Result<(), Refusal> {
    let secret = |variable: &String| settings.access_secrets.get(variable).is_some_and(|secret| !secret.is_empty());
    if policy.signers.iter().any(|signer| secret(&signer.variable)) {
        return Ok(());
    }
    let variable = policy.signers.first().map_or("access.keys", |signer| &signer.variable);
    Err(misconfigured(&ConfigError::new(
        variable,
        "expected a value, found none: no signature can be verified without it",
    )))
}
