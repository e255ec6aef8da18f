//! One JSON object a line for each request: a sentence, and fields with the same names everywhere.
//!
//! No ids, keys, bodies, phone numbers, secrets; and no path but its template, for paths hold ids.

use oncebus_core::problem::Kind;
use serde_json::{Map, Value};

/// What a line is made of.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The template of the path; `None`: there is nothing there.
    pub route: Option<&'static str>,
    /// The queue, if it is a configured one.
    pub queue: Option<&'a str>,
    /// The answer's status.
    pub status: u16,
    /// The problem that was answered.
    pub problem: Option<Kind>,
    /// What a service behind this one said.
    pub cause: Option<&'a str>,
    /// How long it took.
    pub milliseconds: u64,
}

/// Methods that are logged by name: any other is a stranger's text.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

impl Line<'_> {
    /// The line.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let method = METHODS.iter().find(|known| **known == self.method).copied().unwrap_or("other");
        let route = self.route.unwrap_or("unmatched");
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("level", self.level().into());
        set("message", format!("{method} {route} was answered with {}", self.status).into());
        set("method", method.into());
        set("route", route.into());
        set("status", self.status.into());
        set("milliseconds", self.milliseconds.into());
        if let Some(queue) = self.queue {
            set("queue", queue.into());
        }
        if let Some(problem) = self.problem {
            set("problem", problem.slug().into());
        }
        if let Some(cause) = self.cause {
            set("cause", cause.into());
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_a_sentence_and_fields() {
        let line = Line {
            method: "POST",
            route: Some("/queues/{queue}/messages"),
            queue: Some("orders"),
            status: 502,
            problem: Some(Kind::CredentialRefused),
            cause: Some("service-bus: the credential was refused"),
            milliseconds: 12,
        };
        let expected = json!({ "level": "error", "message": "POST /queues/{queue}/messages was answered with 502",
            "method": "POST", "route": "/queues/{queue}/messages", "status": 502, "milliseconds": 12, "queue": "orders",
            "problem": "credential-refused", "cause": "service-bus: the credential was refused" });
        assert_eq!(line.to_json(), expected);
        let stranger = Line { method: "+49301234567", route: None, queue: None, problem: None, cause: None, ..line };
        assert!(!stranger.to_json().to_string().contains("4930"));
    }
}
