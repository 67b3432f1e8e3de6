//! Shards whose bytes were changed at random, with right header checksums, so that what is behind these
//! is reached: an error or other values, never a panic.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Dataset, Layout, fixture, modalities};

const BLOCK: usize = 512;
const MUTATIONS: u64 = 150;

/// Puts the right checksum into every header.
fn mend_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Changes some bytes, most of them in headers, and cuts every fourth archive.
fn mutated(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..8) {
        let block = BLOCK * rng.random_range(0..bytes.len() / BLOCK);
        // Name, size, type, and the rest of a header alike.
        let within = [0..100, 124..136, 156..157, 0..BLOCK][rng.random_range(0..4)].clone();
        bytes[block + rng.random_range(within)] = match rng.random_range(0..3) {
            0 => rng.random(),
            1 => b'0' + rng.random_range(0..8_u8),
            _ => b'.',
        };
    }
    mend_checksums(&mut bytes);
    if rng.random_range(0..4) == 0 {
        bytes.truncate(rng.random_range(0..bytes.len()));
    }
    bytes
}

#[test]
fn changed_shards_are_errors_or_other_samples_and_never_a_panic() {
    let (mut opened, mut refused) = (0, 0);
    for name in ["webdataset/train-000000.tar", "python_pax.tar", "python_gnu.tar"] {
        let whole = fs_err::read(fixture(name)).unwrap();
        for seed in 0..MUTATIONS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("input-0.tar");
            fs_err::write(&path, mutated(&whole, seed)).unwrap();
            let Ok(data) = Dataset::open(&path, &Layout::Folders, &modalities()) else {
                refused += 1;
                continue;
            };
            opened += 1;
            let first: Vec<bool> = (0..data.len()).map(|at| data.decode(at).is_ok()).collect();
            // The same by the index.
            let again = Dataset::open(&path, &Layout::Folders, &modalities()).unwrap();
            let second: Vec<bool> = (0..again.len()).map(|at| again.decode(at).is_ok()).collect();
            assert_eq!(first, second, "{name}, seed {seed}");
            assert_eq!(data.facts().unwrap(), again.facts().unwrap(), "{name}, seed {seed}");
        }
    }
    // Both ways are reached.
    assert!(opened > 20 && refused > 20, "{opened} opened, {refused} refused");
}
