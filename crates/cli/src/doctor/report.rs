//! What was checked, and what came of it.

use std::fmt;

use oncebus_core::time::{UnixTime, rfc3339};

/// How long before its end a credential is worth a word: time for somebody to renew it.
const ENDS_SOON_SECONDS: u64 = 7 * 24 * 60 * 60;

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, or could not be checked; somebody should look at it.
    Warn,
    /// The app will not work like this.
    Fail,
}

/// One check. Shows as the line that is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) level: Level,
    pub(super) name: String,
    pub(super) sentence: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        write!(f, "{level:<4} {}: {}", self.name, self.sentence)
    }
}

/// All checks so far; each is shown when it is made.
pub(super) struct Report {
    checks: Vec<Check>,
    show: fn(&Check),
}

impl Report {
    pub(super) const fn new(show: fn(&Check)) -> Self {
        Self { checks: Vec::new(), show }
    }

    pub(super) fn ok(&mut self, name: impl Into<String>, sentence: impl Into<String>) {
        self.add(Level::Ok, name.into(), sentence.into());
    }

    pub(super) fn warn(&mut self, name: impl Into<String>, sentence: impl Into<String>) {
        self.add(Level::Warn, name.into(), sentence.into());
    }

    pub(super) fn fail(&mut self, name: impl Into<String>, sentence: impl Into<String>) {
        self.add(Level::Fail, name.into(), sentence.into());
    }

    /// When a ready-made credential ends.
    pub(super) fn expiry(&mut self, name: &str, expires: UnixTime, now: UnixTime) {
        let at = rfc3339(expires);
        if expires <= now {
            self.fail(name, format!("ended at {at}: make a new one"));
        } else if expires.since(now).as_secs() < ENDS_SOON_SECONDS {
            self.warn(name, format!("ends soon, at {at}: make a new one before"));
        } else {
            self.ok(name, format!("ends at {at}"));
        }
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    pub(super) fn failures(&self) -> usize {
        self.checks.iter().filter(|check| check.level == Level::Fail).count()
    }

    fn add(&mut self, level: Level, name: String, sentence: String) {
        let check = Check { level, name, sentence };
        (self.show)(&check);
        self.checks.push(check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_an_end_is_told_in_time() {
        let mut report = Report::new(|_| ());
        let now = UnixTime(1_795_174_201);
        for seconds in [0, 60, ENDS_SOON_SECONDS] {
            report.expiry("sas", UnixTime(now.0 + seconds), now);
        }
        let lines: Vec<String> = report.checks().iter().map(Check::to_string).collect();
        assert_eq!(
            lines,
            [
                "FAIL sas: ended at 2026-11-20T11:30:01Z: make a new one",
                "warn sas: ends soon, at 2026-11-20T11:31:01Z: make a new one before",
                "ok   sas: ends at 2026-11-27T11:30:01Z",
            ]
        );
        assert_eq!(report.failures(), 1);
    }
}
