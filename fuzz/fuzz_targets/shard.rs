//! A tar whose header checksums are made right, as a data set: without them, nearly every input would
//! stop at the first header.

#![no_main]

use multimae_data::{Dataset, Layout};
use multimae_fuzz::{allow_caught_panics, bounded, modalities, scratch_dir};

const BLOCK: usize = 512;

/// The bytes with the checksum of every block that states one after the name of a file. Zeros stay the
/// mark of the end.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    // Archives end with two blocks of zeros.
    bytes.resize(bytes.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    for block in bytes.chunks_exact_mut(BLOCK) {
        // Contents have no `ustar` there.
        if &block[257..262] != b"ustar" {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

libfuzzer_sys::fuzz_target!(
    init: allow_caught_panics(),
    |data: &[u8]| {
        let dir = scratch_dir();
        let path = dir.join("input-0.tar");
        let _ = std::fs::remove_dir_all(&dir);
        let written = std::fs::create_dir_all(&dir)
            .and_then(|()| std::fs::write(&path, with_checksums(data)));
        if written.is_err() {
            return;
        }
        bounded(64, || {
            for modality in modalities() {
                let one = std::slice::from_ref(modality);
                // The second time by the index that the first one wrote.
                for _ in 0..2 {
                    let Ok(set) = Dataset::open(&path, &Layout::Folders, one) else { break };
                    for index in 0..set.len().min(4) {
                        let _ = set.decode(index);
                    }
                    let _ = set.facts();
                }
            }
        });
        let _ = std::fs::remove_dir_all(&dir);
    }
);
