//! The lock that tutorials show. Do not use it: every story of `tests/comparison.rs` says why.
//!
//! * **Acquire**: look at the blob. If it is there, says `locked`, and its time has not run out by the worker's own clock, give
//!   up; else write `locked` and the time. Between the look and the write anybody else may do the same.
//! * **Time**: the minute of the hour at which it was taken, compared with the minute of the hour now: short,
//!   readable, and blind to the hour.
//! * **Release**: delete the blob. It asks neither whose it is nor whether anybody has to know that the work is done.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use oncebus_azure::blob::{BlobContainer, Condition, ETag, Metadata};

use crate::place::Place;

/// The lock.
pub struct NaiveLock<'p> {
    place: &'p Place,
    container: BlobContainer,
    name: String,
    /// After so many minutes a lock counts as forgotten.
    pub timeout_minutes: u32,
}

/// What the look said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nobody has it.
    Free,
    /// Somebody has it.
    Taken,
}

impl<'p> NaiveLock<'p> {
    /// A lock with a name.
    #[must_use]
    pub fn new(place: &'p Place, name: &str, timeout_minutes: u32) -> Self {
        Self { place, container: place.container(), name: name.to_owned(), timeout_minutes }
    }

    /// Whether somebody has it, by the worker's clock: minutes since midnight.
    pub async fn look(&self, now_minutes: u32) -> Look {
        let answer = self.place.send(self.container.head(&self.name)).await;
        if answer.status() != StatusCode::OK {
            return Look::Free;
        }
        let value = |name: &str| answer.headers().get(format!("x-ms-meta-{name}"))?.to_str().ok().map(str::to_owned);
        if value("locked").as_deref() != Some("true") {
            return Look::Free;
        }
        let taken: i64 = value("minute").and_then(|text| text.parse().ok()).unwrap_or_default();
        let expired = i64::from(now_minutes % 60) - taken > i64::from(self.timeout_minutes);
        if expired { Look::Free } else { Look::Taken }
    }

    /// Writes that it is taken, whatever is there.
    ///
    /// # Panics
    /// When the storage refuses.
    pub async fn take(&self, now_minutes: u32) {
        let minute = (now_minutes % 60).to_string();
        let metadata = Metadata::from_pairs([("locked", "true"), ("minute", &minute)]).expect("plain metadata");
        // Make sure that the blob is there, then write: two requests, as shown everywhere.
        let octets = http::HeaderValue::from_static("application/octet-stream");
        let put = self.container.put(&self.name, Bytes::new(), &octets, &Condition::Always);
        assert_eq!(self.place.send(put).await.status(), StatusCode::CREATED);
        let write = unconditional(self.container.set_metadata(&self.name, &any(), &metadata));
        assert_eq!(self.place.send(write).await.status(), StatusCode::OK);
    }

    /// Look, and take if it is free.
    pub async fn acquire(&self, now_minutes: u32) -> bool {
        let free = self.look(now_minutes).await == Look::Free;
        if free {
            self.take(now_minutes).await;
        }
        free
    }

    /// Deletes it.
    pub async fn release(&self) {
        let delete = unconditional(self.container.delete(&self.name, &any()));
        // Gone already is as good.
        self.place.send(delete).await;
    }
}

/// Stands in until [`unconditional`] takes it out.
fn any() -> ETag {
    ETag::parse("\"any\"").expect("an ETag")
}

/// Nobody who copies a lock from a page sends a condition.
fn unconditional(mut request: Request<Bytes>) -> Request<Bytes> {
    request.headers_mut().remove(header::IF_MATCH);
    request
}
