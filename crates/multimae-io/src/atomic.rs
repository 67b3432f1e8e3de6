//! Files that are either the old ones or the new ones, whenever a process is killed.
//!
//! A file is written under a temporary name beside its place, brought to the disk, and renamed into
//! its place.

use std::io::{Error, ErrorKind, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;

/// The suffix of temporary files.
const SUFFIX: &str = ".part";

/// Distinguishes the temporary files of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Writes a file so that readers and crashes see the old content or the new one, never a part.
///
/// The temporary file `.<name>.<pid>.<n>.part` lies in the same directory. When this returns, the
/// content and the directory entry are on the disk.
///
/// # Errors
/// If the file cannot be written; the message names the path. The old file is then untouched and
/// the temporary file is gone.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// A file that is written piece by piece and appears when it is complete, as with
/// [`write_atomically`]. Dropped without [`commit`](Self::commit), it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    /// `None` when it is closed.
    file: Option<fs::File>,
    part: PathBuf,
    path: PathBuf,
}

impl AtomicFile {
    /// Begins a temporary file beside `path`.
    ///
    /// # Errors
    /// If it cannot be created; the message names the path.
    pub fn create(path: &Path) -> Result<Self> {
        let (file, part) = create_part(path)?;
        Ok(Self { file: Some(file), part, path: path.to_owned() })
    }

    /// Brings the content to the disk and the file into its place.
    ///
    /// # Errors
    /// If it cannot be written; the message names the path. An old file is then untouched.
    pub fn commit(mut self) -> Result<()> {
        self.file()?.sync_all()?;
        // Closed first: not every system renames open files.
        self.file = None;
        if let Err(error) = fs::rename(&self.part, &self.path) {
            // The first error is the one to report.
            let _ = fs::remove_file(&self.part);
            return Err(error);
        }
        sync_directory(directory_of(&self.path))
    }

    /// Brings the file into its place without waiting for the disk. When the power fails, the file may
    /// be there and lack content: for files that are made again from a source which tells their size.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_later(mut self) -> Result<()> {
        self.file()?.flush()?;
        self.file = None;
        fs::rename(&self.part, &self.path).inspect_err(|_| {
            let _ = fs::remove_file(&self.part);
        })
    }

    fn file(&mut self) -> Result<&mut fs::File> {
        self.file.as_mut().ok_or_else(|| Error::other("the file is complete"))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.file()?.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.file()?.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // The caller that gave up reports the error.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// Removes the temporary files that killed processes left in a directory; returns how many.
///
/// Files of processes that still run stay, as far as the system tells (Linux). Call it before this
/// process writes into the directory: left-over files that carry this process's own number are
/// taken to be those of an earlier process, as happens in containers.
///
/// # Errors
/// If the directory cannot be read or a file cannot be removed; the message names the path.
pub fn remove_stale_parts(dir: &Path) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(owner_of_part) else { continue };
        let alive = pid != std::process::id() && Path::new("/proc").join(pid.to_string()).exists();
        if !alive && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Creates a temporary file beside `path` that no other writer has.
fn create_part(path: &Path) -> Result<(fs::File, PathBuf)> {
    let Some(name) = path.file_name() else {
        let problem = format!("{}: this path has no file name", path.display());
        return Err(Error::new(ErrorKind::InvalidInput, problem));
    };
    let pid = std::process::id();
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".{}.{pid}.{count}{SUFFIX}", name.to_string_lossy());
        let part = directory_of(path).join(name);
        match fs::OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(file) => return Ok((file, part)),
            // Left over by a killed process that had the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// The process that a temporary file's name tells of.
fn owner_of_part(name: &str) -> Option<u32> {
    let stem = name.strip_prefix('.')?.strip_suffix(SUFFIX)?;
    let (stem, count) = stem.rsplit_once('.')?;
    let (_, pid) = stem.rsplit_once('.')?;
    count.parse::<u64>().ok()?;
    pid.parse().ok()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a rename last. Only Unix opens directories as files.
fn sync_directory(directory: &Path) -> Result<()> {
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a.json"]);
    }

    #[test]
    fn failure_leaves_the_old_state() {
        let dir = tempfile::tempdir().unwrap();
        // A file cannot be renamed onto a directory.
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"old").unwrap();
        let error = write_atomically(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(names(dir.path()), ["taken"]);
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"old");

        let missing = dir.path().join("missing").join("a.json");
        let error = write_atomically(&missing, b"new").unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        assert!(write_atomically(Path::new("/"), b"new").is_err());
    }

    #[test]
    fn a_file_in_pieces_appears_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"0123").unwrap();
        file.seek(SeekFrom::Start(1)).unwrap();
        file.write_all(b"--").unwrap();
        assert!(!path.exists());
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0--3");
        let mut given_up = AtomicFile::create(&path).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read(&path).unwrap(), b"0--3");
        assert_eq!(names(dir.path()), ["a.bin"]);
    }

    #[test]
    fn leftovers_of_the_same_process_number_do_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let next = COUNTER.load(Ordering::Relaxed);
        for count in next..next + 20 {
            let name = format!(".a.json.{}.{count}.part", std::process::id());
            fs::write(dir.path().join(name), b"torn").unwrap();
        }
        let path = dir.path().join("a.json");
        write_atomically(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn only_stale_parts_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let own = format!(".a.json.{}.0.part", std::process::id());
        let live = ".a.json.1.0.part";
        let kept = ["a.part", ".a.part", ".a.x.0.part", "a.json"];
        for name in [&own, ".model.safetensors.4294967290.3.part", live].iter().chain(&kept) {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        let removed = remove_stale_parts(dir.path()).unwrap();
        let live_is_known = Path::new("/proc/1").exists();
        assert_eq!(removed, if live_is_known { 2 } else { 3 });
        assert!(kept.iter().all(|name| dir.path().join(name).exists()));
        assert_eq!(dir.path().join(live).exists(), live_is_known);
    }
}
