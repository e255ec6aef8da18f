//! ISO 8601 durations of days, hours, minutes and seconds, as descriptions of entities carry them.

use std::time::Duration;

/// Reads `P1DT2H3M4.5S`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (text.strip_prefix('P')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut add = |number: &str, unit_seconds: u32| -> Option<()> {
        let seconds = if unit_seconds == 1 {
            Duration::try_from_secs_f64(number.parse().ok()?).ok()?
        } else {
            Duration::from_secs(u64::from(number.parse::<u32>().ok()?) * u64::from(unit_seconds))
        };
        total = total.checked_add(seconds)?;
        Some(())
    };
    if !days.is_empty() {
        add(days.strip_suffix('D')?, 86_400)?;
    }
    let mut rest = time;
    for (unit, seconds) in [('H', 3600), ('M', 60), ('S', 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            add(number, seconds)?;
            rest = after;
        }
    }
    rest.is_empty().then_some(total)
}

/// Writes a duration as the service does: no weeks, no zero parts.
pub(crate) fn write(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let mut out = "P".to_owned();
    if seconds >= 86_400 {
        out.push_str(&format!("{}D", seconds / 86_400));
    }
    let parts = [(seconds / 3600 % 24, 'H'), (seconds / 60 % 60, 'M')];
    let mut time: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    let (rest, millis) = (seconds % 60, duration.subsec_millis());
    if rest > 0 || millis > 0 || (time.is_empty() && seconds < 86_400) {
        let fraction = if millis > 0 { format!(".{millis:03}") } else { String::new() };
        time.push_str(&format!("{rest}{}S", fraction.trim_end_matches('0')));
    }
    if !time.is_empty() {
        out.push('T');
        out.push_str(&time);
    }
    out
}

/// Longer than anybody waits: the service's "never" is 10,675,199 days.
pub(crate) fn is_for_ever(duration: Duration) -> bool {
    duration >= Duration::from_secs(10_675_199 * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for text in ["PT1M", "PT13S", "PT11M2S", "P25D", "P1DT2H3M", "PT0.5S", "PT0S", "P10675199DT2H48M5.477S"] {
            assert_eq!(parse(text).map(write).as_deref(), Some(text));
        }
        for text in ["", "P", "PT", "1M", "PT1", "PTM", "P1M", "PT1S1M", "PT-1S", "PTNaNS", "PT1e400S"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
