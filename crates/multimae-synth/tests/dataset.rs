//! Writing data sets: files, resuming, refusing.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use multimae_synth::{Error, SynthOptions, render, write_dataset};

const OPTIONS: SynthOptions =
    SynthOptions { count: 6, seed: 5, size: (24, 32), val_share: 0.34, threads: 2 };

fn write(dir: &Path, options: &SynthOptions) -> multimae_synth::Result<multimae_synth::Summary> {
    write_dataset(dir, options, |_, _| {}, &AtomicBool::new(false))
}

/// All files of a folder: path in it, content.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(file, b)| (format!("{name}/{file}"), b)));
        } else {
            found.insert(name, fs_err::read(&path).unwrap());
        }
    }
    found
}

fn decode(bytes: &[u8]) -> (png::OutputInfo, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info, pixels)
}

#[test]
fn files_hold_the_frames() {
    let dir = tempfile::tempdir().unwrap();
    let summary = write(dir.path(), &OPTIONS).unwrap();
    assert_eq!((summary.written, summary.skipped, summary.complete), (6, 0, true));
    let files = files(dir.path());
    assert_eq!(files.len(), 4 * 6 + 3);
    let frame = render(5, 2, (24, 32));
    assert_eq!(decode(&files["rgb/00002.png"]).1, frame.rgb);
    assert_eq!(decode(&files["label40/00002.png"]).1, frame.labels);
    let (info, depth) = decode(&files["depth/00002.png"]);
    assert_eq!((info.width, info.height, info.bit_depth), (32, 24, png::BitDepth::Sixteen));
    for (bytes, metres) in depth.chunks_exact(2).zip(&frame.depth) {
        let stored = f32::from(u16::from_be_bytes([bytes[0], bytes[1]])) / 1000.0;
        assert!((stored - metres).abs() < 6e-4);
    }
    let (_, normal) = decode(&files["normal/00002.png"]);
    for (i, pixel) in normal.chunks_exact(3).enumerate() {
        for (channel, &byte) in pixel.iter().enumerate() {
            let stored = f32::from(byte) / 127.5 - 1.0;
            assert!((stored - frame.normals[channel * 24 * 32 + i]).abs() < 0.005);
        }
    }
    let list = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let (train, val) = (list("train.txt"), list("val.txt"));
    assert_eq!((train.lines().count(), val.lines().count()), (4, 2));
    let mut names: Vec<&str> = train.lines().chain(val.lines()).collect();
    names.sort_unstable();
    assert_eq!(names, ["00000", "00001", "00002", "00003", "00004", "00005"]);
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["seed"], 5);
    assert_eq!(manifest["depth_unit"], "millimetre");
    assert_eq!(manifest["label_names"]["6"], "sofa");
}

#[test]
fn threads_do_not_matter() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(one.path(), &SynthOptions { threads: 1, ..OPTIONS }).unwrap();
    write(two.path(), &SynthOptions { threads: 2, ..OPTIONS }).unwrap();
    assert_eq!(files(one.path()), files(two.path()));
}

#[test]
fn interrupted_writing_goes_on() {
    let (whole, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(whole.path(), &OPTIONS).unwrap();
    let stop = AtomicBool::new(false);
    let stop_at_two = |done, _| stop.store(done >= 2, Ordering::Relaxed);
    let one = SynthOptions { threads: 1, ..OPTIONS };
    let summary = write_dataset(dir.path(), &one, stop_at_two, &stop).unwrap();
    assert_eq!((summary.written, summary.complete), (2, false));
    assert!(!dir.path().join("train.txt").exists());
    // As after a kill: a frame without all its maps, and half a file beside its place.
    fs_err::remove_file(dir.path().join("normal/00001.png")).unwrap();
    fs_err::write(dir.path().join("rgb/00003.png.part"), b"half").unwrap();

    let seen = Mutex::new(Vec::new());
    let progress = |done, total| seen.lock().unwrap().push((done, total));
    let summary = write_dataset(dir.path(), &OPTIONS, progress, &AtomicBool::new(false)).unwrap();
    assert_eq!((summary.written, summary.skipped, summary.complete), (5, 1, true));
    let expected: Vec<(usize, usize)> = (1..=6).map(|done| (done, 6)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(files(dir.path()), files(whole.path()));
}

#[test]
fn other_options_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &OPTIONS).unwrap();
    let before = files(dir.path());
    let error = write(dir.path(), &SynthOptions { seed: 6, ..OPTIONS }).unwrap_err();
    assert!(matches!(error, Error::OtherOptions { .. }));
    assert!(error.to_string().contains("seed 5 there, 6 asked for"), "{error}");
    assert_eq!(files(dir.path()), before);
    assert_eq!(write(dir.path(), &OPTIONS).unwrap().skipped, 6);
}

#[test]
fn folders_of_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir(dir.path().join("rgb")).unwrap();
    assert!(matches!(write(dir.path(), &OPTIONS), Err(Error::Foreign { .. })));
    fs_err::write(dir.path().join("manifest.json"), "{}").unwrap();
    assert!(matches!(write(dir.path(), &OPTIONS), Err(Error::Manifest { .. })));
}

#[test]
fn options_must_make_sense() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        SynthOptions { count: 0, ..OPTIONS },
        SynthOptions { size: (0, 5), ..OPTIONS },
        SynthOptions { val_share: f64::NAN, ..OPTIONS },
    ] {
        assert!(matches!(write(dir.path(), &options), Err(Error::Options(_))));
    }
    assert!(files(dir.path()).is_empty());
}
