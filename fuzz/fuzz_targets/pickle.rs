//! The pickle of a checkpoint: the input lies in an archive whose checksums are right, beside two
//! storages.

#![no_main]

use std::io::{Cursor, Write as _};

use multimae::weights::read_pth;
use multimae_fuzz::{WEIGHTS_BOUND, bounded, with_file};
use zip::CompressionMethod::Stored;
use zip::write::{SimpleFileOptions, ZipWriter};

fn archive(pickle: &[u8]) -> zip::result::ZipResult<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(Stored);
    let entries: [(&str, &[u8]); 5] = [
        ("archive/data.pkl", pickle),
        ("archive/byteorder", b"little"),
        ("archive/data/0", &[7; 64]),
        ("archive/data/1", &[9; 24]),
        ("archive/version", b"3\n"),
    ];
    for (name, bytes) in entries {
        writer.start_file(name, options)?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(bytes) = archive(data) else { return };
    with_file(&bytes, |path| bounded(WEIGHTS_BOUND, || drop(read_pth(path))));
});
