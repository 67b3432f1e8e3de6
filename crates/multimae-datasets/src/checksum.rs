//! MD5 of a file, by which a published file is recognised.

use std::fmt::Write;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use md5::{Digest, Md5};

use crate::{PrepareRun, Progress, Result};

/// The digest of a large file in hexadecimal digits, with progress; `None` if the run is stopped
/// first.
pub(crate) fn of_source(path: &Path, run: &PrepareRun<'_>) -> Result<Option<String>> {
    let total = fs_err::metadata(path)?.len();
    of_file(path, |done| (run.progress)(Progress::Checksum { done, total }), run.stop)
}

/// The digest of a small file in hexadecimal digits; `None` if the run is stopped first.
pub(crate) fn of_option(path: &Path, run: &PrepareRun<'_>) -> Result<Option<String>> {
    of_file(path, |_| {}, run.stop)
}

fn of_file(path: &Path, progress: impl Fn(u64), stop: &AtomicBool) -> Result<Option<String>> {
    let mut file = fs_err::File::open(path)?;
    let (mut digest, mut buffer, mut done) = (Md5::new(), vec![0; 1 << 20], 0);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                digest.update(&buffer[..read]);
                done += read as u64;
                progress(done);
            }
        }
    }
    Ok(Some(hexadecimal(digest)))
}

/// The digest of bytes in hexadecimal digits.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    let mut digest = Md5::new();
    digest.update(bytes);
    hexadecimal(digest)
}

/// A digest in hexadecimal digits.
pub(crate) fn hexadecimal(digest: Md5) -> String {
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
