//! Tables whose bytes were changed at random, most of them in the footer: an error or other values, never
//! a panic.

use multimae_data::parquet::Table;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::fixture;

const MUTATIONS: u64 = 200;

/// Changes some bytes in the footer or anywhere; every eighth table loses bytes in the middle.
fn mutated(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = whole.to_vec();
    let len = bytes.len();
    let footer = u32::from_le_bytes(bytes[len - 8..len - 4].try_into().unwrap()) as usize;
    let in_footer = rng.random_range(0..3) > 0;
    let within = if in_footer { len - 8 - footer..len - 8 } else { 4..len };
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(within.clone());
        bytes[at] =
            if rng.random() { rng.random() } else { bytes[at] ^ (1 << rng.random_range(0..8)) };
    }
    if rng.random_range(0..8) == 0 {
        let from = rng.random_range(4..len - 8 - footer);
        let lost = rng.random_range(1..=(len - 8 - footer - from).min(64));
        bytes.drain(from..from + lost);
    }
    bytes
}

#[test]
fn changed_tables_are_errors_or_other_values_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let (mut opened, mut refused) = (0, 0);
    for name in [
        "none.parquet",
        "snappy.parquet",
        "zstd.parquet",
        "odd.parquet",
        "hub/data/val-00000-of-00001.parquet",
    ] {
        let whole = fs_err::read(fixture(name)).unwrap();
        for seed in 0..MUTATIONS {
            fs_err::write(&path, mutated(&whole, seed)).unwrap();
            let Ok(table) = Table::open(&[&path]) else {
                refused += 1;
                continue;
            };
            opened += 1;
            for column in 0..table.columns().len() {
                let _ = table.values(column);
            }
            for row in 0..table.rows().min(8) {
                let _ = table.row(row);
            }
        }
    }
    assert!(opened > 50 && refused > 50, "{opened} opened, {refused} refused");
}
