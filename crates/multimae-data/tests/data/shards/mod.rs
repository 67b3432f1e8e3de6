//! Tar shards: the same samples as from files.

mod damage;
mod formats;
mod mutations;
mod order;
mod progress;
mod random;
mod splits;
mod writing;

use std::path::{Path, PathBuf};

use multimae_data::{DataModality, Dataset, Interpolation, Layout};
use tempfile::TempDir;

use crate::files::{depth, rgb, semseg};

/// A file or folder that `tests/fixtures/shards/make.py` wrote.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shards").join(name)
}

/// A copy of a fixture, beside which an index may be written.
fn copied(name: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join(name);
    copy(&fixture(name), &to);
    (dir, to)
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs_err::copy(from, to).unwrap();
        return;
    }
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// The modalities of the fixtures.
fn modalities() -> Vec<DataModality> {
    vec![rgb(), depth(Interpolation::Nearest), semseg(9, None, 0)]
}

fn open(root: &Path) -> Dataset {
    Dataset::open(root, &Layout::Folders, &modalities()).unwrap()
}

fn split(root: &Path, split: &str) -> multimae_data::Result<Dataset> {
    Dataset::open(root, &Layout::of(Some(split)), &modalities())
}

fn ids(data: &Dataset) -> Vec<String> {
    data.ids().map(Into::into).collect()
}

/// The error of opening a place.
fn says(root: &Path) -> String {
    Dataset::open(root, &Layout::Folders, &modalities()).unwrap_err().to_string()
}

/// Every sample is that of the files, in the same place.
fn assert_same(files: &Dataset, shards: &Dataset) {
    assert_eq!(ids(files), ids(shards));
    for index in 0..files.len() {
        assert_eq!(files.decode(index).unwrap(), shards.decode(index).unwrap());
    }
    // Also the facts by which a run that is resumed recognises its data.
    assert_eq!(files.facts().unwrap(), shards.facts().unwrap());
}

/// A tar of some members, by the tar library.
fn write_tar(path: &Path, members: &[(&str, &[u8])]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    fs_err::write(path, builder.into_inner().unwrap()).unwrap();
}

/// The bytes of a file of the fixtures.
fn bytes(name: &str) -> Vec<u8> {
    fs_err::read(fixture("files").join(name)).unwrap()
}
