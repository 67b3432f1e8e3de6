//! A parquet table as it is: its columns, which rows have a value, every value, and a data set of it.

#![no_main]

use multimae_data::parquet::Table;
use multimae_data::{Dataset, Layout};
use multimae_fuzz::{allow_caught_panics, bounded, modalities, with_named_file};

/// Pages may be compressed a thousandfold.
const BOUND: usize = 256;

libfuzzer_sys::fuzz_target!(
    init: allow_caught_panics(),
    |data: &[u8]| with_named_file("input.parquet", data, |path| {
        bounded(BOUND, || {
            let Ok(table) = Table::open(&[path]) else { return };
            for column in 0..table.columns().len() {
                let _ = table.values(column);
            }
            for row in 0..table.rows().min(4) {
                let _ = table.row(row);
            }
            for modality in modalities() {
                let one = std::slice::from_ref(modality);
                let Ok(set) = Dataset::open(path, &Layout::Folders, one) else { continue };
                for index in 0..set.len().min(4) {
                    let _ = set.decode(index);
                }
                let _ = set.facts();
            }
        });
    })
);
