//! Dates as the two services write them: RFC 1123 in headers and broker properties, ISO 8601 in a SAS.

use std::time::{Duration, SystemTime};

use oncebus_core::time::UnixTime;

/// The last second that both formats can express: 9999-12-31T23:59:59Z.
const LAST: u64 = 253_402_300_799;
const SECONDS_PER_DAY: u64 = 86_400;

/// `Sun, 06 Nov 1994 08:49:37 GMT`. What lies beyond the year 9999 is written as its last second.
pub(crate) fn to_http_date(time: UnixTime) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.0.min(LAST)))
}

/// Reads an HTTP-date; `None` for anything else and for what lies before 1970.
pub(crate) fn from_http_date(text: &str) -> Option<UnixTime> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(UnixTime(since.as_secs()))
}

/// `2026-01-02T03:04:05Z`.
pub(crate) fn to_iso8601(time: UnixTime) -> String {
    let seconds = time.0.min(LAST);
    let (year, month, day) = civil_from_days(seconds / SECONDS_PER_DAY);
    let second_of_day = seconds % SECONDS_PER_DAY;
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads the forms that a SAS may carry: a day, a minute, a second, with or without a fraction; UTC only.
pub(crate) fn from_iso8601(text: &str) -> Option<UnixTime> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00"),
    };
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    let second = match time.next() {
        Some(second) => match second.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|b| b.is_ascii_digit()) => digits(whole, 2)?,
            Some(_) => return None,
            None => digits(second, 2)?,
        },
        None => 0,
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_from_civil(year, month, day)?;
    Some(UnixTime(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second))
}

fn digits(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days in the years before `year`, counted from the year 0 of the proleptic Gregorian calendar.
fn days_before_year(year: u64) -> u64 {
    // The leap years below `year`; the year 0 is one of them.
    let leaps = year.div_ceil(4) - year.div_ceil(100) + year.div_ceil(400);
    year * 365 + leaps
}

fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day)
    {
        return None;
    }
    let before_month: u64 = (1..month).map(|earlier| days_in_month(year, earlier)).sum();
    Some(days_before_year(year) - days_before_year(1970) + before_month + day - 1)
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + days_before_year(1970);
    // 146,097 days are 400 years: the estimate is off by one at most.
    let mut year = days * 400 / 146_097;
    if days_before_year(year + 1) <= days {
        year += 1;
    }
    if days_before_year(year) > days {
        year -= 1;
    }
    let mut rest = days - days_before_year(year);
    let mut month = 1;
    while rest >= days_in_month(year, month) {
        rest -= days_in_month(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates_agree_with_http_dates() {
        // Every 11 days and some seconds from 1970 to 9999: each day of the month and each leap rule is met.
        for seconds in (0..LAST).step_by(11 * 86_400 + 3_607) {
            let time = UnixTime(seconds);
            let iso = to_iso8601(time);
            assert_eq!(from_iso8601(&iso), Some(time), "{iso}");
            let http = to_http_date(time);
            assert_eq!(from_http_date(&http), Some(time), "{http}");
            assert_eq!(iso[8..10], http[5..7], "day of {iso} and {http}");
            assert_eq!(iso[0..4], http[12..16], "year of {iso} and {http}");
        }
    }

    #[test]
    fn known_instants() {
        assert_eq!(to_iso8601(UnixTime(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(to_iso8601(UnixTime(u64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(to_http_date(UnixTime(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(to_http_date(UnixTime(u64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn a_sas_may_leave_out_what_it_does_not_need() {
        let midnight = Some(UnixTime(1_767_312_000));
        for text in ["2026-01-02", "2026-01-02T00:00Z", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00.0000000Z"] {
            assert_eq!(from_iso8601(text), midnight, "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-01-02T00:00:00",
            "2026-01-02T24:00Z",
            "2026-01-0１",
            "1969-12-31",
        ] {
            assert_eq!(from_iso8601(text), None, "{text}");
        }
    }
}
