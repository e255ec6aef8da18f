//! One JSON object a line for each request: a sentence, and fields with the names of OpenTelemetry's conventions where
//! they have one.
//!
//! No ids, keys, bodies, phone numbers, secrets; and no path but its template, for paths hold ids. A trace is named, since it is made to be
//! looked up: `trace_id` and `span_id`, as OpenTelemetry has them in logs that are not its own.

use std::time::Duration;

use oncebus_core::problem::Kind;
use oncebus_core::trace::Trace;
use serde_json::{Map, Value};

use crate::routed::Routed;

/// What a line is made of.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The template of the path; `None`: there is nothing there.
    pub route: Option<&'static str>,
    /// The queue, if it is a configured one.
    pub queue: Option<&'a str>,
    /// Whether it is about sending to that queue.
    pub sends: bool,
    /// Where the rules sent it.
    pub routed: Option<&'a Routed>,
    /// The answer's status.
    pub status: u16,
    /// The problem that was answered.
    pub problem: Option<Kind>,
    /// What a service behind this one said.
    pub cause: Option<&'a str>,
    /// How long it took.
    pub took: Duration,
    /// The trace that the request belongs to.
    pub trace: Option<&'a Trace>,
}

/// Methods that are logged by name; any other is a stranger's text, and is `_OTHER` as the conventions want it.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

impl Line<'_> {
    /// The line.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let method = METHODS.iter().find(|known| **known == self.method).copied().unwrap_or("_OTHER");
        let route = self.route.unwrap_or("unmatched");
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("level", self.level().into());
        set("message", format!("{method} {route} was answered with {}", self.status).into());
        set("http.request.method", method.into());
        set("http.response.status_code", self.status.into());
        set("http.server.request.duration", self.took.as_secs_f64().into());
        if let Some(route) = self.route {
            set("http.route", route.into());
        }
        if let Some(queue) = self.routed.map(|routed| routed.queue.as_str()).or(self.queue) {
            set("messaging.system", "servicebus".into());
            set("messaging.destination.name", queue.into());
            if self.sends {
                set("messaging.operation.type", "send".into());
            }
        }
        if let Some(routed) = self.routed {
            set("oncebus.route", routed.rule.as_str().into());
            if let Some(fallback) = &routed.fallback {
                set("oncebus.route.fallback", fallback.as_str().into());
            }
        }
        if let Some(problem) = self.problem {
            set("error.type", problem.slug().into());
        }
        if let Some(cause) = self.cause {
            set("cause", cause.into());
        }
        if let Some(trace) = self.trace {
            set("trace_id", trace.trace_id().into());
            set("span_id", trace.span_id().into());
        }
        fields.into()
    }

    /// An error is what the operator must put right; what passes by itself is a warning.
    const fn level(&self) -> &'static str {
        match self.problem {
            Some(kind) if kind.is_retryable() => "warn",
            Some(kind) if kind.status() >= 500 => "error",
            _ => "info",
        }
    }
}

#[cfg(test)]
mod tests {
    use oncebus_core::ingest::head::Head;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_a_sentence_and_fields() {
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec();
        let head = Head { headers: vec![("traceparent".to_owned(), parent)], ..Head::default() };
        let trace = Trace::of_request(&head);
        let line = Line {
            method: "POST",
            route: Some("/queues/{queue}/messages"),
            queue: Some("orders"),
            sends: true,
            routed: None,
            status: 502,
            problem: Some(Kind::CredentialRefused),
            cause: Some("service-bus: the credential was refused"),
            took: Duration::from_millis(12),
            trace: trace.as_ref(),
        };
        let expected = json!({ "level": "error", "message": "POST /queues/{queue}/messages was answered with 502",
            "http.request.method": "POST", "http.route": "/queues/{queue}/messages", "http.response.status_code": 502,
            "http.server.request.duration": 0.012, "messaging.system": "servicebus",
            "messaging.destination.name": "orders", "messaging.operation.type": "send",
            "error.type": "credential-refused", "cause": "service-bus: the credential was refused",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7" });
        assert_eq!(line.to_json(), expected);
        let stranger = Line { method: "+49301234567", route: None, queue: None, problem: None, cause: None, ..line };
        assert!(!stranger.to_json().to_string().contains("4930"));
    }

    #[test]
    fn a_line_about_a_routed_message_says_which_route_it_took() {
        let routed = Routed { queue: "a".to_owned(), rule: "gold".to_owned(), fallback: Some("no backlog".to_owned()) };
        let line = Line {
            method: "POST",
            route: Some("/messages"),
            queue: None,
            sends: true,
            routed: Some(&routed),
            status: 202,
            problem: None,
            cause: None,
            took: Duration::ZERO,
            trace: None,
        };
        let json = line.to_json();
        assert_eq!((&json["messaging.destination.name"], &json["oncebus.route"]), (&json!("a"), &json!("gold")));
        assert_eq!(json["oncebus.route.fallback"], "no backlog");
    }
}
