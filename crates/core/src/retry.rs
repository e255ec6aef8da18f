//! How long to wait before the next attempt: exponential, with full jitter.

use std::time::Duration;

/// The delay before attempt `failures + 1`: anywhere in (0, min(cap, base × 2^(failures - 1))], chosen by `draw`.
///
/// Full jitter (a draw over the whole interval) spreads a crowd that failed together. Never zero: the broker
/// schedules in whole seconds, and a copy without a delay would be an immediate one.
#[must_use]
pub fn full_jitter(failures: u32, base: Duration, cap: Duration, draw: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let ceiling = base.saturating_mul(1 << doublings).min(cap);
    let span = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(1 + draw % span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(2);
    const CAP: Duration = Duration::from_secs(300);

    #[test]
    fn the_interval_doubles_up_to_the_cap() {
        let longest = |failures| full_jitter(failures, BASE, CAP, (1 << 53) * 1_000 - 1);
        let draw_all = |failures, span: u64| full_jitter(failures, BASE, CAP, span - 1);
        assert_eq!(draw_all(1, 2_000), Duration::from_secs(2));
        assert_eq!(draw_all(2, 4_000), Duration::from_secs(4));
        assert_eq!(draw_all(9, 300_000), CAP);
        assert!(longest(u32::MAX) <= CAP);
    }

    #[test]
    fn the_smallest_draw_still_waits() {
        assert_eq!(full_jitter(1, BASE, CAP, 0), Duration::from_millis(1));
        assert_eq!(full_jitter(0, BASE, CAP, 0), Duration::from_millis(1));
    }
}
