//! The time that a signature covers.

use std::time::Duration;

use crate::problem::{Kind, Problem};
use crate::time::UnixTime;

/// How far the time of a signature may be from ours: what Standard Webhooks, Stripe and Slack document, as 5 minutes.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Seconds since 1970 as providers write them: digits, nothing else.
pub(super) fn parse(text: &str) -> Option<UnixTime> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok().map(UnixTime)
    } else {
        None
    }
}

/// Checks that a signature is of now.
pub(super) fn check(signed: UnixTime, now: UnixTime, tolerance: Duration) -> Result<(), Problem> {
    if now.since(signed).max(signed.since(now)) <= tolerance {
        return Ok(());
    }
    let seconds = tolerance.as_secs();
    let detail = format!("the signature is right, but of a time more than {seconds} s before or after this service's");
    Err(Problem::new(Kind::StaleTimestamp, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_both_ways_are_now() {
        let now = UnixTime(1_795_174_201);
        for (signed, fresh) in [(0, false), (300, true), (301, false)] {
            for signed in [UnixTime(now.0 - signed), UnixTime(now.0 + signed)] {
                assert_eq!(check(signed, now, TOLERANCE).is_ok(), fresh || signed == now, "{signed:?}");
            }
        }
        for far in [0, u64::MAX] {
            assert_eq!(check(UnixTime(far), now, TOLERANCE).unwrap_err().kind, Kind::StaleTimestamp);
        }
    }

    #[test]
    fn a_time_is_digits() {
        assert_eq!(parse("1614265330"), Some(UnixTime(1_614_265_330)));
        for other in ["", "+1", "-1", "1.5", " 1", "99999999999999999999", "2026-11-20T11:30:01Z"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
