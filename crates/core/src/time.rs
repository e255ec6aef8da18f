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
///
/// By hand, for the library's parser reads so much more that it makes up a tenth of a component.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<UnixTime> {
    let (date, rest) = text.split_at_checked("2026-11-20T".len())?;
    let (time, rest) = rest.split_at_checked("13:00:00".len())?;
    let [year, month, day] = fields(date.strip_suffix(['T', 't'])?, '-')?;
    let [hour, minute, second] = fields(time, ':')?;
    let (fraction, offset) = rest.split_at_checked(rest.find(['Z', 'z', '+', '-'])?)?;
    let more = match fraction.strip_prefix('.') {
        None if fraction.is_empty() => false,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.bytes().any(|byte| byte != b'0')
        }
        _ => return None,
    };
    let small = |number: i16| i8::try_from(number).ok();
    let date = jiff::civil::Date::new(year, small(month)?, small(day)?).ok()?;
    let time = jiff::civil::Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()?;
    let time = parse_offset(offset)?.to_timestamp(date.to_datetime(time)).ok()?;
    let seconds = u64::try_from(time.as_second()).ok()?;
    Some(UnixTime(seconds.saturating_add(u64::from(more))))
}

/// `Z`, or a sign, hours and minutes.
fn parse_offset(text: &str) -> Option<jiff::tz::Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(jiff::tz::Offset::UTC);
    }
    let (sign, hours_and_minutes) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        (_, rest) => (-1, rest),
    };
    let (hours, minutes) = hours_and_minutes.split_once(':')?;
    let [hours, minutes] =
        [two_digits(hours).filter(|hours| *hours < 24)?, two_digits(minutes).filter(|minutes| *minutes < 60)?];
    jiff::tz::Offset::from_seconds(sign * (i32::from(hours) * 3_600 + i32::from(minutes) * 60)).ok()
}

/// Three numbers, of as many digits as they must have.
fn fields(text: &str, separator: char) -> Option<[i16; 3]> {
    let mut parts = text.split(separator);
    let first = parts.next()?;
    let first = if separator == '-' { digits(first, 4) } else { two_digits(first) };
    let fields = [first?, two_digits(parts.next()?)?, two_digits(parts.next()?)?];
    parts.next().is_none().then_some(fields)
}

fn two_digits(text: &str) -> Option<i16> {
    digits(text, 2)
}

fn digits(text: &str, width: usize) -> Option<i16> {
    (text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Reads an HTTP-date such as `Fri, 20 Nov 2026 13:00:00 GMT`. `None` for anything else, and for what lies before 1970.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<UnixTime> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(UnixTime(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_two_forms_and_none_lies_before_1970() {
        let noon = Some(UnixTime(1_795_174_201));
        assert_eq!(parse_rfc3339("2026-11-20T12:30:00.25+01:00"), noon);
        assert_eq!(parse_http_date("Fri, 20 Nov 2026 11:30:01 GMT"), noon);
        assert_eq!(parse_rfc3339("2026-11-20t11:30:01.000z"), noon);
        assert_eq!(parse_rfc3339("2026-11-19T12:00:01-23:30"), noon);
        for wrong in [
            "1969-12-31T23:59:59.5Z",
            "2026-11-20",
            "2026-11-20T11:30:01",
            "2026-11-20T11:30Z",
            "2026-11-31T11:30:01Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T11:30:01.Z",
            "2026-11-20T11:30:01,5Z",
            "2026-11-20T11:30:01+1:00",
            "2026-11-20T11:30:01+01:60",
            "2026-11-20T11:30:01+24:00",
            "2026-11-20T11:30:01Z ",
            "+026-11-20T11:30:01Z",
            "2026-11-2äT11:30:01Z",
            "Fri, 20 Nov 2026 11:30:01 +0100",
        ] {
            assert_eq!((parse_rfc3339(wrong), parse_http_date(wrong)), (None, None), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_is_read_again(seconds in 0..253_402_300_799_u64, any in "\\PC{0,30}") {
            proptest::prop_assert_eq!(parse_rfc3339(&rfc3339(UnixTime(seconds))), Some(UnixTime(seconds)));
            let _ = parse_rfc3339(&any);
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
