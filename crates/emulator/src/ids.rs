//! Where identifiers come from: an injected source, so that the machines stay deterministic.

/// Draws 128 bits that were never drawn before.
pub trait IdSource: Send {
    /// The next identifier.
    fn next_id(&mut self) -> u128;
}

/// Identifiers that nobody can guess: what a running emulator uses.
///
/// They are cut from a supply of random bytes, because asking the system for each of them costs more
/// than everything else that a queue does with a message. Each byte is used once: so no `Clone`.
pub struct RandomIds {
    supply: [u8; Self::SUPPLY],
    used: usize,
}

impl RandomIds {
    const ID: usize = 16;
    const SUPPLY: usize = 64 * Self::ID;
}

impl Default for RandomIds {
    fn default() -> Self {
        Self { supply: [0; Self::SUPPLY], used: Self::SUPPLY }
    }
}

impl IdSource for RandomIds {
    fn next_id(&mut self) -> u128 {
        if self.used + Self::ID > Self::SUPPLY && getrandom::fill(&mut self.supply).is_ok() {
            self.used = 0;
        }
        match self.supply.get(self.used..).and_then(|rest| rest.first_chunk()) {
            Some(random) => {
                self.used += Self::ID;
                uuid::Builder::from_random_bytes(*random).into_uuid().as_u128()
            }
            // The system gave nothing. If that was all, this ends the program: there is no other source.
            None => uuid::Uuid::new_v4().as_u128(),
        }
    }
}

/// Nothing of what is to come shows.
impl std::fmt::Debug for RandomIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RandomIds").finish_non_exhaustive()
    }
}

/// 1, 2, 3, …: for tests that compare whole answers.
#[derive(Debug, Clone, Default)]
pub struct CountingIds(u128);

impl IdSource for CountingIds {
    fn next_id(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

/// A small seeded generator (SplitMix64) for decisions that must replay exactly, such as faults that
/// strike with a probability. Not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// True with the given probability between 0 and 1.
    pub(crate) fn strikes(&mut self, probability: f64) -> bool {
        // The upper 32 bits are exact in a double.
        let high = u32::try_from(self.roll() >> 32).unwrap_or(u32::MAX);
        f64::from(high) < probability * 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identifiers_are_random_uuids_and_never_repeat() {
        let mut ids = RandomIds::default();
        let drawn: HashSet<u128> = (0..1000).map(|_| ids.next_id()).collect();
        assert_eq!(drawn.len(), 1000);
        assert!(drawn.iter().all(|id| uuid::Uuid::from_u128(*id).get_version_num() == 4));
    }
}
