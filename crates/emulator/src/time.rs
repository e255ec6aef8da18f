//! Points in time, and the two ways in which the services write them down.
//!
//! The machines know time only as a [`UnixMillis`] that is handed to them; nothing in this module
//! reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::fmt::rfc2822::DateTimeParser;
use serde::{Deserialize, Serialize};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Later than every point in time that an operation meets: "never".
    pub const NEVER: Self = Self(i64::MAX);

    /// This point moved into the future; a sum beyond the representable is [`Self::NEVER`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long from `now` until this point; zero when it is past.
    #[must_use]
    pub fn since(self, now: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// As an HTTP-date (`Tue, 05 Apr 2016 23:05:02 GMT`): the resolution is one second, cut, not rounded.
    #[must_use]
    pub fn http_date(self) -> String {
        // httpdate knows the years 1970 to 9999.
        let seconds = u64::try_from(self.seconds()).unwrap_or(0).min(253_402_300_799);
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// As `2021-10-21T05:18:51`, without a zone, as the service writes it into error details.
    #[must_use]
    pub fn iso_seconds(self) -> String {
        let days = self.0.div_euclid(MILLIS_PER_DAY);
        let second = self.0.rem_euclid(MILLIS_PER_DAY) / 1000;
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }

    /// Reads an HTTP-date.
    #[must_use]
    pub fn parse_http_date(text: &str) -> Option<Self> {
        httpdate::parse_http_date(text).ok().map(Self::from)
    }

    /// Reads a date as clients write them into properties: an HTTP-date, ISO 8601 with any offset (UTC when it has
    /// none), or RFC 2822 (`Fri, 6 Nov 2026 17:00:00 +0100`), in any case. A zone with a name must be UTC's.
    #[must_use]
    pub fn parse_date(text: &str) -> Option<Self> {
        let text = text.trim();
        let iso = || text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()));
        let mail = || {
            const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
            let zone = text.rsplit(' ').next()?;
            let is_utc = ["GMT", "UTC", "UT", "Z"].iter().any(|name| zone.eq_ignore_ascii_case(name));
            let is_known = is_utc || zone.starts_with(['+', '-']);
            PARSER.parse_timestamp(text).ok().filter(|_| is_known).map(|at| Self(at.as_millisecond()))
        };
        Self::parse_http_date(text).or_else(|| Self::parse_iso(text)).or_else(iso).or_else(mail)
    }

    /// Reads an ISO 8601 date as SAS tokens carry it: `2026-11-20`, `2026-11-20T10:00Z`,
    /// `2026-11-20T10:00:00Z`, `2026-11-20T10:00:00.1234567Z`. A missing zone means UTC; other zones
    /// than `Z` are refused.
    #[must_use]
    pub fn parse_iso(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z').unwrap_or(text);
        let (date, time) = text.split_once('T').unwrap_or((text, "00:00"));
        let mut date = date.split('-');
        let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
        if date.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let mut time = time.split(':');
        let (hour, minute) = (number(time.next()?, 2)?, number(time.next()?, 2)?);
        let (second, fraction) = match time.next() {
            None => (0, 0),
            Some(text) => match text.split_once('.') {
                None => (number(text, 2)?, 0),
                Some((second, fraction)) => (number(second, 2)?, fraction_millis(fraction)?),
            },
        };
        if time.next().is_some() || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds = (hour * 60 + minute) * 60 + second;
        Some(Self(days_from_civil(year, month, day) * MILLIS_PER_DAY + seconds * 1000 + fraction))
    }
}

impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        let millis = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |m| -m),
        };
        Self(millis)
    }
}

fn number(text: &str, digits: usize) -> Option<i64> {
    if text.len() != digits || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn fraction_millis(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded: String = text.chars().chain("00".chars()).take(3).collect();
    padded.parse().ok()
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, counted in eras of 400 years
/// that begin on the first of March, so that the leap day is the last day of a year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates_are_read_in_every_form_that_a_token_may_carry() {
        let midnight = UnixMillis(1_795_132_800_000);
        assert_eq!(UnixMillis::parse_iso("2026-11-20"), Some(midnight));
        assert_eq!(UnixMillis::parse_iso("2026-11-20T00:00Z"), Some(midnight));
        assert_eq!(UnixMillis::parse_iso("2026-11-20T00:00:00Z"), Some(midnight));
        assert_eq!(UnixMillis::parse_iso("2026-11-20T00:00:00.0250000Z"), Some(UnixMillis(midnight.0 + 25)));
        for bad in ["", "2026", "2026-13-01", "2026-11-20T25:00Z", "2026-11-20T00:00:00+01:00", "26-11-20"] {
            assert_eq!(UnixMillis::parse_iso(bad), None, "{bad}");
        }
    }

    #[test]
    fn properties_may_carry_dates_as_real_clients_write_them() {
        let five = UnixMillis(1_795_194_000_000);
        for text in [
            "Fri, 20 Nov 2026 17:00:00 GMT",
            "fri, 20 nov 2026 17:00:00 gmt",
            "Fri, 20 Nov 2026 17:00:00 UTC",
            "Fri, 20 Nov 2026 17:00:00 +0000",
            "Fri, 20 Nov 2026 18:30:00 +0130",
            "20 Nov 2026 17:00:00 GMT",
            "2026-11-20T17:00:00+00:00",
            "2026-11-20T12:00:00.000-05:00",
            "2026-11-20t17:00:00z",
            "2026-11-20 17:00:00Z",
            "2026-11-20T17:00:00",
            " 2026-11-20T17:00Z ",
        ] {
            assert_eq!(UnixMillis::parse_date(text), Some(five), "{text}");
        }
        let sixth = UnixMillis(five.0 - 14 * MILLIS_PER_DAY);
        assert_eq!(UnixMillis::parse_date("Fri, 6 Nov 2026 17:00:00 GMT"), Some(sixth));
        for bad in ["", "soon", "17:00", "1795194000", "Fri, 20 Nov 2026 17:00:00 CET", "Fri, 31 Feb 2026 17:00:00 GMT"]
        {
            assert_eq!(UnixMillis::parse_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn iso_text_and_the_calendar_agree() {
        for text in ["1970-01-01T00:00:00", "2000-02-29T23:59:59", "2021-10-21T05:18:51", "2100-03-01T12:00:00"] {
            let parsed = UnixMillis::parse_iso(text).map(UnixMillis::iso_seconds);
            assert_eq!(parsed.as_deref(), Some(text));
        }
    }

    #[test]
    fn http_dates_cut_the_fraction() {
        assert_eq!(UnixMillis(1_459_897_502_999).http_date(), "Tue, 05 Apr 2016 23:05:02 GMT");
        assert_eq!(UnixMillis::parse_http_date("Tue, 05 Apr 2016 23:05:02 GMT"), Some(UnixMillis(1_459_897_502_000)));
    }
}
