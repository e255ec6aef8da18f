//! How long a worker pauses after runs in vain.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
/// Long enough to be no load on a service that is down, short enough that nobody waits for a pump to notice.
const LONGEST: Duration = Duration::from_secs(30);

/// The pause after the `in_vain`-th run in a row that did nothing: doubled each time, half of it by chance.
///
/// Half is always waited, unlike with full jitter: workers that draw small would poll an idle queue in a hot loop.
pub(super) fn pause(in_vain: u32, draw: u64) -> Duration {
    let doublings = in_vain.saturating_sub(1).min(16);
    let ceiling = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let half = ceiling / 2;
    let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    half + Duration::from_millis(draw % span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_cap_and_half_of_it_is_always_waited() {
        let shortest: Vec<u128> = (1..=8).map(|n| pause(n, 0).as_millis()).collect();
        assert_eq!(shortest, [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
        assert_eq!(pause(1, 250).as_millis(), 500);
        assert_eq!(pause(1, 251).as_millis(), 250);
        assert_eq!(pause(u32::MAX, 15_000), LONGEST);
    }
}
