//! Data sets from small copies in their published layouts, see `fixtures/make_sets.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod ade20k;
mod hypersim;
mod imagenet;
mod sunrgbd;
mod taskonomy;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use multimae_data::doctor::{self, Severity};
use multimae_data::{DataModality, Dataset, Encoding, Interpolation, Layout, Quantity, RawMap};
use multimae_datasets::{
    Error, OptionValues, Outcome, PrepareRun, Progress, Result, Summary, recognise, registry,
};
use serde_json::Value;
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sets")
}

/// A copy of a published data set, which a test may change, and the folder that it becomes.
struct Scratch {
    dir: TempDir,
    dataset: &'static str,
    options: OptionValues,
    overwrite: bool,
}

impl Scratch {
    /// `folder` is that of the fixture, which becomes the option `data`.
    fn new(dataset: &'static str, folder: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy_tree(&fixtures().join(folder), &dir.path().join(folder));
        let options = OptionValues::default().with_file("data", dir.path().join(folder));
        Self { dir, dataset, options, overwrite: false }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn out(&self) -> PathBuf {
        self.path("out")
    }

    fn prepare(&self) -> Result<Summary> {
        self.prepare_until(usize::MAX)
    }

    /// Prepares, and stops after some reports of progress.
    fn prepare_until(&self, reports: usize) -> Result<Summary> {
        let stop = AtomicBool::new(false);
        let count = std::sync::atomic::AtomicUsize::new(0);
        let progress = |_: Progress| {
            if count.fetch_add(1, Ordering::Relaxed) + 1 >= reports {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let run = PrepareRun {
            out: &self.out(),
            overwrite: self.overwrite,
            threads: if reports == usize::MAX { 2 } else { 1 },
            progress: &progress,
            stop: &stop,
        };
        let dataset = registry().iter().find(|dataset| dataset.name() == self.dataset).unwrap();
        dataset.prepare(&self.options, &run)
    }

    fn fails(&self, words: &[&str]) -> Error {
        let error = self.prepare().unwrap_err();
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
        error
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.out().join(name)).unwrap()
    }

    fn manifest(&self) -> Value {
        serde_json::from_str(&self.text("manifest.json")).unwrap()
    }

    /// Opens a list as training does.
    fn open(&self, list: &str, modalities: &[DataModality]) -> Dataset {
        let layout = Layout::List { split: list.into() };
        Dataset::open(&self.out(), &layout, modalities).unwrap()
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn modality(name: &str, encoding: Encoding) -> DataModality {
    DataModality::new(name, encoding)
}

fn color() -> DataModality {
    modality("rgb", Encoding::Color { mean: [0.0; 3], std: [1.0; 3] })
}

fn numbers(name: &str, channels: usize) -> DataModality {
    let encoding = Encoding::Continuous {
        channels,
        divisor: 1.0,
        mean: vec![],
        std: vec![],
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: Quantity::Plain,
    };
    modality(name, encoding)
}

/// The values of a modality of a sample as integers.
fn values(dataset: &Dataset, id: &str, modality: &str) -> Vec<i64> {
    let index = dataset.samples().iter().position(|sample| sample.id == id).unwrap();
    match &dataset.decode(index).unwrap().maps[modality] {
        RawMap::Color(data) => data.iter().map(|&x| i64::from(x)).collect(),
        RawMap::Continuous { data, .. } => data.iter().map(|&x| x as i64).collect(),
        RawMap::Labels(data) => data.clone(),
    }
}

/// Values that the script computed.
fn expected(set: &str, frame: &str, map: &str) -> Vec<i64> {
    let text = fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all[set][frame][map].as_array().unwrap().iter().map(|x| x.as_i64().unwrap()).collect()
}

fn has_note(summary: &Summary, words: &[&str]) {
    let found = summary.notes.iter().any(|note| words.iter().all(|word| note.contains(word)));
    assert!(found, "no note has {words:?}: {:#?}", summary.notes);
}

#[test]
fn every_layout_is_recognised_as_itself() {
    let folders = [
        ("ADEChallengeData2016", "ade20k"),
        ("hypersim", "hypersim"),
        ("taskonomy", "taskonomy"),
        ("sunrgbd", "sunrgbd"),
        ("imagenet_multitask", "imagenet-multitask"),
    ];
    for (folder, dataset) in folders {
        let path = fixtures().join(folder);
        let found: Vec<&str> = recognise(&path).iter().map(|found| found.dataset).collect();
        assert_eq!(found, [dataset]);
        let command = recognise(&path)[0].command();
        assert!(command.starts_with(&format!("multimae prepare {dataset} --data ")), "{command}");
    }
    // ImageNet alone, and a folder of nothing.
    for path in [fixtures().join("imagenet"), tempfile::tempdir().unwrap().path().to_owned()] {
        assert_eq!(recognise(&path), []);
    }
}

#[test]
fn a_prepared_folder_is_no_published_one() {
    for (dataset, folder) in [("ade20k", "ADEChallengeData2016"), ("taskonomy", "taskonomy")] {
        let scratch = Scratch::new(dataset, folder);
        scratch.prepare().unwrap();
        assert_eq!(recognise(&scratch.out()), []);
    }
}

#[test]
fn a_stopped_call_resumes_and_a_complete_folder_is_left_alone() {
    let sets = [
        ("ade20k", "ADEChallengeData2016"),
        ("hypersim", "hypersim"),
        ("taskonomy", "taskonomy"),
        ("sunrgbd", "sunrgbd"),
    ];
    for (dataset, folder) in sets {
        let scratch = Scratch::new(dataset, folder);
        let stopped = scratch.prepare_until(1).unwrap();
        assert_eq!((stopped.outcome, stopped.written), (Outcome::Stopped, 1), "{dataset}");
        assert!(!scratch.out().join("train.txt").exists());
        let resumed = scratch.prepare().unwrap();
        assert_eq!(resumed.outcome, Outcome::Complete, "{dataset}");
        assert_eq!(resumed.written, resumed.frames - 1, "{dataset}");
        let again = scratch.prepare().unwrap();
        assert_eq!((again.outcome, again.written), (Outcome::CompleteBefore, 0), "{dataset}");
    }
}

#[test]
fn doctor_has_no_error_in_any_result() {
    let sets = [
        ("ade20k", "ADEChallengeData2016", "."),
        ("hypersim", "hypersim", "."),
        ("taskonomy", "taskonomy", "."),
        ("sunrgbd", "sunrgbd", "."),
        ("imagenet-multitask", "imagenet_multitask", "train"),
    ];
    for (dataset, folder, inside) in sets {
        let mut scratch = Scratch::new(dataset, folder);
        scratch.options =
            scratch.options.clone().with_file("imagenet", fixtures().join("imagenet"));
        scratch.prepare().unwrap();
        let root = scratch.out().join(inside);
        let report = doctor::examine(&root, &doctor::Options::default(), |_, _| {}).unwrap();
        let errors: Vec<&doctor::Finding> =
            report.findings().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(!report.is_bad(), "{dataset}: {errors:#?}");
    }
}
