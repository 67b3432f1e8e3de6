//! A copy in a temporary folder, and the folder that is prepared from it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use flate2::read::GzDecoder;
use fs_err as fs;
use multimae_data::{DataModality, Dataset, Encoding, Interpolation, Layout, Quantity, RawMap};
use multimae_datasets::nyuv2::Nyuv2;
use multimae_datasets::{OptionValues, Outcome, PrepareDataset, PrepareRun, Result, Summary};
use tempfile::TempDir;

/// A copy, unpacked, and the folder that is prepared from it.
pub(crate) struct Scratch {
    pub(crate) dir: TempDir,
    pub(crate) copy: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join(name);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nyuv2_copies");
        unpack(&fixtures.join(name), &copy);
        Self { dir, copy }
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    pub(crate) fn prepare(&self, options: OptionValues) -> Result<Summary> {
        let run = PrepareRun {
            out: &self.out(),
            overwrite: false,
            threads: 2,
            progress: &|_| {},
            stop: &AtomicBool::new(false),
        };
        Nyuv2.prepare(&options, &run)
    }

    pub(crate) fn prepare_copy(&self) -> Result<Summary> {
        self.prepare(OptionValues::default().with_file("copy", &self.copy))
    }

    pub(crate) fn fails(&self, words: &[&str]) {
        let message = self.prepare_copy().unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.out().join(name)).unwrap()
    }

    pub(crate) fn manifest(&self) -> serde_json::Value {
        serde_json::from_str(&self.text("manifest.json")).unwrap()
    }

    /// The values of a map of a prepared frame, as integers.
    pub(crate) fn values(&self, map: &str, frame: &str) -> Vec<i64> {
        let encoding = match map {
            "rgb" | "normal" => Encoding::Color { mean: [0.0; 3], std: [1.0; 3] },
            "label13" | "label40" => Encoding::labels(41, None, 0),
            _ => Encoding::Continuous {
                channels: 1,
                divisor: 1.0,
                mean: vec![],
                std: vec![],
                interpolation: Interpolation::Nearest,
                standardize: false,
                quantity: Quantity::Plain,
            },
        };
        let modality = DataModality { folder: map.into(), ..DataModality::new(map, encoding) };
        let dataset = Dataset::open(&self.out(), &Layout::Folders, &[modality]).unwrap();
        let index = dataset.samples().iter().position(|sample| sample.id == frame).unwrap();
        match &dataset.decode(index).unwrap().maps[map] {
            RawMap::Color(data) => data.iter().map(|&value| i64::from(value)).collect(),
            RawMap::Continuous { data, .. } => data.iter().map(|&value| value as i64).collect(),
            RawMap::Labels(data) => data.clone(),
        }
    }
}

/// Copies a folder, and unpacks its `.gz` files.
fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        match name.strip_suffix(".gz") {
            _ if path.is_dir() => unpack(&path, &to.join(name)),
            Some(name) => {
                let mut packed = GzDecoder::new(fs::File::open(&path).unwrap());
                let mut plain = fs::File::create(to.join(name)).unwrap();
                std::io::copy(&mut packed, &mut plain).unwrap();
            }
            None => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

/// A prepared copy; of the official file, an excerpt.
pub(crate) fn prepared(copy: &str) -> Scratch {
    let scratch = Scratch::new(copy);
    let summary = if copy == "mat" {
        let mat = scratch.copy.join("nyu_depth_v2_labeled.mat");
        let options = OptionValues::default().with_file("copy", mat);
        scratch.prepare(options.with_file("ids", scratch.copy.join("ids.txt")))
    } else {
        scratch.prepare_copy()
    };
    assert_eq!(summary.unwrap().outcome, Outcome::Complete);
    scratch
}
