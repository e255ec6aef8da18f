//! `POST /webhooks/twilio`: a form, signed.

use futures::Stream;
use oncebus_core::config::{ConfigError, settings};
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::twilio::{self, EMPTY_TWIML, SIGNATURE_HEADER, Signed, TWIML_CONTENT_TYPE};
use oncebus_core::problem::{Kind, Problem};
use oncebus_core::trace::Trace;
use oncebus_runtime::platform::Platform;

use crate::answer::{Answer, Refusal};
use crate::messages::send;
use crate::serve::{Context, misconfigured, read_body};

/// Verifies the signature before anything else is done with the body, sends the form, and answers with empty TwiML.
///
/// # Errors
/// Nothing was accepted. Without an auth token or a public URL nothing can be verified, and all is refused.
pub async fn post<P, S, E>(context: &Context<'_, P>, head: &Head, body: S) -> Result<Answer, Refusal>
where
    P: Platform,
    S: Stream<Item = Result<Vec<u8>, E>>,
{
    let config = &context.settings.config;
    let Some(queue) = config.twilio_queue.as_deref() else {
        return Err(Problem::new(Kind::NotFound, "no queue is configured for Twilio").into());
    };
    let token = context.settings.twilio_auth_token.as_ref().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| needed(&settings::TWILIO_AUTH_TOKEN))?;
    let public_url = config.public_url.as_deref().ok_or_else(|| needed(&settings::PUBLIC_URL))?;
    let limit = config.max_message_bytes;
    let body = read_body(head, body, limit).await?;
    // What cannot be read as a header is no signature, and no content type that a signature covers.
    let signature = head.one(SIGNATURE_HEADER).unwrap_or_default();
    let content_type = head.content_type().unwrap_or_default();
    Signed { public_url, target: &head.target, content_type, body: &body }.verify(token, signature)?;
    let entry = twilio::entry(content_type, body)?.traced(Trace::of_request(head).as_ref());
    send(context, queue, &entry).await?;
    Ok(Answer::with_body(200, TWIML_CONTENT_TYPE, EMPTY_TWIML))
}

fn needed(setting: &settings::Setting) -> Refusal {
    misconfigured(&ConfigError::new(
        setting.key,
        "expected a value, found none: no signature can be verified without it",
    ))
}
