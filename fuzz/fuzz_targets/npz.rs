//! NumPy's archives of arrays: the input is one array in an archive whose checksums are right, and
//! then the archive itself.

#![no_main]

use std::io::{Cursor, Write as _};

use multimae::weights::read_npz;
use multimae_fuzz::{WEIGHTS_BOUND, bounded, with_file};
use zip::CompressionMethod::Stored;
use zip::write::{SimpleFileOptions, ZipWriter};

fn archive(array: &[u8]) -> zip::result::ZipResult<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(Stored);
    writer.start_file("a.npy", options)?;
    writer.write_all(array)?;
    Ok(writer.finish()?.into_inner())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let wrapped = if data.starts_with(b"PK") { Ok(data.to_vec()) } else { archive(data) };
    let Ok(bytes) = wrapped else { return };
    with_file(&bytes, |path| bounded(WEIGHTS_BOUND, || drop(read_npz(path))));
});
