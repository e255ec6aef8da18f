//! Lines out of a body that is still arriving.
//!
//! What has arrived is held until its line is whole, and no longer. A line that is too long is passed over to its end and told apart,
//! so a sender that never ends its line costs no more memory than one that does.

use bytes::{Bytes, BytesMut};

/// A line that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// As it stands, without the line break.
    Whole(Bytes),
    /// Longer than it may be.
    TooLong,
}

/// Takes a body apart into lines, as it arrives.
///
/// [`push`](Self::push) what has arrived, then [`next_line`](Self::next_line) until there is none; at the body's end
/// [`end`](Self::end), for a last line without a line break.
#[derive(Debug)]
pub struct Splitter {
    buffer: BytesMut,
    /// So many bytes of it have no line break.
    searched: usize,
    limit: usize,
    /// In the middle of a line that is too long.
    skipping: bool,
}

impl Splitter {
    /// For lines of at most so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, limit, skipping: false }
    }

    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line that is not blank.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| *byte == b'\n').map(|at| self.searched + at) else {
                self.searched = self.buffer.len();
                if self.searched > self.limit {
                    self.skipping = true;
                    self.buffer.clear();
                    self.searched = 0;
                }
                return None;
            };
            let line = self.buffer.split_to(length + 1).freeze().slice(..length);
            self.searched = 0;
            if let Some(line) = self.judge(line) {
                return Some(line);
            }
        }
    }

    /// The last line, at the end of the body.
    pub fn end(&mut self) -> Option<Line> {
        let rest = self.buffer.split().freeze();
        self.searched = 0;
        self.judge(rest)
    }

    fn judge(&mut self, line: Bytes) -> Option<Line> {
        if std::mem::take(&mut self.skipping) || line.len() > self.limit {
            return Some(Line::TooLong);
        }
        (!line.trim_ascii().is_empty()).then_some(Line::Whole(line))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]], limit: usize) -> Vec<Line> {
        let mut splitter = Splitter::new(limit);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            lines.extend(std::iter::from_fn(|| splitter.next_line()));
            assert!(splitter.buffer.len() <= limit.max(chunk.len()), "no more is held than a line");
        }
        lines.extend(splitter.end());
        lines
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_line_may_arrive_in_pieces_and_the_last_needs_no_break() {
        assert_eq!(lines(&[b"{\"a\"", b":1}\r\n\n  \n7", b"8"], 20), [whole("{\"a\":1}\r"), whole("78")]);
        assert_eq!(lines(&[b"", b"\n"], 20), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_to_its_end() {
        assert_eq!(lines(&[b"aaaa", b"aaaa", b"aa\nb\n"], 5), [Line::TooLong, whole("b")]);
        assert_eq!(lines(&[b"aaaaaa"], 5), [Line::TooLong]);
        assert_eq!(lines(&[b"aaaaa\naaaaaa\n"], 5), [whole("aaaaa"), Line::TooLong]);
    }

    proptest! {
        #[test]
        fn however_it_arrives_the_lines_are_the_same(body in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), any::<u8>()], 0..80), cuts in prop::collection::vec(0usize..80, 0..6), limit in 1usize..12) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).chain([0, body.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&chunks, limit), lines(&[&body], limit));
        }
    }
}
