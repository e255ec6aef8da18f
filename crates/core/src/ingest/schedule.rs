//! When a message is to be delivered, and how long it lives: `Oncebus-Delay`, `Oncebus-Deliver-At`, `Oncebus-TTL`.
//!
//! **The broker's clock decides.** REST knows no relative delay: a scheduled message carries the time at which the broker makes
//! it visible. What that time is for a delay depends on whose clock is asked, and ours may be wrong by an hour. So the
//! broker is asked first, for the `Date` of any answer: one request more, for messages with a delay or a time alone.
//! It also says whether a time is past (then the message goes at once) or too far ahead.
//!
//! Delays are whole seconds, as all of HTTP has them (`Retry-After`, `max-age`); a time is an HTTP-date or RFC 3339. A message may be
//! delayed for [`LONGEST_DELAY`]: records are kept for that, and a message that comes back to a record that was swept runs
//! twice.
//!
//! The lifetime counts from when the message becomes visible, and the queue's own limit shortens it without a word. It is that of the message as it was
//! sent: a copy that is made for a retry lives as long as the queue lets it.

use std::time::Duration;

use super::head::Head;
use crate::problem::{Kind, Problem};
use crate::record::retention::LONGEST_RETRY;
use crate::time::{UnixTime, parse_http_date, parse_rfc3339};

/// The header with a delay in seconds.
pub const DELAY: &str = "oncebus-delay";
/// The header with a time.
pub const DELIVER_AT: &str = "oncebus-deliver-at";
/// The header with a lifetime in seconds.
pub const TTL: &str = "oncebus-ttl";

/// The longest delay: what records are kept for, as for a retry that a processor asks for.
pub const LONGEST_DELAY: Duration = LONGEST_RETRY;

/// The longest lifetime: that of records.
pub const LONGEST_TTL: Duration = Duration::from_secs(14 * 24 * 3_600);

/// When a message is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long after now, by the broker's clock; not zero.
    After(Duration),
    /// Then, by the broker's clock.
    At(UnixTime),
}

/// What the head of a request says of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule {
    /// When the message is to be delivered; `None`: at once.
    pub when: Option<When>,
    /// How long it lives once it is visible; `None`: as long as the queue says.
    pub time_to_live: Option<Duration>,
}

impl Schedule {
    /// Reads the three headers.
    ///
    /// # Errors
    /// One of them cannot be read or is out of bounds, or a delay and a time are both there.
    pub fn of(head: &Head) -> Result<Self, Problem> {
        let delay = seconds(head, DELAY, Duration::ZERO, LONGEST_DELAY)?;
        let at = head.one(DELIVER_AT)?.map(|text| time(text).ok_or_else(unreadable)).transpose()?;
        let when = match (delay, at) {
            (Some(_), Some(_)) => {
                return Err(invalid(DELAY, &format!("stands beside {DELIVER_AT}: give one of the two")));
            }
            (Some(delay), None) => (!delay.is_zero()).then_some(When::After(delay)),
            (None, at) => at.map(When::At),
        };
        let time_to_live = seconds(head, TTL, Duration::from_secs(1), LONGEST_TTL)?;
        Ok(Self { when, time_to_live })
    }
}

impl When {
    /// The time to schedule a message for, when it is `now` by the broker's clock; `None`: it goes at once.
    ///
    /// # Errors
    /// It is too far ahead.
    pub fn by(self, now: UnixTime) -> Result<Option<UnixTime>, Problem> {
        match self {
            Self::After(delay) => Ok(Some(now.plus(delay))),
            Self::At(time) if time <= now => Ok(None),
            Self::At(time) if time.since(now) > LONGEST_DELAY => {
                let days = LONGEST_DELAY.as_secs() / 86_400;
                Err(invalid(DELIVER_AT, &format!("is more than {days} days ahead")))
            }
            Self::At(time) => Ok(Some(time)),
        }
    }
}

fn seconds(head: &Head, name: &str, least: Duration, most: Duration) -> Result<Option<Duration>, Problem> {
    let Some(text) = head.one(name)? else { return Ok(None) };
    // `parse` alone would take a plus sign.
    let number =
        Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
    match number.map(Duration::from_secs) {
        Some(duration) if (least..=most).contains(&duration) => Ok(Some(duration)),
        _ => Err(invalid(name, &format!("must be whole seconds from {} to {}", least.as_secs(), most.as_secs()))),
    }
}

/// An HTTP-date has a comma or spaces, RFC 3339 neither.
fn time(text: &str) -> Option<UnixTime> {
    if text.contains([',', ' ']) { parse_http_date(text) } else { parse_rfc3339(text) }
}

fn unreadable() -> Problem {
    invalid(DELIVER_AT, "must be an HTTP-date or RFC 3339, as in 2026-11-20T11:30:01Z")
}

fn invalid(name: &str, what: &str) -> Problem {
    Problem::new(Kind::InvalidHeader, format!("the header {name} {what}")).with("header", name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_174_201);

    fn schedule(headers: &[(&str, &str)]) -> Result<Schedule, Problem> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Schedule::of(&Head { headers, ..Head::default() })
    }

    fn when(name: &str, value: &str) -> Result<Option<When>, Kind> {
        schedule(&[(name, value)]).map(|schedule| schedule.when).map_err(|problem| problem.kind)
    }

    #[test]
    fn a_delay_is_whole_seconds_and_a_time_has_two_forms() {
        assert_eq!(when("Oncebus-Delay", "90"), Ok(Some(When::After(Duration::from_secs(90)))));
        assert_eq!(when("oncebus-delay", "604800"), Ok(Some(When::After(LONGEST_DELAY))));
        assert_eq!(when("oncebus-delay", "0"), Ok(None));
        for at in [
            "Fri, 20 Nov 2026 11:30:01 GMT",
            "2026-11-20T11:30:01Z",
            "2026-11-20T12:30:01+01:00",
            "2026-11-20T11:30:00.5Z",
        ] {
            assert_eq!(when("oncebus-deliver-at", at), Ok(Some(When::At(NOW))), "{at}");
        }
        assert_eq!(schedule(&[]), Ok(Schedule::default()));
    }

    #[test]
    fn what_cannot_be_read_or_is_out_of_bounds_is_refused() {
        for (name, value) in [
            ("oncebus-delay", ""),
            ("oncebus-delay", "-1"),
            ("oncebus-delay", "+1"),
            ("oncebus-delay", "1.5"),
            ("oncebus-delay", "PT5M"),
            ("oncebus-delay", "604801"),
            ("oncebus-delay", "99999999999999999999"),
            ("oncebus-ttl", "0"),
            ("oncebus-ttl", "1209601"),
            ("oncebus-deliver-at", ""),
            ("oncebus-deliver-at", "tomorrow"),
            ("oncebus-deliver-at", "2026-11-20T11:30:01"),
            ("oncebus-deliver-at", "1795174201"),
            ("oncebus-deliver-at", "Fri, 32 Nov 2026 11:30:01 GMT"),
            ("oncebus-deliver-at", "1969-12-31T23:59:59Z"),
        ] {
            let problem = schedule(&[(name, value)]).unwrap_err();
            assert_eq!((problem.kind, &problem.extensions["header"]), (Kind::InvalidHeader, &name.into()), "{value}");
        }
        let both = schedule(&[("oncebus-delay", "1"), ("oncebus-deliver-at", "2026-11-20T11:30:01Z")]).unwrap_err();
        assert_eq!(both.detail, "the header oncebus-delay stands beside oncebus-deliver-at: give one of the two");
        let twice = schedule(&[("oncebus-ttl", "1"), ("oncebus-ttl", "1")]).unwrap_err();
        assert_eq!(twice.kind, Kind::InvalidHeader);
    }

    #[test]
    fn the_brokers_clock_decides() {
        assert_eq!(When::After(Duration::from_secs(9)).by(NOW), Ok(Some(UnixTime(NOW.0 + 9))));
        assert_eq!(When::At(NOW).by(NOW), Ok(None));
        assert_eq!(When::At(UnixTime(0)).by(NOW), Ok(None));
        let latest = UnixTime(NOW.0 + 604_800);
        assert_eq!(When::At(latest).by(NOW), Ok(Some(latest)));
        let problem = When::At(UnixTime(latest.0 + 1)).by(NOW).unwrap_err();
        assert_eq!(problem.detail, "the header oncebus-deliver-at is more than 7 days ahead");
    }

    proptest! {
        #[test]
        fn no_value_panics_or_escapes_its_bounds(delay in "\\PC{0,30}", at in "\\PC{0,40}", ttl in "[0-9]{0,12}") {
            for (name, value) in [(DELAY, &delay), (DELIVER_AT, &at), (TTL, &ttl)] {
                if let Ok(Schedule { when, time_to_live }) = schedule(&[(name, value)]) {
                    if let Some(When::After(delay)) = when {
                        prop_assert!(delay <= LONGEST_DELAY);
                    }
                    prop_assert!(time_to_live.is_none_or(|ttl| (1..=1_209_600).contains(&ttl.as_secs())));
                }
            }
        }
    }
}
