//! A pack whose checksums are right and whose index is the input: without them, nearly every input
//! would stop at the first check.

#![no_main]

use std::sync::atomic::AtomicBool;

use multimae_data::packed::Pack;
use multimae_data::{Dataset, Layout};
use multimae_fuzz::{bounded, modalities, with_file};

/// Zeros that frames can lie in.
const FRAMES: usize = 4096;
const HEADER: usize = 64;

libfuzzer_sys::fuzz_target!(|index: &[u8]| {
    let mut bytes = vec![0_u8; HEADER + FRAMES];
    bytes[..8].copy_from_slice(b"\x89MMP\r\n\x1a\n");
    bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
    bytes[12..20].copy_from_slice(&((HEADER + FRAMES) as u64).to_le_bytes());
    bytes[20..28].copy_from_slice(&(index.len() as u64).to_le_bytes());
    bytes[28..32].copy_from_slice(&crc32fast::hash(index).to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(index);
    with_file(&bytes, |path| {
        bounded(64, || {
            let Ok(pack) = Pack::open(path) else { return };
            let _ = pack.folders();
            let _ = pack.verify(|_, _| {}, &AtomicBool::new(false));
            for modality in modalities() {
                let one = std::slice::from_ref(modality);
                let Ok(set) = Dataset::open(path, &Layout::Folders, one) else { continue };
                for index in 0..set.len().min(4) {
                    let _ = set.decode(index);
                }
                let _ = set.facts();
            }
        });
    });
});
