//! Which letters.

use std::time::Duration;

use super::letter::Letter;
use crate::operator::duration;

/// Which letters: those that pass every filter that is given.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Filters {
    /// Those of this message; repeatable.
    #[arg(long = "id", value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// The one with this sequence number; repeatable.
    #[arg(long = "sequence", value_name = "NUMBER")]
    pub(super) sequences: Vec<i64>,
    /// Those with this reason: rejected, max-attempts, payload-mismatch, MaxDeliveryCountExceeded, …
    #[arg(long, value_name = "CODE")]
    pub(super) reason: Option<String>,
    /// Those that came from this queue.
    #[arg(long, value_name = "NAME")]
    pub(super) source_queue: Option<String>,
    /// Those that have been there longer than this: 14d, 36h, 90s.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) older_than: Option<Duration>,
    /// Those with this value of a property; repeatable.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) properties: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Filters {
    /// Whether every letter passes.
    pub(super) const fn is_empty(&self) -> bool {
        let Self { ids, sequences, reason, source_queue, older_than, properties } = self;
        ids.is_empty()
            && sequences.is_empty()
            && reason.is_none()
            && source_queue.is_none()
            && older_than.is_none()
            && properties.is_empty()
    }

    pub(super) fn pass(&self, letter: &Letter<'_>) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
        };
        let has = |(name, value): &(String, String)| {
            letter.0.properties.get(name).is_some_and(|found| found.to_string() == *value)
        };
        (self.ids.is_empty() || self.ids.iter().any(|id| id == letter.id()))
            && (self.sequences.is_empty() || self.sequences.contains(&letter.0.lock.sequence_number))
            && same(&self.reason, letter.reason())
            && same(&self.source_queue, letter.source_queue())
            && self.older_than.is_none_or(|limit| letter.age().is_some_and(|age| age > limit))
            && self.properties.iter().all(has)
    }
}
