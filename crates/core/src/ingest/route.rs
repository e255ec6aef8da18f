//! The paths of ingest.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::problem::{Kind, Problem};

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/`: the list of paths.
    Index,
    /// `/healthz`.
    Health,
    /// `/readyz`.
    Ready,
    /// `/queues/{queue}/messages`.
    Messages {
        /// The queue's name, decoded; not yet known to be configured.
        queue: String,
    },
    /// `/queues/{queue}/batch`.
    Batch {
        /// The queue's name, decoded.
        queue: String,
    },
    /// `/queues/{queue}/messages/{id}`.
    Message {
        /// The queue's name, decoded.
        queue: String,
        /// The message's id, decoded.
        id: String,
    },
    /// `/messages`: to whatever queue the rules say.
    Routed,
    /// `/routes/test`: what the rules would say.
    RoutesTest,
    /// `/webhooks/{name}`.
    Webhook {
        /// The webhook's name, decoded; not yet known to be configured.
        name: String,
    },
}

/// Methods of a path that is read, and of one that is written to, as in `Allow`.
const READ: &str = "GET, HEAD";
const WRITE: &str = "POST";
/// Methods of a path that takes events: a sender may ask before it delivers.
const DELIVER: &str = "POST, OPTIONS";

impl Route {
    /// What a path means; `None`: there is nothing.
    ///
    /// An id may hold `/`, as it is or escaped: everything after `messages/` is the id.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        match path {
            "/" | "" => return Some(Self::Index),
            "/healthz" => return Some(Self::Health),
            "/readyz" => return Some(Self::Ready),
            "/messages" => return Some(Self::Routed),
            "/routes/test" => return Some(Self::RoutesTest),
            _ => {}
        }
        if let Some(name) = path.strip_prefix("/webhooks/") {
            let name = decoded(name).filter(|name| !name.is_empty() && !name.contains('/'))?;
            return Some(Self::Webhook { name });
        }
        let (queue, rest) = path.strip_prefix("/queues/")?.split_once('/')?;
        let queue = decoded(queue).filter(|queue| !queue.is_empty())?;
        match rest {
            "messages" => Some(Self::Messages { queue }),
            "batch" => Some(Self::Batch { queue }),
            _ => {
                let id = decoded(rest.strip_prefix("messages/")?).filter(|id| !id.is_empty())?;
                Some(Self::Message { queue, id })
            }
        }
    }

    /// The path with its variables as names: what may be logged and counted by.
    #[must_use]
    pub const fn template(&self) -> &'static str {
        match self {
            Self::Index => "/",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Messages { .. } => "/queues/{queue}/messages",
            Self::Batch { .. } => "/queues/{queue}/batch",
            Self::Message { .. } => "/queues/{queue}/messages/{id}",
            Self::Routed => "/messages",
            Self::RoutesTest => "/routes/test",
            Self::Webhook { .. } => "/webhooks/{name}",
        }
    }

    /// Whether a message is sent by what comes to it.
    #[must_use]
    pub const fn sends(&self) -> bool {
        matches!(self, Self::Messages { .. } | Self::Batch { .. } | Self::Routed | Self::Webhook { .. })
    }

    /// Whether a client must show who it is, where that is asked for. A webhook has a signature of its own.
    #[must_use]
    pub const fn needs_access(&self) -> bool {
        match self {
            Self::Messages { .. } | Self::Batch { .. } | Self::Message { .. } | Self::Routed | Self::RoutesTest => true,
            Self::Index | Self::Health | Self::Ready | Self::Webhook { .. } => false,
        }
    }

    /// The methods it takes, as in `Allow`.
    #[must_use]
    pub const fn allow(&self) -> &'static str {
        match self {
            Self::Index | Self::Health | Self::Ready | Self::Message { .. } => READ,
            Self::Messages { .. } | Self::Batch { .. } | Self::Routed => DELIVER,
            Self::RoutesTest | Self::Webhook { .. } => WRITE,
        }
    }

    /// Checks the method.
    ///
    /// # Errors
    /// It is not one of those that [`Route::allow`] names.
    pub fn check(&self, method: &str) -> Result<(), Problem> {
        if self.allow().split(", ").any(|allowed| allowed == method) {
            return Ok(());
        }
        Err(Problem::new(Kind::MethodNotAllowed, format!("{} takes {}", self.template(), self.allow())))
    }
}

fn decoded(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::entry::location;

    #[test]
    fn every_path_there_is() {
        let queue = || "orders".to_owned();
        let message = |id: &str| Route::Message { queue: queue(), id: id.to_owned() };
        for (path, expected) in [
            ("/", Route::Index),
            ("/healthz", Route::Health),
            ("/readyz", Route::Ready),
            ("/messages", Route::Routed),
            ("/routes/test", Route::RoutesTest),
            ("/webhooks/twilio", Route::Webhook { name: "twilio".to_owned() }),
            ("/webhooks/a%20b", Route::Webhook { name: "a b".to_owned() }),
            ("/queues/orders/messages", Route::Messages { queue: queue() }),
            ("/queues/orders/batch", Route::Batch { queue: queue() }),
            ("/queues/orders/messages/a%2Fb%20c", message("a/b c")),
            ("/queues/orders/messages/a/b", message("a/b")),
            ("/queues/orders/messages/100%", message("100%")),
        ] {
            assert_eq!(Route::parse(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn every_other_path_is_nothing() {
        for path in [
            "/x",
            "/healthz/",
            "/messages/1",
            "/routes",
            "/queues/",
            "/queues/orders",
            "/queues//messages",
            "/queues/orders/messages/",
            "/queues/orders/batch/",
            "/queues/%ff/messages",
            "/webhooks/",
            "/webhooks/a/b",
            "/webhooks/a%2Fb",
            "/webhooks/%ff",
            "/queues/orders/messages/%ff",
            "//healthz",
            "*",
        ] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_read_is_read_by_head_too() {
        assert_eq!(Route::Health.check("HEAD"), Ok(()));
        let webhook = Route::Webhook { name: "a".to_owned() };
        assert_eq!(webhook.check("POST"), Ok(()));
        let refused = webhook.check("GET").unwrap_err();
        assert_eq!((refused.kind, refused.detail.as_str()), (Kind::MethodNotAllowed, "/webhooks/{name} takes POST"));
        assert!(Route::Health.check("GET, HEAD").is_err());
    }

    proptest! {
        #[test]
        fn the_location_of_a_message_leads_to_it(id in "\\PC{1,40}") {
            prop_assert_eq!(Route::parse(&location("orders", &id)), Some(Route::Message { queue: "orders".to_owned(), id }));
        }

        #[test]
        fn no_path_panics(path in "/?(queues/|webhooks/)?\\PC{0,40}") {
            let _ = Route::parse(&path);
        }
    }
}
