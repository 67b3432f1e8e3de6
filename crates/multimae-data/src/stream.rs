//! Named random streams.
//!
//! Every random choice comes from a stream of its own, named by the seed of the run, the purpose of
//! the choice, the epoch and the sample. A sample of an epoch thus depends on nothing else: not on
//! the number of threads, not on where a run was interrupted.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The random stream of `purpose` for the sample `index` in `epoch`.
///
/// The four parts are the key of the ChaCha8 generator, as little-endian words of 64 bits in this
/// order, the purpose as its FNV-1a hash. Different keys of a stream cipher give unrelated
/// streams, so no further mixing is needed, and different parts never share a key (apart from
/// purposes of equal hash). The rule is fixed: changing it would change every run.
#[must_use]
pub fn stream(seed: u64, purpose: &str, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, fnv1a(purpose.as_bytes()), epoch, index];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo).
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET_BASIS, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    fn first(seed: u64, purpose: &str, epoch: u64, index: u64) -> u64 {
        stream(seed, purpose, epoch, index).next_u64()
    }

    #[test]
    fn every_part_names_another_stream() {
        let base = first(1, "augment", 2, 3);
        assert_eq!(base, first(1, "augment", 2, 3));
        assert_ne!(base, first(2, "augment", 2, 3));
        assert_ne!(base, first(1, "order", 2, 3));
        assert_ne!(base, first(1, "augment", 3, 3));
        assert_ne!(base, first(1, "augment", 2, 4));
        assert_ne!(first(1, "augment", 2, 3), first(1, "augment", 3, 2));
    }

    /// These values hold for ever: another value would change every run.
    #[test]
    fn streams_stay_as_they_are() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        let values: Vec<u64> = [stream(0, "", 0, 0), stream(1, "augment", 2, 3)]
            .iter_mut()
            .flat_map(|rng| [rng.next_u64(), rng.next_u64()])
            .collect();
        assert_eq!(
            values,
            [
                1_363_016_631_820_581_037,
                14_391_209_067_083_586_303,
                605_914_294_661_574_675,
                3_614_678_516_180_767_926,
            ]
        );
    }
}
