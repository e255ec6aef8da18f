//! Cutting an instance off at a chosen request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use http::Method;
use oncebus_host::{Answer, OutboundCall, OutboundHook, Verdict};
use tokio::sync::Notify;

/// Which request: of the queue handler, unless it says another component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A poll for a message.
    Poll,
    /// The create of a record: the claim.
    Claim,
    /// A conditional write of a record: takeover, checkpoint, done, release.
    Write,
    /// The completion of a delivery.
    Complete,
    /// The sending of a copy.
    Copy,
    /// The renewal of the broker's lock.
    Renew,
    /// A send of ingest.
    Ingest,
}

impl At {
    const fn component(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            _ => "queue-handler",
        }
    }

    fn matches(self, call: &OutboundCall) -> bool {
        let (path, query) = (call.uri.path(), call.uri.query().unwrap_or_default());
        let blob = call.headers.contains_key("x-ms-version");
        let settles = !blob && path.split('/').rev().nth(2) == Some("messages");
        match self {
            Self::Poll => !blob && path.ends_with("/messages/head"),
            Self::Claim => blob && call.method == Method::PUT && !query.contains("comp=metadata"),
            Self::Write => blob && call.method == Method::PUT && query.contains("comp=metadata"),
            Self::Complete => settles && call.method == Method::DELETE,
            Self::Renew => settles && call.method == Method::POST,
            Self::Copy | Self::Ingest => !blob && call.method == Method::POST && path.ends_with("/messages"),
        }
    }
}

/// What happens to the instance.
#[derive(Debug, Clone)]
pub enum Does {
    /// Dies before the request is sent.
    DieBefore,
    /// Dies when the request is done, before it sees the answer.
    DieAfter,
    /// The request is done and its answer lost; the instance lives.
    LoseReply,
    /// Stands still before the request is sent, until it is let go.
    Hold(Held),
}

/// An instance that stands still.
#[derive(Debug, Clone, Default)]
pub struct Held {
    reached: Arc<Notify>,
    released: Arc<Notify>,
}

impl Held {
    /// Waits until the instance stands.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.released.notify_one();
    }
}

/// One cut: after so many requests of the kind have passed, the next one.
#[derive(Debug, Clone)]
pub struct Cut {
    at: At,
    pass: usize,
    does: Does,
}

impl Cut {
    /// At the first request of the kind.
    #[must_use]
    pub const fn first(at: At, does: Does) -> Self {
        Self { at, pass: 0, does }
    }

    /// After so many have passed.
    #[must_use]
    pub const fn after(pass: usize, at: At, does: Does) -> Self {
        Self { at, pass, does }
    }
}

/// The cuts still to come, each once.
#[derive(Debug, Clone, Default)]
pub struct Cuts(Arc<Mutex<VecDeque<Cut>>>);

impl Cuts {
    /// Adds one.
    pub fn add(&self, cut: Cut) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(cut);
    }

    /// How many have not come yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take(&self, call: &OutboundCall, before: bool) -> Option<Does> {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |cut: &Cut| {
            call.component == cut.at.component()
                && cut.at.matches(call)
                && before == matches!(cut.does, Does::DieBefore | Does::Hold(_) | Does::LoseReply)
        };
        let index = cuts.iter().position(fits)?;
        let cut = cuts.get_mut(index)?;
        if cut.pass > 0 {
            cut.pass -= 1;
            return None;
        }
        cuts.remove(index).map(|cut| cut.does)
    }
}

impl OutboundHook for Cuts {
    fn before<'a>(&'a self, call: &'a OutboundCall) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            match self.take(call, true) {
                Some(Does::DieBefore) => Verdict::Kill,
                Some(Does::LoseReply) => Verdict::DropReply,
                Some(Does::Hold(held)) => {
                    held.reached.notify_one();
                    held.released.notified().await;
                    Verdict::Continue
                }
                Some(Does::DieAfter) | None => Verdict::Continue,
            }
        })
    }

    fn after<'a>(&'a self, call: &'a OutboundCall, _: Result<Answer, String>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move { if self.take(call, false).is_some() { Verdict::Kill } else { Verdict::Continue } })
    }
}
