//! The items of a body: lines as they arrive, an array once it is whole.

use bytes::{Bytes, BytesMut};
use oncebus_core::ingest::batch::lines::{Line, Splitter};
use oncebus_core::ingest::batch::{BadItem, Form, Item, elements, read, too_many};
use oncebus_core::ingest::entry::too_large;
use oncebus_core::problem::Problem;

use crate::body::broken_off;

/// Bounds of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most items.
    pub items: usize,
    /// The most bytes of the body.
    pub bytes: usize,
    /// The most bytes of one item, in a body of which an item is held at a time.
    pub item_bytes: usize,
}

/// Gives items. [`take`](Self::take) it what is read of the body, then [`next_item`](Self::next_item) until there is none.
#[derive(Debug)]
pub struct Source {
    form: Form,
    limits: Limits,
    /// What `Content-Length` says.
    declared: Option<u64>,
    read: usize,
    items: usize,
    at_end: bool,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Lines(Splitter),
    Arriving(BytesMut),
    Elements(std::vec::IntoIter<Bytes>),
    /// Nothing more comes.
    Nothing,
}

impl Source {
    /// For a body of this form.
    ///
    /// # Errors
    /// It is declared to be too large.
    pub fn open(form: Form, limits: Limits, declared: Option<u64>) -> Result<Self, Problem> {
        let length = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if let Some(length) = length.filter(|length| *length > limits.bytes) {
            return Err(too_large(Some(length), limits.bytes, "the body"));
        }
        let held = match form {
            Form::Lines => Held::Lines(Splitter::new(limits.item_bytes)),
            // As large as it is said to be: a buffer that grows is there twice while it does.
            Form::Array | Form::Events => Held::Arriving(BytesMut::with_capacity(length.unwrap_or_default())),
        };
        Ok(Self { form, limits, declared, read: 0, items: 0, at_end: false, held })
    }

    /// Whether nothing more is to be read.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Takes what was read; nothing is the end.
    ///
    /// # Errors
    /// The body broke off, is too large, or is no array. Nothing more comes then.
    pub fn take<E>(&mut self, read: Option<Result<Vec<u8>, E>>) -> Result<(), Problem> {
        let taken = match read {
            Some(Ok(bytes)) => self.push(&bytes),
            Some(Err(_)) => Err(broken_off()),
            None => self.end(),
        };
        taken.map_err(|problem| self.fail(problem))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.read = self.read.saturating_add(bytes.len());
        if self.read > self.limits.bytes {
            return Err(too_large(None, self.limits.bytes, "the body"));
        }
        match &mut self.held {
            Held::Lines(splitter) => splitter.push(bytes),
            Held::Arriving(buffer) => buffer.extend_from_slice(bytes),
            Held::Elements(_) | Held::Nothing => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        self.at_end = true;
        if self.declared.is_some_and(|length| usize::try_from(length) != Ok(self.read)) {
            return Err(broken_off());
        }
        if let Held::Arriving(buffer) = &mut self.held {
            let body = std::mem::take(buffer).freeze();
            self.held = Held::Elements(elements(&body, self.limits.items)?.into_iter());
        }
        Ok(())
    }

    /// The next line: the last one ends with the body.
    fn next_line(splitter: &mut Splitter, at_end: bool) -> Option<Line> {
        splitter.next_line().or_else(|| if at_end { splitter.end() } else { None })
    }

    fn fail(&mut self, problem: Problem) -> Problem {
        self.at_end = true;
        self.held = Held::Nothing;
        problem
    }

    /// The next item that is there. `id` makes up an id where it has none.
    ///
    /// # Errors
    /// There are more than there may be. Nothing more comes then.
    pub fn next_item(&mut self, id: impl FnOnce() -> String) -> Result<Option<Item>, Problem> {
        let item = match &mut self.held {
            Held::Lines(splitter) => Self::next_line(splitter, self.at_end),
            Held::Elements(elements) => elements.next().map(Line::Whole),
            Held::Arriving(_) | Held::Nothing => None,
        };
        let Some(item) = item else { return Ok(None) };
        if self.items >= self.limits.items {
            return Err(self.fail(too_many(self.limits.items)));
        }
        self.items += 1;
        Ok(Some(match item {
            Line::Whole(item) => read(self.form, &item, id),
            Line::TooLong => Err(BadItem::from(too_large(None, self.limits.item_bytes, "a line"))),
        }))
    }
}

#[cfg(test)]
mod tests {
    use oncebus_core::problem::Kind;

    use super::*;

    const LIMITS: Limits = Limits { items: 3, bytes: 30, item_bytes: 10 };

    /// Bodies of what was read, and how it ended.
    fn read_all(form: Form, chunks: &[Result<&str, ()>], declared: Option<u64>) -> (Vec<String>, Option<Kind>) {
        let mut source = Source::open(form, LIMITS, declared).unwrap();
        let mut items = Vec::new();
        let mut chunks = chunks.iter();
        loop {
            loop {
                match source.next_item(|| "id".to_owned()) {
                    Ok(Some(Ok(entry))) => items.push(String::from_utf8(entry.message.body.to_vec()).unwrap()),
                    Ok(Some(Err(bad))) => items.push(format!("{}", bad.problem.kind.status())),
                    Ok(None) => break,
                    Err(problem) => return (items, Some(problem.kind)),
                }
            }
            if source.is_at_end() {
                return (items, None);
            }
            let read = chunks.next().map(|chunk| chunk.map(|text| text.as_bytes().to_vec()));
            if let Err(problem) = source.take(read) {
                return (items, Some(problem.kind));
            }
        }
    }

    #[test]
    fn lines_are_there_as_they_arrive() {
        let chunks = [Ok("1\n\n2"), Ok("3\n{\n")];
        assert_eq!(read_all(Form::Lines, &chunks, None), (vec!["1".into(), "23".into(), "400".into()], None));
        assert_eq!(read_all(Form::Lines, &[Ok("1")], Some(1)), (vec!["1".into()], None));
        assert_eq!(read_all(Form::Lines, &[Ok("12345678901\n2")], None), (vec!["413".into(), "2".into()], None));
    }

    #[test]
    fn the_last_line_of_a_body_that_broke_off_is_no_item() {
        let malformed = Some(Kind::Malformed);
        assert_eq!(read_all(Form::Lines, &[Ok("1\n2"), Err(())], None), (vec!["1".into()], malformed));
        assert_eq!(read_all(Form::Lines, &[Ok("1\n2")], Some(4)), (vec!["1".into()], malformed));
        assert_eq!(read_all(Form::Array, &[Ok("[1]")], Some(4)), (vec![], malformed));
    }

    #[test]
    fn too_much_is_too_much_wherever_the_pieces_end() {
        let too_large = Some(Kind::TooLarge);
        let three: Vec<String> = ["1", "2", "3"].map(str::to_owned).into();
        for chunks in [vec![Ok("1\n2\n3\n4")], vec![Ok("1\n2\n3\n"), Ok("4")], vec![Ok("1\n2\n3"), Ok("\n4\n")]] {
            assert_eq!(read_all(Form::Lines, &chunks, None), (three.clone(), too_large));
        }
        assert_eq!(read_all(Form::Lines, &[Ok("1\n2\n3\n\n")], None), (three, None));
        assert_eq!(read_all(Form::Array, &[Ok("[1,2,3,4]")], None), (vec![], too_large));
        assert_eq!(read_all(Form::Lines, &[Ok("1\n"), Ok(&" ".repeat(29))], None), (vec!["1".into()], too_large));
        assert!(Source::open(Form::Lines, LIMITS, Some(31)).is_err());
    }
}
