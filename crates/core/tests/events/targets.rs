//! Fuzz targets: functions of bytes that panic when a promise is broken.

use oncebus_core::id::{check_logical_id, derived_id};
use oncebus_core::ingest::batch::lines::{Line, Splitter};
use oncebus_core::ingest::batch::{Form, Item, elements, read};
use oncebus_core::ingest::cloudevents::{self, Mode};
use oncebus_core::ingest::head::Head;

/// Two parts with a zero byte between them: headers and a body. Whatever they are:
///
/// * what is accepted has an id and properties that can be sent;
/// * an event in JSON is the same by itself and as an element of a batch;
/// * data that is JSON goes on as it stands in the event.
#[allow(dead_code, reason = "each fuzzer has one target")]
pub(crate) fn cloud_events(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0).map(<[u8]>::to_vec);
    let mut part = || parts.next().unwrap_or_default();
    let (headers, body) = (part(), part());
    let headers = headers.split(|byte| *byte == b'\n').map(|line| {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
        (name, halves.next().unwrap_or_default().to_vec())
    });
    let head = Head { method: "POST".to_owned(), target: "/".to_owned(), headers: headers.collect() };
    if Mode::of(&head) == Ok(Some(Mode::Binary))
        && let Ok(entry) = cloudevents::binary(&head)
    {
        assert_eq!(check_logical_id(&entry.id), Ok(()));
    }
    let alone = cloudevents::event(&body.clone().into(), None);
    if let Ok(entry) = &alone {
        assert_eq!(check_logical_id(&entry.id), Ok(()));
        assert!(entry.message.body.len() <= body.len() * 2, "a body is no larger than what it is made of");
        let batch = [b"[".as_slice(), &body, b"]"].concat().into();
        let items = elements(&batch, 1).expect("an array of one event");
        let one = items.first().expect("one event");
        assert_eq!(read(Form::Events, one, || unreachable!("an event has an id")).as_ref(), Ok(entry));
    }
}

/// A byte that says how the rest arrives, and lines. However it arrives:
///
/// * the lines are the same, and no more is held than one;
/// * an array of the lines that are JSON has the same items;
/// * an item that is accepted has an id that can be used, and a body that is a part of its line or the text in it.
#[allow(dead_code, reason = "each fuzzer has one target")]
pub(crate) fn ndjson(data: &[u8]) {
    const LIMIT: usize = 200;
    let Some((first, body)) = data.split_first() else { return };
    let chunk = usize::from(*first).max(1);
    let lines = |chunk: usize| {
        let mut splitter = Splitter::new(LIMIT);
        let mut lines = Vec::new();
        for bytes in body.chunks(chunk) {
            splitter.push(bytes);
            lines.extend(std::iter::from_fn(|| splitter.next_line()));
        }
        lines.extend(splitter.end());
        lines
    };
    let arrived = lines(chunk);
    assert_eq!(arrived, lines(body.len().max(1)));
    let mut good = Vec::new();
    for (index, line) in arrived.iter().enumerate() {
        let Line::Whole(line) = line else { continue };
        assert!(line.len() <= LIMIT);
        let item: Item = read(Form::Lines, line, || derived_id("key", index));
        if let Ok(entry) = item {
            assert_eq!(check_logical_id(&entry.id), Ok(()));
            assert!(entry.message.body.len() <= line.len());
            good.push((line.trim_ascii().to_vec(), index, entry));
        }
    }
    let texts: Vec<&[u8]> = good.iter().map(|(text, _, _)| text.as_slice()).collect();
    let array = [b"[".as_slice(), &texts.join(b",".as_slice()), b"]"].concat().into();
    let items = elements(&array, usize::MAX).expect("an array of what was read before");
    assert_eq!(items.len(), good.len());
    for (item, (_, index, entry)) in items.iter().zip(&good) {
        assert_eq!(read(Form::Array, item, || derived_id("key", *index)).as_ref(), Ok(entry));
    }
}
