//! How large a message may be, and what becomes of one that is larger than the broker takes.
//!
//! The broker's limit is on **body and properties together** (Service Bus quotas: 256 KB in Basic and Standard, 1 MB in
//! Premium, over HTTP). Every message here has properties, its id at least, so a body of exactly 262,144 bytes is above the limit of 256 KB.

use bytes::Bytes;

use super::entry::{Entry, too_large};
use crate::claim::Claim;
use crate::config::{Config, LargeBodies, QueueConfig};
use crate::problem::Problem;

/// The limits of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// What body and properties may come to on the broker.
    message: usize,
    /// What a body may come to that goes to a blob, and the group under whose records it lies.
    large: Option<(usize, String)>,
}

/// How a message travels.
#[derive(Debug, Clone, PartialEq)]
pub enum Fit {
    /// As it is.
    Whole(Entry),
    /// Without its body, which must be stored before it is sent.
    Claimed {
        /// The message.
        entry: Entry,
        /// The blob's name.
        blob: String,
        /// The blob's content.
        body: Bytes,
    },
}

impl Sizes {
    /// The limits of a queue.
    #[must_use]
    pub fn of(config: &Config, queue: &QueueConfig) -> Self {
        let large = match queue.large_bodies {
            LargeBodies::Refuse => None,
            LargeBodies::ClaimCheck { max_bytes } => Some((max_bytes, queue.group.clone())),
        };
        Self { message: config.max_message_bytes, large }
    }

    /// The widest limits of all queues, for a message whose queue is not yet chosen.
    #[must_use]
    pub fn of_any(config: &Config) -> Self {
        let all = config.queues.values().map(|queue| Self::of(config, queue));
        all.max_by_key(Self::most).unwrap_or(Self { message: config.max_message_bytes, large: None })
    }

    /// How many bytes of a body are worth reading for a message whose other parts are known.
    ///
    /// # Errors
    /// Those are too large by themselves.
    pub fn body_limit(&self, entry: &Entry) -> Result<usize, Problem> {
        let whole = entry.body_limit(self.message)?;
        Ok(self.large.as_ref().map_or(whole, |(large, _)| whole.max(*large)))
    }

    /// The most bytes that any body here can have.
    #[must_use]
    pub fn most(&self) -> usize {
        self.large.as_ref().map_or(self.message, |(large, _)| self.message.max(*large))
    }

    /// The most bytes of an event or an item in JSON, body included, that are worth reading: JSON may spell a body longer than it is, base64 by a third and
    /// an escaped character up to six times. Twice is allowed for.
    #[must_use]
    pub fn most_json(&self) -> usize {
        self.most().saturating_mul(2).saturating_add(super::entry::MAX_PROPERTIES_BYTES)
    }

    /// Whether a message can travel.
    ///
    /// # Errors
    /// It is too large.
    pub fn check(&self, entry: &Entry) -> Result<(), Problem> {
        let (size, limit) = (entry.message.body.len(), self.body_limit(entry)?);
        if size <= limit { Ok(()) } else { Err(too_large(Some(size), limit, "the body")) }
    }

    /// How a message travels.
    ///
    /// # Errors
    /// Not at all: it is too large.
    pub fn fit(&self, entry: Entry) -> Result<Fit, Problem> {
        let Some((large, group)) = &self.large else {
            entry.check_size(self.message)?;
            return Ok(Fit::Whole(entry));
        };
        if entry.size() <= self.message {
            return Ok(Fit::Whole(entry));
        }
        let size = entry.message.body.len();
        if size > *large {
            return Err(too_large(Some(size), *large, "the body"));
        }
        let body = entry.message.body.clone();
        let claim = Claim::new(group, &entry.id, &body);
        let mut entry = entry.with_body(Bytes::new());
        claim.write(&mut entry.message.properties);
        entry.check_size(self.message)?;
        Ok(Fit::Claimed { entry, blob: claim.blob, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Properties, property};

    fn sizes(queue: &str) -> Sizes {
        let config = Config::parse(&format!("max_message_bytes = 1024\n[queues.q]\n{queue}")).unwrap();
        Sizes::of(&config, config.queue("q").unwrap())
    }

    fn entry(body: usize) -> Entry {
        Entry::new("a".to_owned(), None, None, vec![b'x'; body].into(), Properties::new())
    }

    #[test]
    fn the_limit_is_on_body_and_properties_together() {
        let sizes = sizes("");
        // MessageId 1, oncebus-id 10 + 1.
        assert_eq!(sizes.body_limit(&entry(0)), Ok(1_012));
        assert!(matches!(sizes.fit(entry(1_012)), Ok(Fit::Whole(_))));
        let problem = sizes.fit(entry(1_013)).unwrap_err();
        assert_eq!(problem.to_json()["limit_bytes"], 1_012);
    }

    #[test]
    fn what_is_too_large_for_the_broker_travels_without_its_body() {
        let sizes = sizes("large_bodies = 'claim-check'\nmax_large_body_bytes = 5000\ngroup = 'g'");
        assert_eq!(sizes.body_limit(&entry(0)), Ok(5_000));
        assert!(matches!(sizes.fit(entry(1_012)), Ok(Fit::Whole(_))));
        let Ok(Fit::Claimed { entry: light, blob, body }) = sizes.fit(entry(1_013)) else { panic!("is claimed") };
        assert_eq!((light.message.body.len(), body.len()), (0, 1_013));
        assert_eq!(light.message.properties.text(property::CLAIM), Some(blob.as_str()));
        assert_eq!(Claim::of(&light.message.properties), Some(Ok(Claim::new("g", "a", &body))));
        assert_eq!(sizes.fit(entry(5_001)).unwrap_err().to_json()["limit_bytes"], 5_000);
    }
}
