//! The answer to a batch: what became of each item.

use serde_json::{Map, Value, json};

use super::entry::location;
use crate::problem::{Kind, Problem};

/// What became of one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its id: the sender's, or the one made up for it. `None`: it could not be read so far.
    pub id: Option<String>,
    /// Accepted by the broker, or why not.
    pub result: Result<(), Problem>,
}

/// What became of a batch, in the order of its items.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The outcomes.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// How many were accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.result.is_ok()).count()
    }

    /// The problem that stands for the whole batch: every item failed, and all for one reason that is not the sender's. The
    /// items are a member of it, for their ids: whoever repeats the batch needs those that were made up.
    #[must_use]
    pub fn failure(&self, queue: &str) -> Option<Problem> {
        let mut problems = self.outcomes.iter().map(|outcome| outcome.result.as_ref().err());
        let first = problems.next()??;
        let ours = first.kind.status() >= 500;
        let alike = ours && problems.all(|problem| problem.is_some_and(|problem| problem.kind == first.kind));
        alike.then(|| first.clone().with("items", self.items(queue)))
    }

    /// 202 if all were accepted, else 207.
    #[must_use]
    pub fn status(&self) -> u16 {
        if self.outcomes.iter().all(|outcome| outcome.result.is_ok()) { 202 } else { 207 }
    }

    /// The body of the answer.
    #[must_use]
    pub fn to_json(&self, queue: &str) -> Value {
        let accepted = self.accepted();
        json!({ "accepted": accepted, "refused": self.outcomes.len() - accepted, "items": self.items(queue) })
    }

    /// The kinds of problems there are, the most severe first: what is logged.
    #[must_use]
    pub fn worst(&self) -> Option<Kind> {
        let kinds =
            self.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err().map(|problem| problem.kind));
        kinds.max_by_key(|kind| kind.status())
    }

    fn items(&self, queue: &str) -> Vec<Value> {
        self.outcomes.iter().enumerate().map(|(index, outcome)| outcome.to_json(index, queue)).collect()
    }
}

impl Outcome {
    fn to_json(&self, index: usize, queue: &str) -> Value {
        let mut members = Map::new();
        members.insert("index".to_owned(), index.into());
        if let Some(id) = &self.id {
            members.insert("id".to_owned(), id.as_str().into());
        }
        match (&self.result, &self.id) {
            (Ok(()), id) => {
                members.insert("status".to_owned(), 202.into());
                let id = id.as_deref().unwrap_or_default();
                members.insert("location".to_owned(), location(queue, id).into());
            }
            (Err(problem), _) => {
                members.insert("status".to_owned(), problem.kind.status().into());
                let mut json = problem.to_json();
                if let (Value::Object(json), Some(seconds)) = (&mut json, problem.retry_after_seconds) {
                    json.insert("retry_after_seconds".to_owned(), seconds.into());
                }
                members.insert("problem".to_owned(), json);
            }
        }
        members.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(id: &str) -> Outcome {
        Outcome { id: Some(id.to_owned()), result: Ok(()) }
    }

    fn refused(id: Option<&str>, kind: Kind) -> Outcome {
        Outcome { id: id.map(str::to_owned), result: Err(Problem::new(kind, "why")) }
    }

    #[test]
    fn a_batch_that_was_accepted_is_202_with_every_place() {
        let report = Report { outcomes: vec![accepted("a"), accepted("b/c")] };
        assert_eq!((report.status(), report.failure("q"), report.worst()), (202, None, None));
        let expected = json!({ "accepted": 2, "refused": 0, "items": [
            { "index": 0, "id": "a", "status": 202, "location": "/queues/q/messages/a" },
            { "index": 1, "id": "b/c", "status": 202, "location": "/queues/q/messages/b%2Fc" },
        ]});
        assert_eq!(report.to_json("q"), expected);
        assert_eq!((Report::default().status(), Report::default().failure("q")), (202, None));
    }

    #[test]
    fn one_refusal_makes_207() {
        let report = Report {
            outcomes: vec![refused(None, Kind::Malformed), accepted("a"), refused(Some("b"), Kind::Throttled)],
        };
        assert_eq!((report.status(), report.failure("q"), report.worst()), (207, None, Some(Kind::Throttled)));
        let items = &report.to_json("q")["items"];
        assert_eq!((&items[0]["status"], &items[0]["id"]), (&json!(400), &Value::Null));
        assert_eq!(items[0]["problem"]["type"], "urn:oncebus:problem:malformed");
        assert_eq!((&items[2]["id"], &items[2]["problem"]["retry_after_seconds"]), (&json!("b"), &json!(2)));
    }

    #[test]
    fn a_batch_that_failed_for_one_reason_of_ours_is_that_problem() {
        let report =
            Report { outcomes: vec![refused(Some("a"), Kind::Unavailable), refused(Some("b"), Kind::Unavailable)] };
        let problem = report.failure("q").unwrap();
        assert_eq!((problem.kind, problem.retry_after_seconds), (Kind::Unavailable, Some(2)));
        assert_eq!(problem.to_json()["items"][1]["id"], "b");
        for other in [Kind::Throttled, Kind::Malformed] {
            let mixed = Report { outcomes: vec![refused(Some("a"), Kind::Unavailable), refused(Some("b"), other)] };
            assert_eq!((mixed.failure("q"), mixed.status()), (None, 207));
        }
        assert_eq!(Report { outcomes: vec![refused(None, Kind::TooLarge)] }.failure("q"), None);
    }
}
