//! `POST /webhooks/{name}`: what somebody signed.

use futures::Stream;
use oncebus_core::config::{ConfigError, settings};
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::size::Sizes;
use oncebus_core::ingest::webhooks::{Accepted, EMPTY_TWIML, Reply, Request, TWIML_CONTENT_TYPE};
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::trace::Trace;
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal};
use crate::messages::{Taken, deliver};
use crate::routed;
use crate::serve::{Context, misconfigured, read_body};

/// Verifies the signature before anything else is done with the body, sends the message, and answers as the provider wants it.
///
/// # Errors
/// Nothing was accepted. Where nothing can be verified, for want of a secret or of the public URL, everything is refused.
pub async fn post<P, S, E>(context: &Context<'_, P>, name: &str, head: &Head, body: S) -> Result<Answer, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let config = &context.settings.config;
    let Some(webhook) = config.webhooks.get(name) else {
        return Err(Problem::new(Kind::NotFound, "no webhook of this name is configured").into());
    };
    let keys = webhook.keys(&context.settings.webhook_secrets).map_err(|error| misconfigured(&error))?;
    let public_url = config.public_url.as_deref();
    if webhook.source.signs_url() && public_url.is_none() {
        let needed = "expected a value, found none: no signature can be verified without it";
        return Err(misconfigured(&ConfigError::new(settings::PUBLIC_URL.key, needed)));
    }
    let queue = webhook.queue.as_deref().map(|queue| context.queue(queue)).transpose()?;
    let sizes = queue.map_or_else(|| Sizes::of_any(config), |queue| Sizes::of(config, queue));
    let body = read_body(head, body, sizes.most()).await?;
    let request = Request { head, body: &body, public_url, now: context.platform.wall() };
    let entry = match webhook.verify(&keys, request)?.accept()? {
        Accepted::Message(entry) => entry.traced(Trace::of_request(head).as_ref()),
        Accepted::Challenge(text) => return Ok(Answer::with_body(200, "text/plain; charset=utf-8", text)),
    };
    let queue = match queue {
        Some(queue) => queue,
        None => {
            let routed = routed::route(context, &config.routing, head, &entry, Some(name)).await?;
            let queue = context.queue(&routed.queue)?;
            // Once per request: this is the only place that sets it.
            let _ = context.routed.set(routed);
            queue
        }
    };
    // The id is a key as any other: a queue that looks for repetitions at its door finds them.
    let taken = Taken { key: Some(entry.id.clone()), entry, when: None };
    let accepted = deliver(context, queue, &taken).await?;
    Ok(match webhook.source.reply() {
        Reply::Accepted => accepted,
        Reply::Ok => Answer::empty(200),
        Reply::Twiml => Answer::with_body(200, TWIML_CONTENT_TYPE, EMPTY_TWIML),
    })
}
