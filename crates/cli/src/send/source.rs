//! Where messages come from, as the requests that carry them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, stdin};
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use super::Args;

/// The most lines of one batch, and the most bytes: a request that is quickly repeated, far below what the app takes
/// (`max_batch_items`, `max_batch_bytes`).
const MAX_LINES: usize = 500;
const MAX_BYTES: usize = 1024 * 1024;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Post {
    /// A message on its own.
    Single { id: String, content_type: String, body: Bytes },
    /// A batch of lines; the number of the first of them in the source, counted from 1, and how many there are.
    Lines { first: u64, count: u64, body: Bytes },
}

/// All requests, in order; read as they are asked for.
pub(super) enum Source {
    File(Option<Post>),
    Lines(Lines),
    Generated(Generated),
}

impl Source {
    pub(super) fn open(args: &Args) -> anyhow::Result<Self> {
        let content_type = |default: &str| args.content_type.clone().unwrap_or_else(|| default.to_owned());
        if let Some(count) = args.generate {
            let content_type = content_type("application/json");
            return Ok(Self::Generated(Generated { next: 1, count, size: args.size, content_type }));
        }
        let mut reader = open(&args.file)?;
        if args.ndjson {
            return Ok(Self::Lines(Lines { reader, next: 1, over: None }));
        }
        let mut body = Vec::new();
        reader.read_to_end(&mut body).with_context(|| format!("cannot read {}", args.file.display()))?;
        let id = args.id.clone().unwrap_or_else(fresh);
        Ok(Self::File(Some(Post::Single {
            id,
            content_type: content_type("application/octet-stream"),
            body: body.into(),
        })))
    }

    /// How many messages there will be, where that is known before.
    pub(super) const fn messages(&self) -> Option<u64> {
        match self {
            Self::File(_) => Some(1),
            Self::Lines(_) => None,
            Self::Generated(generated) => Some(generated.count),
        }
    }
}

impl Iterator for Source {
    type Item = anyhow::Result<Post>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::File(post) => post.take().map(Ok),
            Self::Lines(lines) => lines.batch().transpose(),
            Self::Generated(generated) => generated.next().map(Ok),
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(stdin())));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn fresh() -> String {
    Uuid::new_v4().to_string()
}

/// Lines, in batches.
pub(super) struct Lines {
    reader: Box<dyn BufRead>,
    /// The number of the next line.
    next: u64,
    /// A line that did not fit into the batch before.
    over: Option<(u64, Vec<u8>)>,
}

impl Lines {
    #[cfg(test)]
    pub(super) fn of(text: &'static str) -> Self {
        Self { reader: Box::new(text.as_bytes()), next: 1, over: None }
    }

    pub(super) fn batch(&mut self) -> anyhow::Result<Option<Post>> {
        let (mut body, mut first, mut count) = (Vec::new(), 0, 0_usize);
        while let Some((number, line)) = self.line()? {
            if count == MAX_LINES || (count > 0 && body.len() + line.len() > MAX_BYTES) {
                self.over = Some((number, line));
                break;
            }
            if count == 0 {
                first = number;
            }
            body.extend(line);
            body.push(b'\n');
            count += 1;
        }
        let count = u64::try_from(count)?;
        Ok((count > 0).then(|| Post::Lines { first, count, body: body.into() }))
    }

    /// The next line that is not empty, with an id.
    fn line(&mut self) -> anyhow::Result<Option<(u64, Vec<u8>)>> {
        if let Some(over) = self.over.take() {
            return Ok(Some(over));
        }
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line).context("cannot read the lines")? == 0 {
                return Ok(None);
            }
            let number = self.next;
            self.next += 1;
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Ok(Some((number, with_id(line))));
            }
        }
    }
}

/// An item with an id, so that its batch can be repeated. The line itself is not written anew: numbers and escapes stay as
/// they are. What is no JSON goes as it is, for the app to say what is wrong with it.
fn with_id(line: &[u8]) -> Vec<u8> {
    let id = format!("{{\"id\":\"{}\",", fresh());
    match serde_json::from_slice(line) {
        Ok(Value::Object(members)) if members.contains_key("body") && members.contains_key("id") => line.to_owned(),
        Ok(Value::Object(members)) if members.contains_key("body") => {
            [id.as_bytes(), line.get(1..).unwrap_or_default()].concat()
        }
        Ok(_) => [id.as_bytes(), b"\"body\":", line, b"}"].concat(),
        Err(_) => line.to_owned(),
    }
}

/// Made-up messages: JSON with a number, filled up to a size.
pub(super) struct Generated {
    next: u64,
    count: u64,
    size: usize,
    content_type: String,
}

impl Iterator for Generated {
    type Item = Post;

    fn next(&mut self) -> Option<Post> {
        if self.next > self.count {
            return None;
        }
        let (head, tail) = (format!("{{\"number\":{},\"filling\":\"", self.next), "\"}");
        self.next += 1;
        let filling = self.size.saturating_sub(head.len() + tail.len());
        let body = format!("{head}{}{tail}", "x".repeat(filling));
        Some(Post::Single { id: fresh(), content_type: self.content_type.clone(), body: body.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gets_an_id_and_is_not_changed_otherwise() {
        let with = |line: &str| String::from_utf8(with_id(line.as_bytes())).unwrap();
        let id_of = |item: &str| serde_json::from_str::<Value>(item).unwrap()["id"].as_str().unwrap().len();
        for (line, end) in [
            ("{\"n\": 1.50}", ",\"body\":{\"n\": 1.50}}"),
            ("7", ",\"body\":7}"),
            ("{ \"body\": [1e3], \"key\": \"k\"}", ", \"body\": [1e3], \"key\": \"k\"}"),
        ] {
            let item = with(line);
            assert!(item.ends_with(end), "{item}");
            assert_eq!(id_of(&item), 36, "{item}");
        }
        for line in ["{\"id\":\"a\",\"body\":1}", "{not json", "\u{fffd}"] {
            assert_eq!(with(line), line);
        }
    }

    #[test]
    fn lines_are_counted_with_the_empty_ones_and_sent_without() {
        let mut lines = Lines::of("\n{\"id\":\"a\",\"body\":1}\r\n \n{\"id\":\"b\",\"body\":2}");
        let body = Bytes::from_static(b"{\"id\":\"a\",\"body\":1}\n{\"id\":\"b\",\"body\":2}\n");
        assert_eq!(lines.batch().unwrap(), Some(Post::Lines { first: 2, count: 2, body }));
        assert_eq!(lines.batch().unwrap(), None);
    }

    #[test]
    fn batches_are_cut_by_count_and_by_size_and_lose_no_line() {
        let cases =
            [("1\n".repeat(2 * MAX_LINES + 1), 3), (format!("\"{}\"\n", "x".repeat(MAX_BYTES / 2)).repeat(3), 3)];
        for (text, batches) in cases {
            let mut lines = Lines { reader: Box::new(std::io::Cursor::new(text.clone())), next: 1, over: None };
            let mut counts = Vec::new();
            while let Some(Post::Lines { first, count, .. }) = lines.batch().unwrap() {
                assert_eq!(first, counts.iter().sum::<u64>() + 1);
                counts.push(count);
            }
            assert_eq!(counts.len(), batches, "{counts:?}");
            assert_eq!(counts.iter().sum::<u64>(), u64::try_from(text.lines().count()).unwrap());
        }
    }

    #[test]
    fn made_up_messages_have_the_size_asked_for_and_ids_of_their_own() {
        let generated = Generated { next: 1, count: 3, size: 200, content_type: String::new() };
        let mut ids = std::collections::BTreeSet::new();
        for post in generated {
            let Post::Single { id, body, .. } = post else { panic!("a batch") };
            assert!(ids.insert(id));
            assert_eq!(body.len(), 200);
            assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
        assert_eq!(ids.len(), 3);
    }
}
