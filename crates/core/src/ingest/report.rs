//! The answer to a batch: what became of each item.
//!
//! It is written as bytes and never built as a tree: a batch may have 100,000 items.

use std::rc::Rc;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::entry::location;
use crate::problem::{Kind, Problem};

/// What became of one item.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its id: the sender's, or the one made up for it. `None`: it could not be read so far.
    pub id: Option<String>,
    /// Accepted by the broker, or why not.
    pub result: Result<(), Rc<Refused>>,
}

/// Why items were not accepted, with the words for it, which are the same for all items that share it.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The problem.
    pub problem: Problem,
    json: Option<Box<RawValue>>,
}

impl Refused {
    /// To be shared.
    #[must_use]
    pub fn new(problem: Problem) -> Rc<Self> {
        let mut json = problem.to_json();
        if let (Some(members), Some(seconds)) = (json.as_object_mut(), problem.retry_after_seconds) {
            members.insert("retry_after_seconds".to_owned(), seconds.into());
        }
        Rc::new(Self { json: to_raw_value(&json).ok(), problem })
    }
}

/// What became of a batch, in the order of its items.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The outcomes.
    pub outcomes: Vec<Outcome>,
    /// Why the body was not read to its end, where something before that was accepted.
    pub cut_short: Option<Problem>,
}

/// A report as an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The problem that stands for the whole: the body is one then, with `items`.
    pub problem: Option<Kind>,
    /// The most severe kind of problem there is: what is logged.
    pub worst: Option<Kind>,
    /// `Retry-After`: of what may pass, the longest.
    pub retry_after_seconds: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl Report {
    /// The answer: 202 if all was accepted; a problem if nothing was, and for reasons of ours; else 207.
    #[must_use]
    pub fn answer(&self, queue: &str) -> Answered {
        let mut problems: Vec<&Problem> = Vec::new();
        let mut accepted = 0_usize;
        for outcome in &self.outcomes {
            match &outcome.result {
                Ok(()) => accepted += 1,
                // Items that share a problem mostly stand beside each other.
                Err(refused) if problems.last().is_some_and(|last| std::ptr::eq(*last, &refused.problem)) => {}
                Err(refused) => problems.push(&refused.problem),
            }
        }
        problems.extend(&self.cut_short);
        let whole = whole(accepted, &problems);
        let worst = problems.iter().map(|problem| problem.kind).max_by_key(|kind| kind.status());
        let retry_after_seconds = problems.iter().filter_map(|problem| problem.retry_after_seconds).max();
        let refused = self.outcomes.len() - accepted;
        let items = Items { outcomes: &self.outcomes, queue };
        let (status, body) = match whole {
            Some(problem) => (problem.kind.status(), to_body(&Failed { problem, items })),
            None => {
                let status = if problems.is_empty() { 202 } else { 207 };
                let cut_short = self.cut_short.as_ref().map(Problem::to_json);
                (status, to_body(&Told { accepted, refused, items, cut_short }))
            }
        };
        Answered { status, problem: whole.map(|problem| problem.kind), worst, retry_after_seconds, body }
    }
}

/// The problem that stands for the whole batch: nothing was accepted, and whatever was good failed for reasons that are not the sender's. What may
/// pass stands for the rest: the batch is worth repeating. The items are a member of it, for their ids: whoever repeats the batch needs those that were made up.
fn whole<'a>(accepted: usize, problems: &[&'a Problem]) -> Option<&'a Problem> {
    let mut ours = problems.iter().copied().filter(|problem| problem.kind.status() >= 500);
    let first = ours.clone().next().filter(|_| accepted == 0)?;
    Some(ours.find(|problem| problem.kind.is_retryable()).unwrap_or(first))
}

#[expect(clippy::expect_used, reason = "strings, numbers and maps with names for keys are JSON")]
fn to_body(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings, numbers and maps with names for keys")
}

/// The body of 202 and 207.
#[derive(Serialize)]
struct Told<'a> {
    accepted: usize,
    refused: usize,
    items: Items<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_short: Option<serde_json::Value>,
}

/// The body of a problem.
struct Failed<'a> {
    problem: &'a Problem,
    items: Items<'a>,
}

impl Serialize for Failed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = self.problem.to_json();
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in json.as_object().into_iter().flatten() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("items", &self.items)?;
        map.end()
    }
}

struct Items<'a> {
    outcomes: &'a [Outcome],
    queue: &'a str,
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.outcomes.iter().enumerate().map(|(index, Outcome { id, result })| {
            let id = id.as_deref();
            match result {
                Ok(()) => {
                    let location = Some(location(self.queue, id.unwrap_or_default()));
                    Item { index, id, status: 202, location, problem: None }
                }
                Err(refused) => {
                    let status = refused.problem.kind.status();
                    Item { index, id, status, location: None, problem: refused.json.as_deref() }
                }
            }
        }))
    }
}

#[derive(Serialize)]
struct Item<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn accepted(id: &str) -> Outcome {
        Outcome { id: Some(id.to_owned()), result: Ok(()) }
    }

    fn refused(id: Option<&str>, kind: Kind) -> Outcome {
        Outcome { id: id.map(str::to_owned), result: Err(Refused::new(Problem::new(kind, "why"))) }
    }

    fn answer(outcomes: Vec<Outcome>) -> (Answered, Value) {
        let answered = Report { outcomes, cut_short: None }.answer("q");
        let json = serde_json::from_slice(&answered.body).unwrap();
        (answered, json)
    }

    #[test]
    fn a_batch_that_was_accepted_is_202_with_every_place() {
        let (answered, json) = answer(vec![accepted("a"), accepted("b/c")]);
        assert_eq!((answered.status, answered.problem, answered.worst), (202, None, None));
        let expected = json!({ "accepted": 2, "refused": 0, "items": [
            { "index": 0, "id": "a", "status": 202, "location": "/queues/q/messages/a" },
            { "index": 1, "id": "b/c", "status": 202, "location": "/queues/q/messages/b%2Fc" },
        ]});
        assert_eq!(json, expected);
        assert_eq!(answer(vec![]).0.status, 202);
    }

    #[test]
    fn one_refusal_makes_207_and_says_when_to_come_back() {
        let (answered, json) =
            answer(vec![refused(None, Kind::Malformed), accepted("a"), refused(Some("b"), Kind::Throttled)]);
        assert_eq!((answered.status, answered.problem, answered.worst), (207, None, Some(Kind::Throttled)));
        assert_eq!(answered.retry_after_seconds, Some(2));
        let items = &json["items"];
        assert_eq!((&items[0]["status"], &items[0]["id"]), (&json!(400), &Value::Null));
        assert_eq!(items[0]["problem"]["type"], "urn:oncebus:problem:malformed");
        assert_eq!((&items[2]["id"], &items[2]["problem"]["retry_after_seconds"]), (&json!("b"), &json!(2)));
    }

    #[test]
    fn a_batch_of_which_nothing_came_through_for_reasons_of_ours_is_a_problem() {
        let (answered, json) =
            answer(vec![refused(Some("a"), Kind::Unavailable), refused(Some("b"), Kind::Unavailable)]);
        assert_eq!((answered.status, answered.problem), (503, Some(Kind::Unavailable)));
        assert_eq!(answered.retry_after_seconds, Some(2));
        assert_eq!((&json["items"][1]["id"], &json["status"]), (&json!("b"), &json!(503)));
        // The sender's own mistakes are told beside it; what may pass stands for what does not.
        for (other, status) in [(Kind::Malformed, 503), (Kind::Refused, 503), (Kind::Throttled, 503)] {
            let (answered, _) = answer(vec![refused(None, other), refused(Some("a"), Kind::Throttled)]);
            assert_eq!((answered.status, answered.problem), (status, Some(Kind::Throttled)), "{other:?}");
        }
        assert_eq!(answer(vec![refused(None, Kind::TooLarge)]).0.status, 207);
        assert_eq!(answer(vec![accepted("a"), refused(None, Kind::Throttled)]).0.status, 207);
    }

    #[test]
    fn a_body_that_was_not_read_to_its_end_is_never_202() {
        let cut_short = Some(Problem::new(Kind::TooLarge, "too many"));
        let answered = Report { outcomes: vec![accepted("a")], cut_short }.answer("q");
        let json: Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!((answered.status, &json["cut_short"]["status"]), (207, &json!(413)));
    }
}
