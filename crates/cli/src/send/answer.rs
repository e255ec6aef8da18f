//! What the app's answer says about the messages of a request.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::source::Post;

/// What came of one request's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// A sentence for each refused one.
    pub(super) reasons: Vec<String>,
}

pub(super) fn read(post: &Post, answer: &Response<Bytes>) -> Outcome {
    let document: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    match (post, answer.status()) {
        (Post::Single { .. }, StatusCode::ACCEPTED) => Outcome { accepted: 1, ..Outcome::default() },
        (Post::Lines { count, .. }, StatusCode::ACCEPTED) => Outcome { accepted: *count, ..Outcome::default() },
        (Post::Lines { first, count, .. }, StatusCode::MULTI_STATUS) => by_item(*first, *count, &document),
        (Post::Single { .. }, status) => Outcome { accepted: 0, refused: 1, reasons: vec![reason(status, &document)] },
        (Post::Lines { first, count, .. }, status) => {
            let last = first + count.saturating_sub(1);
            let reason = format!("lines {first} to {last}: {}", reason(status, &document));
            Outcome { accepted: 0, refused: *count, reasons: vec![reason] }
        }
    }
}

/// A 207: every item has a status of its own. What the answer does not mention was not accepted.
fn by_item(first: u64, count: u64, document: &Value) -> Outcome {
    let items = document.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let status = |item: &Value| item.get("status").and_then(Value::as_u64).unwrap_or_default();
    let accepted = items.iter().filter(|item| status(item) == 202).count();
    let accepted = u64::try_from(accepted).unwrap_or(u64::MAX).min(count);
    let refused = items.iter().filter(|item| status(item) != 202);
    let reasons = refused.map(|item| {
        let index = item.get("index").and_then(Value::as_u64).unwrap_or_default();
        let problem = item.get("problem").unwrap_or(&Value::Null);
        format!("line {}: {}", first + index, text(problem).unwrap_or_else(|| status(item).to_string()))
    });
    Outcome { accepted, refused: count - accepted, reasons: reasons.collect() }
}

fn reason(status: StatusCode, problem: &Value) -> String {
    text(problem).map_or_else(|| status.to_string(), |text| format!("{} {text}", status.as_u16()))
}

/// Title and detail of a problem.
fn text(problem: &Value) -> Option<String> {
    let member = |name| problem.get(name).and_then(Value::as_str);
    match (member("title"), member("detail")) {
        (Some(title), Some(detail)) => Some(format!("{title}: {detail}")),
        (title, detail) => title.or(detail).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    #[test]
    fn each_item_of_a_batch_is_counted_by_its_own_status() {
        let lines = Post::Lines { first: 11, count: 3, body: Bytes::new() };
        assert_eq!(read(&lines, &answer(202, "{}")).accepted, 3);
        let body = r#"{"items":[{"index":0,"status":202},{"index":1,"status":400,"problem":{"title":"T","detail":"d"}},{"index":2,"status":202}]}"#;
        let mixed = read(&lines, &answer(207, body));
        assert_eq!(mixed, Outcome { accepted: 2, refused: 1, reasons: vec!["line 12: T: d".to_owned()] });
        assert_eq!((read(&lines, &answer(207, "")).refused, read(&lines, &answer(503, "")).refused), (3, 3));
    }

    #[test]
    fn a_refused_message_says_why() {
        let single = Post::Single { id: String::new(), content_type: String::new(), body: Bytes::new() };
        assert_eq!(read(&single, &answer(202, "")), Outcome { accepted: 1, ..Outcome::default() });
        let refused = read(&single, &answer(404, r#"{"title":"No such queue is configured","detail":"no queue"}"#));
        assert_eq!(refused.reasons, ["404 No such queue is configured: no queue"]);
        assert_eq!(read(&single, &answer(502, "<html>")).reasons, ["502 Bad Gateway"]);
    }
}
