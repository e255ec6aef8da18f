//! The settings of a queue, and the two inequalities that its times must keep.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::ConfigError;
use super::door::DoorConfig;
use super::reader::{Reader, default_number, expected, seconds};
use super::settings::{self, Setting};

/// How long a delivery may take from the moment the broker locks it to its claim, before the broker's lock is
/// renewed first. A decision, not a measurement: ten times the slowest round trip we expect.
pub(super) const RECEIVE_TO_CLAIM: Duration = Duration::from_secs(10);

/// What happens to the messages of a lock key behind one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnKeyFailure {
    /// They are processed.
    Continue,
    /// They wait until it is done or parked.
    Hold,
}

impl OnKeyFailure {
    /// As it is written in the document.
    const fn word(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Hold => "hold",
        }
    }
}

/// What becomes of the record of a message that is done and completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnDone {
    /// It is kept, and with it what is known of the message.
    Keep,
    /// It is deleted.
    Delete,
}

/// What becomes of a message that is larger than the broker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LargeBodies {
    /// It is refused.
    Refuse,
    /// Its body goes to a blob ([`crate::claim`]), if it has at most so many bytes.
    ClaimCheck {
        /// See [`settings::MAX_LARGE_BODY_BYTES`].
        max_bytes: usize,
    },
}

/// One queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueConfig {
    /// Its name, on Service Bus and in our URLs.
    pub name: String,
    /// See [`settings::GROUP`].
    pub group: String,
    /// See [`settings::POISON_QUEUE`].
    pub poison_queue: String,
    /// See [`settings::LOCK_DURATION`].
    pub lock_duration: Duration,
    /// See [`settings::MAX_DELIVERY_COUNT`].
    pub max_delivery_count: u32,
    /// See [`settings::CLAIM_TTL`].
    pub claim_ttl: Duration,
    /// See [`settings::CLAIM_MARGIN`].
    pub claim_margin: Duration,
    /// See [`settings::MAX_ATTEMPTS`].
    pub max_attempts: u32,
    /// See [`settings::RETRY_BASE`].
    pub retry_base: Duration,
    /// See [`settings::RETRY_CAP`].
    pub retry_cap: Duration,
    /// See [`settings::MAX_EXECUTION`].
    pub max_execution: Duration,
    /// See [`settings::BATCH`].
    pub batch: usize,
    /// See [`settings::GATHER`].
    pub gather: Duration,
    /// See [`settings::ON_KEY_FAILURE`].
    pub on_key_failure: OnKeyFailure,
    /// See [`settings::HOLD_LIMIT`].
    pub hold_limit: Duration,
    /// See [`settings::RELEASE`].
    pub on_done: OnDone,
    /// What a sender must say, and what becomes of a repetition.
    pub door: DoorConfig,
    /// See [`settings::LARGE_BODIES`].
    pub large_bodies: LargeBodies,
}

impl QueueConfig {
    /// How long one call of the processor may take, and how long a claim may be used: the ttl less the margin.
    #[must_use]
    pub fn working_time(&self) -> Duration {
        self.claim_ttl.saturating_sub(self.claim_margin)
    }

    /// The age from which what is in hand is renewed: two more tries fit in before a claim ends. No older may a broker's lock be when a call of
    /// the processor begins, in which nothing is renewed: it must last through the longest, and the renewal after that. It is 12 s at the
    /// least, since the lock is so much longer than a claim.
    #[must_use]
    pub fn renew_after(&self) -> Duration {
        let idle = self.lock_duration.saturating_sub(self.working_time()).saturating_sub(self.claim_margin);
        idle.min(self.claim_ttl / 3)
    }

    /// The age from which the broker's lock is renewed before the claim is made.
    #[must_use]
    pub fn renew_before_claim_after(&self) -> Duration {
        self.lock_duration.saturating_sub(self.claim_ttl).saturating_sub(self.claim_margin)
    }

    /// A crashed worker's message must come back to an expired claim, and the broker must not run out of
    /// deliveries before the work is done.
    fn check_times(&self) -> Result<(), ConfigError> {
        let needed = self.claim_ttl + self.claim_margin + RECEIVE_TO_CLAIM;
        if needed > self.lock_duration {
            return Err(ConfigError::new(
                format!("queues.{}.claim_ttl_seconds", self.name),
                format!(
                    "claim_ttl_seconds ({}) + claim_margin_seconds ({}) + {} s from receive to claim must fit into lock_duration_seconds ({})",
                    self.claim_ttl.as_secs(),
                    self.claim_margin.as_secs(),
                    RECEIVE_TO_CLAIM.as_secs(),
                    self.lock_duration.as_secs()
                ),
            ));
        }
        if self.claim_margin * 2 > self.claim_ttl {
            return Err(ConfigError::new(
                format!("queues.{}.claim_margin_seconds", self.name),
                format!(
                    "expected at most half of claim_ttl_seconds ({}), found {}",
                    self.claim_ttl.as_secs(),
                    self.claim_margin.as_secs()
                ),
            ));
        }
        if self.lock_duration * self.max_delivery_count < self.max_execution * 2 {
            return Err(ConfigError::new(
                format!("queues.{}.max_execution_seconds", self.name),
                format!(
                    "twice max_execution_seconds ({}) must fit into max_delivery_count ({}) × lock_duration_seconds ({})",
                    self.max_execution.as_secs(),
                    self.max_delivery_count,
                    self.lock_duration.as_secs()
                ),
            ));
        }
        Ok(())
    }
}

/// All queues of the document; `[defaults]` stands in for what a queue leaves out.
pub(super) fn parse_all(
    queues: Option<&Map<String, Value>>,
    defaults: Option<&Map<String, Value>>,
) -> Result<BTreeMap<String, QueueConfig>, ConfigError> {
    let mut parsed = BTreeMap::new();
    for (name, value) in queues.into_iter().flatten() {
        let Value::Object(table) = value else {
            return Err(ConfigError::new(format!("queues.{name}"), "expected a table"));
        };
        parsed.insert(name.clone(), parse_one(name, table, defaults)?);
    }
    if let Some(queue) =
        parsed.values().find(|queue| parsed.get(&queue.poison_queue).is_some_and(|other| other.group == queue.group))
    {
        // A poison copy would meet the parked record of its own message there, and be completed as known.
        let problem = format!("{:?} is a queue of the same group", queue.poison_queue);
        return Err(ConfigError::new(format!("queues.{}.poison_queue", queue.name), problem));
    }
    check_groups(&parsed)?;
    if parsed.is_empty() {
        return Err(ConfigError::new("queues", "expected at least one queue, as in [queues.orders]"));
    }
    Ok(parsed)
}

/// The lock of a key belongs to the group: one queue would overtake where another holds back.
fn check_groups(queues: &BTreeMap<String, QueueConfig>) -> Result<(), ConfigError> {
    let mut first_of = BTreeMap::new();
    for queue in queues.values() {
        let first: &QueueConfig = first_of.entry(&queue.group).or_insert(queue);
        if first.on_key_failure != queue.on_key_failure {
            let problem = format!(
                "expected `{}`, as queues.{} of the same group {:?} has it, found `{}`",
                first.on_key_failure.word(),
                first.name,
                queue.group,
                queue.on_key_failure.word()
            );
            return Err(ConfigError::new(format!("queues.{}.on_key_failure", queue.name), problem));
        }
    }
    Ok(())
}

fn parse_one(
    name: &str,
    table: &Map<String, Value>,
    defaults: Option<&Map<String, Value>>,
) -> Result<QueueConfig, ConfigError> {
    if !is_name(name) {
        return Err(ConfigError::new(
            format!("queues.{name}"),
            format!("expected {} as the name of a queue", expected(&settings::GROUP)),
        ));
    }
    let mut own = Reader::new(format!("queues.{name}"), Some(table));
    let mut common = Reader::new("defaults", defaults);
    let mut number = |setting: &Setting| -> Result<u64, ConfigError> {
        let fallback = common.number(setting)?;
        Ok(own.number(setting)?.or(fallback).unwrap_or_else(|| default_number(setting)))
    };
    let lock_duration = seconds(number(&settings::LOCK_DURATION)?);
    let max_delivery_count = count(number(&settings::MAX_DELIVERY_COUNT)?);
    let claim_ttl = seconds(number(&settings::CLAIM_TTL)?);
    let claim_margin = seconds(number(&settings::CLAIM_MARGIN)?);
    let max_attempts = count(number(&settings::MAX_ATTEMPTS)?);
    let retry_base = seconds(number(&settings::RETRY_BASE)?);
    let retry_cap = seconds(number(&settings::RETRY_CAP)?);
    let max_execution = seconds(number(&settings::MAX_EXECUTION)?);
    let batch = usize::try_from(number(&settings::BATCH)?).unwrap_or(usize::MAX);
    let gather = Duration::from_millis(number(&settings::GATHER)?);
    let hold_limit = seconds(number(&settings::HOLD_LIMIT)?);
    let max_large_body = usize::try_from(number(&settings::MAX_LARGE_BODY_BYTES)?).unwrap_or(usize::MAX);
    let large_bodies = match text(&mut own, &mut common, &settings::LARGE_BODIES)? {
        Some("claim-check") => LargeBodies::ClaimCheck { max_bytes: max_large_body },
        None | Some("refuse") => LargeBodies::Refuse,
        Some(other) => return Err(unexpected(name, &settings::LARGE_BODIES, other)),
    };
    let on_key_failure = match text(&mut own, &mut common, &settings::ON_KEY_FAILURE)? {
        Some("hold") => OnKeyFailure::Hold,
        None | Some("continue") => OnKeyFailure::Continue,
        Some(other) => return Err(unexpected(name, &settings::ON_KEY_FAILURE, other)),
    };
    let on_done = match text(&mut own, &mut common, &settings::RELEASE)? {
        Some("delete") => OnDone::Delete,
        None | Some("keep") => OnDone::Keep,
        Some(other) => return Err(unexpected(name, &settings::RELEASE, other)),
    };
    let door = DoorConfig::parse(&mut own, &mut common)?;
    let group = named(&mut own, &settings::GROUP, name, name)?;
    let poison_queue = named(&mut own, &settings::POISON_QUEUE, name, &format!("{name}.poison"))?;
    own.finish()?;
    common.finish()?;
    let queue = QueueConfig {
        name: name.to_owned(),
        group,
        poison_queue,
        lock_duration,
        max_delivery_count,
        claim_ttl,
        claim_margin,
        max_attempts,
        retry_base,
        retry_cap,
        max_execution,
        batch,
        gather,
        on_key_failure,
        hold_limit,
        on_done,
        door,
        large_bodies,
    };
    queue.check_times()?;
    Ok(queue)
}

fn named(own: &mut Reader<'_>, setting: &Setting, queue: &str, fallback: &str) -> Result<String, ConfigError> {
    let given = own.text(setting)?.unwrap_or(fallback);
    // What is made up out of a name, and a name out of the document, have the same rule but for the ending.
    if is_name(given.strip_suffix(".poison").unwrap_or(given)) {
        Ok(given.to_owned())
    } else {
        Err(unexpected(queue, setting, given))
    }
}

/// The queue's own text, or that of the defaults.
fn text<'a>(own: &mut Reader<'a>, common: &mut Reader<'a>, setting: &Setting) -> Result<Option<&'a str>, ConfigError> {
    let fallback = common.text(setting)?;
    Ok(own.text(setting)?.or(fallback))
}

fn unexpected(queue: &str, setting: &Setting, found: &str) -> ConfigError {
    let problem = format!("expected {}, found {found:?}", expected(setting));
    ConfigError::new(format!("queues.{queue}.{}", setting.key), problem)
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A name that Service Bus takes for an entity, that needs no escaping in a URL or in a blob's name, and that fits into both.
pub(super) fn is_name(name: &str) -> bool {
    (1..=50).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.ends_with(|last: char| last.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::{OnDone, OnKeyFailure};

    #[test]
    fn times_that_cannot_work_are_refused_with_the_numbers() {
        let error = |document: &str| Config::parse(document).unwrap_err().to_string();
        assert_eq!(
            error("[queues.a]\nclaim_ttl_seconds = 46"),
            "configuration: queues.a.claim_ttl_seconds: claim_ttl_seconds (46) + claim_margin_seconds (5) + 10 s from receive to claim must fit into lock_duration_seconds (60)"
        );
        assert_eq!(
            error("[queues.a]\nmax_delivery_count = 9"),
            "configuration: queues.a.max_execution_seconds: twice max_execution_seconds (300) must fit into max_delivery_count (9) × lock_duration_seconds (60)"
        );
        assert_eq!(
            error("[queues.a]\nclaim_ttl_seconds = 20\nclaim_margin_seconds = 11"),
            "configuration: queues.a.claim_margin_seconds: expected at most half of claim_ttl_seconds (20), found 11"
        );
    }

    #[test]
    fn a_lock_in_hand_lasts_through_the_longest_call() {
        let check = |lock: u64, ttl: u64, margin: u64| {
            let document = format!(
                "[queues.a]\nlock_duration_seconds = {lock}\nclaim_ttl_seconds = {ttl}\nclaim_margin_seconds = {margin}\nmax_execution_seconds = 1"
            );
            let queue = Config::parse(&document).unwrap().queues["a"].clone();
            let (renew_after, call) = (queue.renew_after(), queue.working_time());
            assert!(renew_after + call + queue.claim_margin <= queue.lock_duration, "{document}: {renew_after:?}");
            assert!(renew_after.as_secs() >= (ttl / 3).min(12), "{document}: {renew_after:?}");
            renew_after.as_secs()
        };
        for lock in (17..=300_u64).step_by(7) {
            for margin in [2_u64, 3, 5, 20, 60] {
                // From the shortest claim that such a margin allows to the longest that such a lock allows.
                for ttl in (5.max(2 * margin)..=285.min(lock.saturating_sub(margin + 10))).step_by(5) {
                    check(lock, ttl, margin);
                }
            }
        }
        assert_eq!((check(60, 45, 5), check(300, 285, 5)), (15, 15));
    }

    #[test]
    fn a_poison_queue_that_would_swallow_its_messages_is_refused() {
        let error = |document: &str| Config::parse(document).unwrap_err().to_string();
        assert_eq!(
            error("[queues.a]\npoison_queue = 'a'"),
            "configuration: queues.a.poison_queue: \"a\" is a queue of the same group"
        );
        assert!(Config::parse("[queues.a]\npoison_queue = 'b'\n[queues.b]").is_ok(), "another group");
        assert!(
            error("[queues.a]\npoison_queue = 'a b'").starts_with("configuration: queues.a.poison_queue: expected")
        );
    }

    #[test]
    fn queues_of_one_group_agree_on_what_a_failure_does_to_a_key() {
        let of = |a: &str, b: &str, group: &str| {
            let document = format!(
                "[queues.a]\ngroup = 'g'\non_key_failure = '{a}'\n[queues.b]\ngroup = '{group}'\non_key_failure = '{b}'"
            );
            Config::parse(&document).map_err(|error| error.to_string())
        };
        assert_eq!(
            of("hold", "continue", "g").unwrap_err(),
            "configuration: queues.b.on_key_failure: expected `hold`, as queues.a of the same group \"g\" has it, found `continue`"
        );
        assert!(of("hold", "hold", "g").is_ok() && of("hold", "continue", "other").is_ok());
    }

    #[test]
    fn a_word_that_is_none_of_the_choices_is_refused() {
        let error = |document: &str| Config::parse(document).unwrap_err().to_string();
        assert_eq!(
            error("[queues.a]\nrelease = 'forget'"),
            "configuration: queues.a.release: expected `keep` or `delete`, found \"forget\""
        );
        assert_eq!(
            error("[defaults]\non_key_failure = 'stop'\n[queues.a]"),
            "configuration: queues.a.on_key_failure: expected `continue` or `hold`, found \"stop\""
        );
        let config =
            Config::parse("[defaults]\non_key_failure = 'hold'\n[queues.a]\nrelease = 'delete'\n[queues.b]").unwrap();
        assert_eq!(
            (config.queues["a"].on_key_failure, config.queues["a"].on_done),
            (OnKeyFailure::Hold, OnDone::Delete)
        );
        assert_eq!((config.queues["b"].on_key_failure, config.queues["b"].on_done), (OnKeyFailure::Hold, OnDone::Keep));
    }

    #[test]
    fn names_that_need_escaping_are_refused() {
        for name in ["", "a/b", "a b", "-a", "a.", "ä"] {
            assert!(Config::parse(&format!("[queues.\"{name}\"]")).is_err(), "{name:?}");
        }
    }
}
