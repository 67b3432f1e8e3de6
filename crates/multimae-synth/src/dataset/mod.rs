//! Many frames in a folder.

mod files;
mod manifest;
mod split;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;

use crate::{Error, Result, render};
use files::FOLDERS;
use manifest::Manifest;

/// The options of a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SynthOptions {
    /// Frames.
    pub count: usize,
    /// Names all random choices.
    pub seed: u64,
    /// (height, width) in pixels.
    pub size: (usize, usize),
    /// The share of the frames that is for validation, from 0 to 1.
    pub val_share: f64,
    /// Frames that are rendered at the same time; 0 means as many as there are processors. The
    /// files do not depend on it.
    pub threads: usize,
}

/// The summary of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Frames rendered and written now.
    pub written: usize,
    /// Frames that were there before.
    pub skipped: usize,
    /// Frames of the whole data set.
    pub count: usize,
    /// Whether all frames and lists exist. If not, `stop` was set: the same call resumes.
    pub complete: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, skipped, count, complete } = self;
        write!(f, "{written} rooms rendered, {skipped} were there before, {count} in all")?;
        if *complete { Ok(()) } else { f.write_str("; stopped: the same command resumes") }
    }
}

impl SynthOptions {
    fn check(&self) -> Result<()> {
        let problem = match self {
            Self { count: 0, .. } => "no frame is asked for".to_owned(),
            Self { size: (height, width), .. } if height.min(width) == &0 => {
                format!("a frame of {height} by {width} pixels has no pixel")
            }
            Self { val_share, .. } if !(0.0..=1.0).contains(val_share) => {
                format!("the share for validation is {val_share}, it must be from 0 to 1")
            }
            _ => return Ok(()),
        };
        Err(Error::Options(problem))
    }
}

/// Writes a data set: per frame `rgb/00000.png`, `depth/00000.png` (16 bits, millimetres),
/// `label40/00000.png` (NYUv2-40 ids) and `normal/00000.png` (`(n + 1) / 2 * 255`, camera
/// coordinates as in [`Frame`](crate::Frame)); then `train.txt` and `val.txt` with one frame name
/// per line; and before all of them `manifest.json`, which says what the files are.
///
/// Files are complete or absent. When `stop` is set, the frames at work are finished and the call
/// returns; the same call later resumes, and renders only the missing frames. `progress` gets the
/// frames done so far and the frames in all, in rising order, from the threads that render.
///
/// # Errors
/// If the options make no sense, if the folder holds rooms of other options or files of another
/// program, or if a file cannot be written.
pub fn write_dataset(
    dir: &Path,
    options: &SynthOptions,
    progress: impl Fn(usize, usize) + Sync,
    stop: &AtomicBool,
) -> Result<Summary> {
    options.check()?;
    Manifest::of(options).claim(dir)?;
    for folder in FOLDERS {
        fs::create_dir_all(dir.join(folder))?;
    }
    let missing: Vec<usize> =
        (0..options.count).filter(|&index| !files::is_complete(dir, index)).collect();
    let skipped = options.count - missing.len();
    progress(skipped, options.count);
    let report = |written| progress(skipped + written, options.count);
    let written = render_all(dir, options, &missing, &report, stop)?;
    let complete = written == missing.len();
    if complete {
        split::write_lists(dir, options)?;
    }
    Ok(Summary { written, skipped, count: options.count, complete })
}

/// Renders and writes the frames of these indices; returns how many were written.
fn render_all(
    dir: &Path,
    options: &SynthOptions,
    missing: &[usize],
    report: &(impl Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<usize> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let written = Mutex::new(0);
    let work = || -> Result<()> {
        while !stop.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
            let Some(&index) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let frame = render(options.seed, index as u64, options.size);
            if let Err(error) = files::write_frame(dir, index, &frame) {
                failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
            // Reported under the lock: the numbers rise.
            let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
            *written += 1;
            report(*written);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads(options, missing.len())).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others.into_iter().fold(mine, |result, other| {
            result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })?;
    Ok(written.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn threads(options: &SynthOptions, frames: usize) -> usize {
    let wanted = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    wanted.min(frames)
}
