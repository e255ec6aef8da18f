//! A small random generator with a seed: the same seed gives the same demo and the same chaos. Not for secrets.

/// `SplitMix64` (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`; 0 for a bound of 0. The bias of the remainder does not matter here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// A draw that depends on what it is about and on nothing that was drawn before: whoever asks first gets the same.
    pub(crate) fn about(&self, what: &str, ordinal: u64) -> Self {
        let mut own = Self(self.0 ^ ordinal.wrapping_mul(0xd6e8_feb8_6659_fd93));
        for byte in what.bytes() {
            own.0 = own.next() ^ u64::from(byte);
        }
        own
    }

    /// True in so many of 10,000 cases.
    pub(crate) fn happens(&mut self, of_ten_thousand: u32) -> bool {
        self.next() % 10_000 < u64::from(of_ten_thousand)
    }

    /// Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator's published first values for the seed 1234567.
    #[test]
    fn the_values_are_those_of_splitmix64() {
        let mut rng = Rng(1_234_567);
        assert_eq!([rng.next(), rng.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn a_draw_about_something_depends_on_that_alone() {
        let (seven, mut moved) = (Rng(7), Rng(7));
        assert_eq!(seven.about("claim a", 3).next(), seven.about("claim a", 3).next());
        let drawn = [("claim a", 3), ("claim a", 4), ("claim b", 3)].map(|(what, n)| seven.about(what, n).next());
        assert!(drawn[0] != drawn[1] && drawn[0] != drawn[2]);
        moved.next();
        assert_ne!(moved.about("claim a", 3).next(), drawn[0], "another seed, another draw");
        let struck = (0..10_000).filter(|&n| seven.about("x", n).happens(200)).count();
        assert!((150..250).contains(&struck), "{struck} of 10,000 at 2 %");
    }
}
