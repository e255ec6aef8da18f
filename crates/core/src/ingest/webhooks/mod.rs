//! Webhooks: whether a request was signed by who it says, and which message it becomes.
//!
//! A [`Webhook`] is a table `[webhooks.NAME]` of the configuration, and answers at `/webhooks/NAME`. Its [`Source`] is a provider
//! whose way to sign is known here, or a [`Scheme`](generic::Scheme) that the configuration describes.
//!
//! # In this order
//!
//! 1. The component reads the body, and the secrets of this webhook: [`Webhook::keys`]. None that can be used is an error of the
//!    configuration, and refuses everything.
//! 2. [`Webhook::verify`] compares the signature with what each of the keys would have made of the **bytes as they came**. Nothing is
//!    parsed before but the header that carries the signature, and the form of a Twilio request, whose pairs are what is signed.
//! 3. [`Verified::accept`] parses: the id, the lock key, the properties; or Slack's question whether somebody is there. There is no
//!    other way to a [`Verified`] than through 2, so nothing unsigned gets as far as a parser.
//! 4. Once the broker has the message, the answer is the one that the provider wants: [`Source::reply`].
//!
//! # What is promised
//!
//! * **Fail closed.** Without a secret, without a header, with a header that comes twice, with an algorithm that is not known: refused.
//! * **Constant time.** Signatures are compared without a hint where they differ, with every key, whichever matches. No answer says
//!   which did.
//! * **One refusal.** Whatever is wrong with a signature, the answer is [`Kind::InvalidSignature`] in the same words. Only a request whose
//!   signature is right, but of another time, is told so ([`Kind::StaleTimestamp`]): its sender has the secret, and a clock to put right.
//!   (Or it repeats what it overheard, and knows that it is old.)
//! * **Both directions.** Where the time is signed, it may be [`TOLERANCE`] before or after ours.
//! * **Nothing altered.** The body goes on byte for byte, with its content type.
//!
//! # What a signature does not cover
//!
//! GitHub and Shopify sign the body alone: not the time, and not the header that their id stands in. Who overheard such a request may
//! send it again under another id, as another message. TLS is what keeps it from being overheard.

mod generic;
mod github;
mod keys;
mod shopify;
mod slack;
mod standard;
mod stripe;
mod time;
mod twilio;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use generic::{Encoding, Piece, Scheme};
pub use keys::{Algorithm, Keys};
pub use time::TOLERANCE;
pub use twilio::{EMPTY_TWIML, TWIML_CONTENT_TYPE};

use super::entry::{Entry, check_key};
use super::head::Head;
use super::key::{IdSources, LockKeySources};
use crate::config::ConfigError;
use crate::id::{check_logical_id, payload_hash};
use crate::message::Properties;
use crate::problem::{Kind, Problem};
use crate::secret::Secret;
use crate::time::UnixTime;

/// The property that says which webhook a message came in by.
pub const NAME_PROPERTY: &str = "webhook";

/// A configured webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name, in the configuration and in the path.
    pub name: String,
    /// Who sends, and how they sign.
    pub source: Source,
    /// Where the messages go: a configured queue; without one, where the routes say.
    pub queue: Option<String>,
    /// The variables that hold the secrets.
    pub secrets: Vec<String>,
    /// Where the id stands, if not where the source has it.
    pub id: Option<IdSources>,
    /// Where the lock key stands, if not where the source has it.
    pub key: Option<LockKeySources>,
    /// The headers that become properties, in lower case.
    pub properties: Vec<String>,
}

/// Who sends, and how they sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Twilio.
    Twilio,
    /// Standard Webhooks, and Svix, whose headers have another prefix.
    Standard,
    /// GitHub.
    GitHub,
    /// Stripe.
    Stripe,
    /// Slack.
    Slack,
    /// Shopify.
    Shopify,
    /// Anybody else who signs by HMAC.
    Hmac(Scheme),
}

impl Source {
    /// The words for `kind`.
    pub const KINDS: [&'static str; 7] = ["twilio", "standard", "github", "stripe", "slack", "shopify", "hmac"];

    /// Its word for `kind`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Twilio => "twilio",
            Self::Standard => "standard",
            Self::GitHub => "github",
            Self::Stripe => "stripe",
            Self::Slack => "slack",
            Self::Shopify => "shopify",
            Self::Hmac(_) => "hmac",
        }
    }

    /// Whether the URL is a part of what is signed.
    #[must_use]
    pub const fn signs_url(&self) -> bool {
        matches!(self, Self::Twilio)
    }

    /// What the provider wants to hear.
    #[must_use]
    pub const fn reply(&self) -> Reply {
        match self {
            Self::Twilio => Reply::Twiml,
            // Slack shows what it is told to the user, and wants 200; Shopify's documentation speaks of 200 too.
            Self::Slack | Self::Shopify => Reply::Ok,
            Self::Standard | Self::GitHub | Self::Stripe | Self::Hmac(_) => Reply::Accepted,
        }
    }

    /// The headers that become properties where the configuration names none.
    #[must_use]
    pub const fn properties(&self) -> &'static [&'static str] {
        match self {
            Self::GitHub => &github::PROPERTIES,
            Self::Shopify => &shopify::PROPERTIES,
            Self::Twilio | Self::Standard | Self::Stripe | Self::Slack | Self::Hmac(_) => &[],
        }
    }
}

/// An answer to a request that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 202 with the place of the message.
    Accepted,
    /// 200, nothing else.
    Ok,
    /// 200 with empty TwiML.
    Twiml,
}

/// A request, as far as anybody signs it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its head.
    pub head: &'a Head,
    /// Its body as it came.
    pub body: &'a Bytes,
    /// The configured public URL, without a slash at its end.
    pub public_url: Option<&'a str>,
    /// When it came, by our own clock.
    pub now: UnixTime,
}

impl Webhook {
    /// The keys that signatures are compared with: the values of [`Webhook::secrets`], as far as they are there.
    ///
    /// # Errors
    /// There is none, or one that can be no key of this source.
    pub fn keys(&self, secrets: &[Secret]) -> Result<Keys, ConfigError> {
        let key = format!("webhooks.{}.secrets", self.name);
        let of_secret = match self.source {
            Source::Standard => standard::key,
            _ => |secret: &Secret| Some(secret.expose().as_bytes().to_vec()),
        };
        let present = secrets.iter().filter(|secret| !secret.expose().trim().is_empty());
        let keys: Option<Vec<_>> = present.map(of_secret).collect();
        let Some(keys) = keys else {
            return Err(ConfigError::new(key, "expected whsec_ and base64 in each variable, found something else"));
        };
        let variables = self.secrets.join(", ");
        let none = || ConfigError::new(key, format!("expected a secret in a variable out of {variables}, found none"));
        Keys::new(keys).ok_or_else(none)
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`Kind::InvalidSignature`] or [`Kind::StaleTimestamp`].
    pub fn verify<'a>(&'a self, keys: &Keys, request: Request<'a>) -> Result<Verified<'a>, Problem> {
        match &self.source {
            Source::Twilio => twilio::verify(keys, &request)?,
            Source::Standard => standard::verify(keys, &request)?,
            Source::GitHub => github::verify(keys, &request)?,
            Source::Stripe => stripe::verify(keys, &request)?,
            Source::Slack => slack::verify(keys, &request)?,
            Source::Shopify => shopify::verify(keys, &request)?,
            Source::Hmac(scheme) => scheme.verify(keys, &request, self.id.as_ref())?,
        }
        Ok(Verified { webhook: self, request })
    }
}

/// A request whose signature is right.
#[derive(Debug)]
pub struct Verified<'a> {
    webhook: &'a Webhook,
    request: Request<'a>,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// A message to send.
    Message(Box<Entry>),
    /// A question to answer with this text at once, with nothing to send.
    Challenge(String),
}

impl Verified<'_> {
    /// What it comes to.
    ///
    /// # Errors
    /// It has no id where there should be one, or an id, key or header that no message can carry.
    pub fn accept(&self) -> Result<Accepted, Problem> {
        let (webhook, request) = (self.webhook, &self.request);
        if webhook.source == Source::Slack
            && let Some(challenge) = slack::challenge(request)
        {
            return Ok(Accepted::Challenge(challenge));
        }
        let content_type = request.head.content_type()?;
        let id = self.id()?;
        let key = self.key()?;
        let mut properties = Properties::new();
        for name in &webhook.properties {
            if let Some(value) = request.head.one(name)? {
                properties.set(name, value);
            }
        }
        properties.set(NAME_PROPERTY, webhook.name.as_str());
        let entry = Entry::new(id, key.as_deref(), content_type, request.body.clone(), properties);
        Ok(Accepted::Message(Box::new(entry)))
    }

    fn id(&self) -> Result<String, Problem> {
        let request = &self.request;
        let (place, id) = match (&self.webhook.id, &self.webhook.source) {
            (Some(places), _) => (places.in_words(), places.find(request.head, request.body)?),
            (None, Source::Twilio) => ("the sid".to_owned(), Some(twilio::id(request)?)),
            (None, Source::Standard) => standard::id(request)?,
            (None, Source::GitHub) => (github::ID.to_owned(), request.one(github::ID)?),
            (None, Source::Stripe) => ("the event's id".to_owned(), stripe::id(request)?),
            (None, Source::Slack) => ("the event_id".to_owned(), Some(slack::id(request)?)),
            (None, Source::Shopify) => shopify::id(request)?,
            (None, Source::Hmac(_)) => (String::new(), Some(request.payload_hash()?)),
        };
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return Err(Problem::new(Kind::InvalidId, format!("expected the message's id in {place}, found none")));
        };
        check_logical_id(&id).map_err(|error| Problem::new(Kind::InvalidId, format!("{place}: {error}")))?;
        Ok(id)
    }

    fn key(&self) -> Result<Option<String>, Problem> {
        let request = &self.request;
        let (place, key) = match (&self.webhook.key, &self.webhook.source) {
            (Some(places), _) => return places.find(request.head, request.body),
            (None, Source::Twilio) => ("the other side's number".to_owned(), twilio::key(request)?),
            _ => return Ok(None),
        };
        if let Some(key) = &key {
            check_key(key).map_err(|error| Problem::new(Kind::Malformed, format!("{place} {error}")))?;
        }
        Ok(key)
    }
}

impl Request<'_> {
    /// A header, owned.
    fn one(&self, name: &str) -> Result<Option<String>, Problem> {
        Ok(self.head.one(name)?.map(str::to_owned))
    }

    /// A header for the check of a signature: one that cannot be read as one text is none.
    fn signed_header(&self, name: &str) -> Option<&str> {
        self.head.one(name).ok().flatten()
    }

    /// The content type for the check of a signature: one that cannot be read is none.
    fn content_type(&self) -> Option<&str> {
        self.head.content_type().ok().flatten()
    }

    /// The id of a request that has none of its own: the same payload is the same message.
    fn payload_hash(&self) -> Result<String, Problem> {
        Ok(payload_hash(self.head.content_type()?, self.body))
    }
}

/// The refusal of a signature. `header` is where it should have been.
fn refused(header: &str) -> Problem {
    let detail = format!("{header} is missing, or does not match what was sent and any secret of this webhook");
    Problem::new(Kind::InvalidSignature, detail)
}
