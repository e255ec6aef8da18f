//! Which operation a method and a path mean.
//!
//! Entity names may hold `/`, so a path is read from its end. The words of the path are
//! case-insensitive.

use std::borrow::Cow;

use http::Method;
use uuid::Uuid;

use crate::auth::decode_in_place;
use crate::auth::service_bus::Claim;
use crate::broker::{EntityPath, MessageRef};

/// An operation of the data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// The entity as the client wrote it, decoded: what `Location` shows.
    pub(super) name: String,
    pub(super) entity: EntityPath,
    pub(super) operation: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    Send,
    /// A look at the first message, where the gateway is told to allow it.
    Peek,
    PeekLock,
    ReceiveAndDelete,
    Complete(Settled),
    Abandon(Settled),
    Renew(Settled),
}

/// Which delivery is settled. A token that is none holds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) message: MessageRef,
    pub(super) token: Option<Uuid>,
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// The path is not one of the data plane.
    NotData,
    /// The path is, but the method is none of its methods.
    Method,
}

impl Operation {
    pub(super) fn claim(&self) -> Claim {
        match self {
            Self::Send => Claim::Send,
            _ => Claim::Listen,
        }
    }

    /// Its name in faults and counts.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Peek => "peek",
            Self::PeekLock => "peek-lock",
            Self::ReceiveAndDelete => "receive-and-delete",
            Self::Complete(_) => "complete",
            Self::Abandon(_) => "abandon",
            Self::Renew(_) => "renew",
        }
    }
}

/// Reads a method and a path as it stands in the request line.
pub(super) fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let segments: Vec<Cow<'_, str>> = path.trim_matches('/').split('/').map(decode_in_place).collect();
    let word = |from_end: usize, word: &str| {
        segments
            .len()
            .checked_sub(from_end)
            .and_then(|at| segments.get(at))
            .is_some_and(|s| s.eq_ignore_ascii_case(word))
    };
    let (tail, operation) = if word(1, "messages") {
        (
            1,
            match *method {
                Method::POST => Ok(Operation::Send),
                _ => Err(NoRoute::Method),
            },
        )
    } else if word(2, "messages") && word(1, "head") {
        (
            2,
            match *method {
                Method::GET => Ok(Operation::Peek),
                Method::POST => Ok(Operation::PeekLock),
                Method::DELETE => Ok(Operation::ReceiveAndDelete),
                _ => Err(NoRoute::Method),
            },
        )
    } else if word(3, "messages") {
        let settled = || {
            let last = segments.len().saturating_sub(2);
            let [message, token] = segments.get(last..).and_then(|pair| <&[Cow<'_, str>; 2]>::try_from(pair).ok())?;
            Some(Settled { message: MessageRef(message.clone().into_owned()), token: Uuid::parse_str(token).ok() })
        };
        let settled = settled().ok_or(NoRoute::NotData)?;
        (
            3,
            match *method {
                Method::DELETE => Ok(Operation::Complete(settled)),
                Method::PUT => Ok(Operation::Abandon(settled)),
                Method::POST => Ok(Operation::Renew(settled)),
                _ => Err(NoRoute::Method),
            },
        )
    } else {
        return Err(NoRoute::NotData);
    };
    let name = segments.get(..segments.len() - tail).unwrap_or_default().join("/");
    if name.is_empty() {
        return Err(NoRoute::NotData);
    }
    let entity = EntityPath::parse(&name);
    Ok(Route { name, entity, operation: operation? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::SubQueue;

    fn names(method: &Method, path: &str) -> (String, &'static str) {
        let route = route(method, path).unwrap();
        (route.name, route.operation.name())
    }

    #[test]
    fn words_are_read_from_the_end_in_any_case() {
        assert_eq!(names(&Method::POST, "/q/messages"), ("q".into(), "send"));
        assert_eq!(names(&Method::POST, "/ut/Q/Messages/Head"), ("ut/Q".into(), "peek-lock"));
        assert_eq!(names(&Method::DELETE, "/q/messages/head"), ("q".into(), "receive-and-delete"));
        let token = "41f822ef-0c89-4f17-96e9-1df6c1f1a81e";
        for (method, name) in [(Method::DELETE, "complete"), (Method::PUT, "abandon"), (Method::POST, "renew")] {
            assert_eq!(names(&method, &format!("/q/messages/1/{token}")), ("q".into(), name));
        }
        let dead = route(&Method::POST, "/q/%24deadletterqueue/messages/head").unwrap();
        assert_eq!((&*dead.entity.key, dead.entity.sub_queue), ("q", SubQueue::DeadLetter));
    }

    #[test]
    fn an_id_may_hold_an_escaped_slash() {
        let found = route(&Method::DELETE, "/q/messages/a%2Fb/x").unwrap();
        let Operation::Complete(settled) = found.operation else { panic!("{found:?}") };
        assert_eq!((settled.message.0.as_str(), settled.token), ("a/b", None));
    }

    #[test]
    fn what_is_not_the_data_plane_is_told_apart_from_a_wrong_method() {
        assert_eq!(route(&Method::PATCH, "/q/messages/head"), Err(NoRoute::Method));
        for path in ["/", "/q", "/messages", "/$Resources/queues", "//"] {
            assert_eq!(route(&Method::POST, path), Err(NoRoute::NotData), "{path}");
        }
    }
}
