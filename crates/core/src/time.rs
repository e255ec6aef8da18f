//! Points in time, as data. Nothing here reads a clock.
//!
//! Two clocks matter, and they never mix: [`UnixTime`] is what a *server* said (`Date`, `Last-Modified`,
//! `EnqueuedTimeUtc`), with the 1 s resolution of an HTTP date; [`Instant`] is our own monotonic clock, which
//! only measures how long something took. A client's wall clock decides nothing but when to sign a token, and whether what
//! somebody else has signed is too old.

use std::time::Duration;

/// Seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// This many whole seconds later; fractions are rounded up, so that nothing is due too early.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_seconds_up(duration)))
    }
}

/// A reading of the monotonic clock: the time since an arbitrary start that is the same for a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub Duration);

impl Instant {
    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long until `later`; zero if it is past.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        later.since(self)
    }
}

/// Whole seconds, rounded up.
#[must_use]
pub fn whole_seconds_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// The time as RFC 3339 in UTC, `2026-11-20T13:00:00Z`. For people and for answers to clients.
#[must_use]
pub fn rfc3339(time: UnixTime) -> String {
    let second = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Reads RFC 3339 with any offset, such as `2026-11-20T13:00:00.5+01:00`; fractions are rounded up, so that nothing is due too early. `None`
/// for anything else, and for what lies before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<UnixTime> {
    whole_up(text.parse().ok()?)
}

/// Reads an HTTP-date such as `Fri, 20 Nov 2026 13:00:00 GMT`. `None` for anything else, and for what lies before 1970.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<UnixTime> {
    text.strip_suffix(" GMT")?;
    whole_up(jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?)
}

fn whole_up(time: jiff::Timestamp) -> Option<UnixTime> {
    // Half a second before 1970 has 0 whole ones.
    let seconds = (time >= jiff::Timestamp::UNIX_EPOCH).then(|| u64::try_from(time.as_second()).ok())??;
    Some(UnixTime(seconds.saturating_add(u64::from(time.subsec_nanosecond() > 0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_two_forms_and_none_lies_before_1970() {
        let noon = Some(UnixTime(1_795_174_201));
        assert_eq!(parse_rfc3339("2026-11-20T12:30:00.25+01:00"), noon);
        assert_eq!(parse_http_date("Fri, 20 Nov 2026 11:30:01 GMT"), noon);
        for wrong in ["1969-12-31T23:59:59.5Z", "2026-11-20", "Fri, 20 Nov 2026 11:30:01 +0100"] {
            assert_eq!((parse_rfc3339(wrong), parse_http_date(wrong)), (None, None), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_shown_in_utc_and_no_time_is_too_late_to_show() {
        assert_eq!(rfc3339(UnixTime(1_795_174_201)), "2026-11-20T11:30:01Z");
        assert_eq!(rfc3339(UnixTime(u64::MAX)).get(..4), Some("9999"));
    }

    #[test]
    fn fractions_of_a_second_are_rounded_up() {
        assert_eq!(UnixTime(10).plus(Duration::from_millis(1)), UnixTime(11));
        assert_eq!(whole_seconds_up(Duration::from_secs(2)), 2);
    }
}
