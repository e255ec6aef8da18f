//! Where identifiers come from: an injected source, so that the machines stay deterministic.

/// Draws 128 bits that were never drawn before.
pub trait IdSource: Send {
    /// The next identifier.
    fn next_id(&mut self) -> u128;
}

/// Identifiers that nobody can guess: what a running emulator uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next_id(&mut self) -> u128 {
        uuid::Uuid::new_v4().as_u128()
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
