//! Says an outage once, whoever notices it.

use oncebus_core::time::Instant;

/// Whether a queue's runs fail, and since when.
#[derive(Debug, Default)]
pub(super) struct Outage(Option<Failing>);

#[derive(Debug)]
struct Failing {
    class: String,
    since: Instant,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// An outage begins, or goes on for another reason.
    Begins,
    /// It is over.
    Ends,
    /// Nothing new.
    Nothing,
}

impl Outage {
    /// A run failed in this way.
    pub(super) fn failed(&mut self, class: String, now: Instant) -> Word {
        match &mut self.0 {
            Some(failing) if failing.class == class => Word::Nothing,
            Some(failing) => {
                failing.class = class;
                Word::Begins
            }
            None => {
                self.0 = Some(Failing { class, since: now });
                Word::Begins
            }
        }
    }

    /// A run that began then did its work. One that began before the outage says nothing about it.
    pub(super) fn worked(&mut self, began: Instant) -> Word {
        match self.0.take_if(|failing| began > failing.since) {
            Some(_) => Word::Ends,
            None => Word::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn an_outage_is_said_once_and_its_end_once() {
        let mut outage = Outage::default();
        assert_eq!(outage.worked(at(0)), Word::Nothing);
        assert_eq!(outage.failed("connection".to_owned(), at(5)), Word::Begins);
        assert_eq!(outage.failed("connection".to_owned(), at(6)), Word::Nothing);
        assert_eq!(outage.failed("status 503".to_owned(), at(7)), Word::Begins);
        assert_eq!(outage.worked(at(4)), Word::Nothing, "it began before the outage");
        assert_eq!(outage.worked(at(8)), Word::Ends);
        assert_eq!(outage.worked(at(9)), Word::Nothing);
    }
}
