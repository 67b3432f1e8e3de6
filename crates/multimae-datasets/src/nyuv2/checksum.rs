//! MD5 of a file: how the published file is recognised.

use std::fmt::Write;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use md5::{Digest, Md5};

use super::Result;

/// The published `nyu_depth_v2_labeled.mat`.
pub(super) const PUBLISHED: (u64, &str) = (2_972_037_809, "520609c519fba3ba5ac58c8fefcc3530");

/// The digest of a file in hexadecimal digits; `None` if `stop` was set on the way. `progress` gets
/// the bytes read so far.
pub(super) fn of_file(
    path: &Path,
    progress: impl Fn(u64),
    stop: &AtomicBool,
) -> Result<Option<String>> {
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
    Ok(Some(digest.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })))
}
