//! W3C Trace Context: where a message stands in a distributed trace.
//!
//! Ingest takes `traceparent` and `tracestate` from the request and passes them on as properties of the message; the queue handler
//! reads them back. Nothing here starts a span or samples: what comes in is handed on, unaltered.
//!
//! **A malformed context is no reason to refuse anything**: the specification has it ignored, and so it is. A `tracestate` counts only
//! beside a `traceparent`.

use crate::ingest::head::Head;
use crate::message::Properties;

/// The header, and the property that newer Azure SDKs write and read.
pub const TRACEPARENT: &str = "traceparent";
/// The property that older Azure SDKs write and read: the same text.
pub const DIAGNOSTIC_ID: &str = "Diagnostic-Id";
/// What vendors add: a header and a property.
pub const TRACESTATE: &str = "tracestate";

/// The distributed tracing extension of `CloudEvents`, as the properties that its attributes become.
const EVENT_TRACEPARENT: &str = "cloudEvents_traceparent";
const EVENT_TRACESTATE: &str = "cloudEvents_tracestate";

/// The specification wants at least so much of `tracestate` to be passed on; a longer one is left out whole.
const MAX_STATE: usize = 512;

/// Version, trace, span, flags, and the hyphens between.
const PARENT_LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// A valid context.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trace {
    parent: String,
    state: Option<String>,
}

impl Trace {
    /// The context that a request carries.
    #[must_use]
    pub fn of_request(head: &Head) -> Option<Self> {
        let parent = head.one(TRACEPARENT).ok()??;
        let lines = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(TRACESTATE));
        let states: Option<Vec<&str>> = lines.map(|(_, value)| std::str::from_utf8(value).ok()).collect();
        Self::new(parent, states.map(|states| states.join(",")).as_deref())
    }

    /// The context that a message carries: `traceparent`, else `Diagnostic-Id`.
    #[must_use]
    pub fn of_message(properties: &Properties) -> Option<Self> {
        let state = properties.text(TRACESTATE);
        let valid = |name| Self::new(properties.text(name)?, state);
        valid(TRACEPARENT).or_else(|| valid(DIAGNOSTIC_ID))
    }

    /// The context in which an event began, by its extension attributes. Less than that of a request, which is the hop at hand.
    #[must_use]
    pub fn of_event(properties: &Properties) -> Option<Self> {
        Self::new(properties.text(EVENT_TRACEPARENT)?, properties.text(EVENT_TRACESTATE))
    }

    fn new(parent: &str, state: Option<&str>) -> Option<Self> {
        if !is_valid(parent) {
            return None;
        }
        let state = state.map(str::trim).filter(|state| {
            (1..=MAX_STATE).contains(&state.len()) && state.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        });
        Some(Self { parent: parent.to_owned(), state: state.map(str::to_owned) })
    }

    /// The trace: 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.parent.get(3..35).unwrap_or_default()
    }

    /// The span that the message was sent in: 16 hex digits.
    #[must_use]
    pub fn span_id(&self) -> &str {
        self.parent.get(36..52).unwrap_or_default()
    }

    /// Writes it into a message's properties, unless its sender has put one there.
    pub fn write(&self, properties: &mut Properties) {
        if properties.get(TRACEPARENT).is_some() || properties.get(DIAGNOSTIC_ID).is_some() {
            return;
        }
        properties.set(TRACEPARENT, self.parent.as_str());
        properties.set(DIAGNOSTIC_ID, self.parent.as_str());
        if let Some(state) = &self.state {
            properties.set(TRACESTATE, state.as_str());
        }
    }
}

/// `00-{trace}-{span}-{flags}` in lower-case hex, with neither trace nor span all zeros. A later version may have more behind it.
fn is_valid(parent: &str) -> bool {
    let Some((known, more)) = parent.split_at_checked(PARENT_LENGTH) else { return false };
    let mut parts = known.split('-');
    let mut hex = |length: usize| {
        parts
            .next()
            .filter(|part| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    };
    let (Some(version), Some(trace), Some(span), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else { return false };
    let said = |part: &str| part.bytes().any(|byte| byte != b'0');
    let ends_well = match version {
        "00" => more.is_empty(),
        _ => more.is_empty() || more.starts_with('-'),
    };
    version != "ff" && said(trace) && said(span) && ends_well
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(headers: &[(&str, &str)]) -> Option<Trace> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Trace::of_request(&Head { headers, ..Head::default() })
    }

    #[test]
    fn a_context_travels_from_the_request_to_the_message() {
        let trace = request(&[("TraceParent", GOOD), ("tracestate", "a=1"), ("tracestate", "b=2")]).unwrap();
        assert_eq!((trace.trace_id(), trace.span_id()), ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"));
        let mut properties = Properties::new();
        trace.write(&mut properties);
        assert_eq!((properties.text("traceparent"), properties.text("diagnostic-id")), (Some(GOOD), Some(GOOD)));
        assert_eq!(properties.text("tracestate"), Some("a=1,b=2"));
        assert_eq!(Trace::of_message(&properties), Some(trace));
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-001",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bä-1",
        ] {
            assert_eq!(request(&[("traceparent", bad)]), None, "{bad}");
        }
        assert_eq!(request(&[("traceparent", GOOD), ("traceparent", GOOD)]), None, "which of the two?");
        assert_eq!(request(&[("tracestate", "a=1")]), None);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what";
        assert!(request(&[("traceparent", later)]).is_some(), "a later version is read as far as it is known");
    }

    #[test]
    fn a_state_that_cannot_be_passed_on_is_left_out() {
        for state in ["", "a=\u{e4}", &"x".repeat(513)] {
            let trace = request(&[("traceparent", GOOD), ("tracestate", state)]).unwrap();
            assert_eq!(trace.state, None, "{state}");
        }
    }

    #[test]
    fn the_senders_own_context_stays() {
        let trace = request(&[("traceparent", GOOD)]).unwrap();
        let mut properties: Properties = [("Diagnostic-Id", "mine")].into_iter().collect();
        trace.write(&mut properties);
        assert_eq!((properties.len(), properties.text("diagnostic-id")), (1, Some("mine")));
        let old: Properties = [("traceparent", "mine"), ("Diagnostic-Id", GOOD)].into_iter().collect();
        assert_eq!(Trace::of_message(&old), Some(trace));
    }

    proptest! {
        #[test]
        fn no_header_panics(value in prop::collection::vec(any::<u8>(), 0..70), text in "[0-9a-f-]{50,60}") {
            for value in [value, text.into_bytes()] {
                let headers = vec![(TRACEPARENT.to_owned(), value.clone()), (TRACESTATE.to_owned(), value)];
                let _ = Trace::of_request(&Head { headers, ..Head::default() });
            }
        }
    }
}
