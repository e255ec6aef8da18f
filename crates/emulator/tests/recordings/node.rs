//! The sources whose requests were not recorded: their answers are compared by status and shape with
//! what the emulator says for the same method and kind of path.

use std::collections::BTreeSet;

use crate::exchange::{Answer, Exchange, sources};

/// Status, header names that do not depend on the message, and what the body begins with.
type Shape = (String, u16, String);

fn shape(exchange: &Exchange, answer: &Answer) -> Shape {
    let (_, path) = exchange.place();
    let path = path.split('?').next().unwrap_or_default().to_lowercase();
    let words = ["/messages/head", "/messages/", "/messages", "$resources", "/rules/", "/subscriptions/"];
    let place = words.iter().find(|word| path.contains(**word)).unwrap_or(&"/");
    let body = String::from_utf8_lossy(&answer.body);
    let begins = ["<entry", "<feed", "<Error>"].iter().find(|tag| body.starts_with(**tag)).unwrap_or(&"");
    (format!("{} {place}", exchange.method), answer.status, (*begins).to_owned())
}

/// Every shape of 2014 was recorded again later, where requests are known and replayed; what was not is
/// listed here.
#[test]
fn the_shapes_of_2014_are_those_of_the_replayed_sources() {
    let replayed: BTreeSet<Shape> = ["python-legacy", "python-mgmt-2020"]
        .into_iter()
        .flat_map(|file| sources(file).into_values().flatten())
        .map(|exchange| shape(&exchange, &exchange.answer()))
        .collect();
    let node: Vec<Shape> = sources("node").into_values().flatten().map(|e| shape(&e, &e.answer())).collect();
    let (known, unknown): (Vec<_>, Vec<_>) = node.iter().partition(|shape| replayed.contains(shape));
    println!("recordings without requests, by status and shape: {}/{}", known.len(), node.len());
    let unknown: BTreeSet<_> = unknown.into_iter().collect();
    for shape in &unknown {
        println!("only in 2014: {shape:?}");
    }
    assert_eq!((known.len(), node.len()), (297, 304));
}
