//! The sources whose requests were not recorded: replayed with requests made up from what is known,
//! method, URL and the description in the answer, and compared by status and by what the body is. They
//! are counted apart, since their headers and messages cannot be sent again.

use std::collections::BTreeMap;

use serde_json::json;

use crate::exchange::{Answer, Exchange, sources};
use crate::replay::given;
use crate::{WITHOUT_REQUESTS, exceptions, judge};

/// How many agree, and how many there are. Why the others do not is in `exceptions.txt`.
const EXPECTED: (usize, usize) = (302, 304);

#[tokio::test(flavor = "multi_thread")]
async fn statuses_and_shapes_of_2014_are_given_again() {
    let (mut total, mut failures) = (0, Vec::new());
    for (source, exchanges) in sources(WITHOUT_REQUESTS) {
        let made_up: Vec<Exchange> = exchanges.iter().map(with_request).collect();
        for (exchange, answer) in given(&made_up).await {
            let (recorded, answer) = (shape(&exchange.answer()), shape(&answer));
            total += 1;
            if recorded != answer {
                println!(
                    "{source}#{} {} {}: {recorded:?}, given {answer:?}",
                    exchange.n, exchange.method, exchange.url
                );
                failures.push(format!("{source}#{}", exchange.n));
            }
        }
    }
    judge(&exceptions(&[WITHOUT_REQUESTS]), failures.iter());
    let agree = total - failures.len();
    println!("recordings without requests, by status and shape: {agree}/{total}");
    assert_eq!((agree, total), EXPECTED);
}

/// The status, and what the body begins with.
fn shape(answer: &Answer) -> (u16, &'static str) {
    let body = String::from_utf8_lossy(&answer.body);
    let known = ["<entry", "<feed", "<Error>"].into_iter().find(|tag| body.starts_with(tag));
    (answer.status, known.unwrap_or("other"))
}

/// A PUT gets the description that came back, or an empty one of the kind that its path tells.
fn with_request(exchange: &Exchange) -> Exchange {
    let mut made_up = exchange.clone();
    let (_, path) = exchange.place();
    let path = path.to_lowercase();
    if exchange.method != "PUT" || path.contains("/messages/") {
        return made_up;
    }
    let answer = String::from_utf8_lossy(&exchange.answer().body).into_owned();
    let description = answer.split_once("<content type=\"application/xml\">").map(|(_, rest)| rest);
    let description = match description.and_then(|rest| rest.split_once("</content>")) {
        Some((description, _)) => description.to_owned(),
        None => {
            let words = [("/rules/", "Rule"), ("/subscriptions/", "Subscription"), ("topic", "Topic")];
            let kind = words.iter().find(|(word, _)| path.contains(word)).map_or("Queue", |(_, kind)| kind);
            format!("<{kind}Description/>")
        }
    };
    made_up.req_body = json!(format!("<entry><content>{description}</content></entry>"));
    if exchange.status == 200 {
        made_up.req_headers = Some(BTreeMap::from([("if-match".to_owned(), "*".to_owned())]));
    }
    made_up
}
