//! Rendezvous hashing with whole weights: which of several queues a key belongs to.
//!
//! Each queue draws as many tickets for a key as it has weight, each ticket a number made of the key, the queue's name and the ticket's
//! place; the highest ticket wins. The tickets of a queue depend on no other queue. So a queue that is added only takes
//! what its own tickets win, one that is removed only gives up what its own had won, and one that gets more weight only gains.
//!
//! Whole tickets, and not the usual logarithm of one: the same bits come out of every machine, in a component and outside of one.
//!
//! The key's digest has a prefix of its own. Records and lock keys are named by the plain SHA-256 of id and key; two levels that are spread by one
//! hash would meet again in the same few places.

use sha2::{Digest, Sha256};

use super::choice::Candidate;

const DOMAIN: &[u8] = b"oncebus:routing:1\0";
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The highest ticket of each candidate, in their order.
pub(super) fn scores<'a>(key: &str, candidates: impl IntoIterator<Item = &'a Candidate>) -> Vec<u64> {
    let key = digest(key);
    let score = |candidate: &Candidate| {
        let queue = digest(&candidate.queue);
        let ticket = |place: u32| {
            let own = queue.wrapping_add(u64::from(place).wrapping_add(1).wrapping_mul(GOLDEN));
            mix(key ^ mix(own))
        };
        (0..candidate.weight).map(ticket).max().unwrap_or_default()
    };
    candidates.into_iter().map(score).collect()
}

fn digest(text: &str) -> u64 {
    let digest = Sha256::new().chain_update(DOMAIN).chain_update(text).finalize();
    digest.iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): each bit of what goes in
/// changes half of the bits that come out.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These decide where messages are: another value moves them.
    #[test]
    fn the_scores_are_the_same_for_ever() {
        let of = |queue: &str, weight| Candidate { queue: queue.to_owned(), weight };
        assert_eq!(scores("customer-1", &[of("a", 1), of("b", 1), of("b", 5)]), EXPECTED);
        assert_eq!(mix(GOLDEN), 0xe220_a839_7b1d_cdaf, "the first output of SplitMix64 from the seed 0");
    }

    /// By an implementation of its own, in another language.
    const EXPECTED: [u64; 3] = [0x16a5_fc88_caa1_1979, 0xc14f_2ce4_a8aa_e153, 0xf10c_57d2_6031_b028];
}
