//! NYUv2 from small files of made-up frames, see `fixtures/make_nyuv2.py`; and from an excerpt of
//! the published file, if there is one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fs_err as fs;
use multimae_data::{DataModality, Dataset, Encoding, Interpolation, Layout, RawMap};
use multimae_datasets::nyuv2::{Classes, Crop, Nyuv2Options, prepare};
use multimae_datasets::{Outcome, PrepareRun, Progress, Result, Summary};
use proptest::prelude::*;
use tempfile::TempDir;

const HEIGHT: usize = 24;
const WIDTH: usize = 32;
/// The ids of the frames, in the order of the file.
const IDS: [u32; 6] = [700, 80, 1, 1200, 314, 300];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

struct Scratch {
    dir: TempDir,
    options: Nyuv2Options,
    overwrite: bool,
    threads: usize,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ids = dir.path().join("ids.txt");
        fs::write(&ids, IDS.map(|id| id.to_string()).join(" ")).unwrap();
        let options = Nyuv2Options {
            mat: fixture("nyuv2_small.mat"),
            splits: None,
            ids: Some(ids),
            classes: Classes::Forty,
            class_map: None,
            crop: Crop::None,
            measured_only: false,
        };
        Self { dir, options, overwrite: false, threads: 2 }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn prepare(&self) -> Result<Summary> {
        self.prepare_until(&|_| {}, &AtomicBool::new(false))
    }

    fn prepare_until(
        &self,
        progress: &(dyn Fn(Progress) + Sync),
        stop: &AtomicBool,
    ) -> Result<Summary> {
        let (out, overwrite, threads) = (&self.out(), self.overwrite, self.threads);
        prepare(&self.options, &PrepareRun { out, overwrite, threads, progress, stop })
    }

    fn fails(&self, words: &[&str]) {
        let message = self.prepare().unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.out().join(name)).unwrap()
    }

    /// Another .mat file.
    fn with_mat(&mut self, bytes: &[u8]) {
        self.options.mat = self.dir.path().join("other.mat");
        fs::write(&self.options.mat, bytes).unwrap();
    }
}

fn modality(name: &str, folder: &str, encoding: Encoding) -> DataModality {
    DataModality { folder: folder.into(), ..DataModality::new(name, encoding) }
}

fn modalities(classes: Classes) -> Vec<DataModality> {
    let plain = |divisor| Encoding::Continuous {
        channels: 1,
        divisor,
        mean: vec![],
        std: vec![],
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: multimae_data::Quantity::Plain,
    };
    let labels = Encoding::labels(classes.count() + 1, Some(0), 0);
    let color = Encoding::Color { mean: [0.0; 3], std: [1.0; 3] };
    vec![
        modality("rgb", "rgb", color),
        modality("depth", "depth", plain(1000.0)),
        modality("semseg", classes.folder(), labels),
        modality("mask_valid", "mask_valid", plain(1.0)),
    ]
}

/// The values of a modality of a sample that the loader reads, as integers.
fn values(dataset: &Dataset, id: u32, modality: &str) -> Vec<i64> {
    let id = format!("{id:04}");
    let index = dataset.samples().iter().position(|sample| sample.id == id).unwrap();
    match &dataset.decode(index).unwrap().maps[modality] {
        RawMap::Color(data) => data.iter().map(|&x| i64::from(x)).collect(),
        RawMap::Continuous { data, .. } => data.iter().map(|&x| x as i64).collect(),
        RawMap::Labels(data) => data.clone(),
    }
}

fn pixels<T>(value: impl Fn(usize, usize) -> T) -> Vec<T> {
    (0..HEIGHT * WIDTH).map(|at| value(at / WIDTH, at % WIDTH)).collect()
}

/// A map of the fixture from the formula of its values.
fn depth(k: usize) -> Vec<i64> {
    pixels(|row, col| (700 + 10 * row + 20 * col + 100 * k) as i64)
}

fn labels(k: usize, classes: [i64; 7]) -> Vec<i64> {
    pixels(|row, col| classes[(row / 4 + col / 4 + k) % 7])
}

#[test]
fn every_value_arrives_where_the_loader_reads_it() {
    let scratch = Scratch::new();
    let summary = scratch.prepare().unwrap();
    assert_eq!((summary.outcome, summary.frames, summary.written), (Outcome::Complete, 6, 6));
    let dataset =
        Dataset::open(&scratch.out(), &Layout::Folders, &modalities(Classes::Forty)[..1]).unwrap();
    assert_eq!(dataset.len(), 6);
    for (list, ids) in [("train", &[80, 314, 700, 1200][..]), ("test", &[1, 300])] {
        let layout = Layout::List { split: list.into() };
        let dataset = Dataset::open(&scratch.out(), &layout, &modalities(Classes::Forty)).unwrap();
        assert_eq!(dataset.len(), ids.len());
        for &id in ids {
            let k = IDS.iter().position(|&other| other == id).unwrap();
            let rgb = values(&dataset, id, "rgb");
            let expected = pixels(|row, col| {
                [0, 40, 80].map(|c| ((c + 3 * row + 2 * col + 10 * k) % 256) as i64)
            });
            assert_eq!(rgb, expected.concat());
            assert_eq!(values(&dataset, id, "depth"), depth(k));
            assert_eq!(values(&dataset, id, "semseg"), labels(k, [0, 1, 2, 4, 40, 38, 39]));
            assert_eq!(values(&dataset, id, "mask_valid"), [255; HEIGHT * WIDTH]);
        }
    }
}

#[test]
fn the_folder_says_what_it_is() {
    let scratch = Scratch::new();
    let summary = scratch.prepare().unwrap();
    assert_eq!(scratch.text("train.txt"), "0080\n0314\n0700\n1200\n");
    assert_eq!(scratch.text("train_fit.txt"), "0700\n1200\n");
    assert_eq!(scratch.text("val.txt"), "0080\n0314\n");
    assert_eq!(scratch.text("test.txt"), "0001\n0300\n");
    assert!(scratch.text("classes.txt").starts_with("0 void\n1 wall\n2 floor\n"));
    assert_eq!(
        scratch.text("frames.csv"),
        "id,list,scene,scene_type\n0001,test,office_1,office\n0080,val,kitchen_1,kitchen\n\
         0300,test,\"den, ü\",den\n0314,val,office_2,office\n0700,train_fit,kitchen_1,kitchen\n\
         1200,train_fit,office_2,office\n"
    );
    assert_eq!(
        summary.notes,
        [
            "the .mat file is not the published one, by its MD5",
            "2 scenes have frames in train_fit and in val, kitchen_1 for one"
        ]
    );
    let manifest: serde_json::Value = serde_json::from_str(&scratch.text("manifest.json")).unwrap();
    assert_eq!(manifest["state"], "complete");
    assert_eq!(manifest["depth_unit"], "millimetre");
    assert_eq!(manifest["label_names"]["40"], "otherprop");
    assert_eq!(manifest["lists"]["train_fit"], 2);
    // Frames 0 and 3 of the file: 700 + 115 + 310 + 150 mm on average.
    let mean = manifest["statistics"]["train_fit"]["depth_mean"].as_f64().unwrap();
    assert!((mean - 1.275).abs() < 1e-9, "{mean}");
}

#[test]
fn thirteen_classes_another_map_and_measured_depth() {
    let mut scratch = Scratch::new();
    scratch.options.classes = Classes::Thirteen;
    scratch.options.measured_only = true;
    scratch.prepare().unwrap();
    let open = |scratch: &Scratch| {
        let modalities = modalities(scratch.options.classes);
        Dataset::open(&scratch.out(), &Layout::of(Some("train")), &modalities).unwrap()
    };
    let dataset = open(&scratch);
    assert_eq!(values(&dataset, 80, "semseg"), labels(1, [0, 12, 5, 1, 7, 7, 6]));
    assert_eq!(values(&dataset, 80, "mask_valid"), pixels(|_, col| if col < 3 { 0 } else { 255 }));
    assert_eq!(values(&dataset, 80, "depth"), depth(1), "in-painted");

    scratch.options.classes = Classes::Forty;
    scratch.options.class_map = Some(fixture("class_map.mat"));
    scratch.fails(&["was prepared otherwise", "classes: 13 there, 40 asked for"]);
    scratch.overwrite = true;
    assert_eq!(scratch.prepare().unwrap().written, 6);
    assert_eq!(values(&open(&scratch), 80, "semseg"), labels(1, [0, 1, 1, 1, 2, 1, 1]));
    assert!(!scratch.out().join("label13").exists(), "labels of other classes do not stay");
}

/// The fixture's split has 736 frames on the other list, frame 687 is one of them.
#[test]
fn another_split_is_used_with_a_notice() {
    let scratch = || {
        let scratch = Scratch::new();
        fs::write(scratch.options.ids.as_ref().unwrap(), "687 80 1 1200 314 300").unwrap();
        scratch
    };
    let official = scratch();
    official.prepare().unwrap();
    assert_eq!(official.text("test.txt"), "0001\n0300\n0687\n");

    let mut other = scratch();
    other.options.splits = Some(fixture("splits.mat"));
    let summary = other.prepare().unwrap();
    assert_eq!(other.text("test.txt"), "0001\n0300\n");
    assert_eq!(other.text("train_fit.txt"), "0687\n1200\n");
    assert!(other.text("frames.csv").contains("\n0687,train_fit,"));
    for words in ["splits.mat: the split is not the official one", "736 of 1449 frames"] {
        assert!(summary.notes[0].contains(words), "{:?}", summary.notes);
    }

    assert_eq!(other.prepare().unwrap().outcome, Outcome::CompleteBefore);
    other.options.splits = None;
    other.fails(&["was prepared otherwise", "split: ", "official asked for"]);
}

#[test]
fn an_interrupted_call_goes_on_and_a_finished_folder_stays() {
    let mut scratch = Scratch::new();
    scratch.threads = 1;
    let (stop, frames) = (AtomicBool::new(false), AtomicUsize::new(0));
    let progress = |progress| {
        if let Progress::Frames { done, total } = progress {
            assert_eq!(total, 6);
            assert_eq!(frames.fetch_add(1, Ordering::Relaxed) as u64 + 1, done);
            stop.store(done == 2, Ordering::Relaxed);
        }
    };
    let summary = scratch.prepare_until(&progress, &stop).unwrap();
    assert_eq!((summary.outcome, summary.written), (Outcome::Stopped, 2));
    assert!(!scratch.out().join("train.txt").exists(), "lists come when all frames are there");
    // A killed process may leave this.
    let torn = scratch.out().join("rgb/.0001.png.4294967290.0.part");
    fs::write(&torn, "torn").unwrap();

    let summary = scratch.prepare().unwrap();
    assert_eq!((summary.outcome, summary.written), (Outcome::Complete, 4));
    assert!(!torn.exists());
    let whole = Scratch::new();
    whole.prepare().unwrap();
    for name in ["manifest.json", "rgb/0080.png", "depth/1200.png", "label40/0300.png"] {
        let bytes = |scratch: &Scratch| fs::read(scratch.out().join(name)).unwrap();
        assert_eq!(bytes(&scratch), bytes(&whole), "{name}");
    }

    fs::remove_file(scratch.out().join("rgb/0080.png")).unwrap();
    let again = scratch.prepare().unwrap();
    assert_eq!((again.outcome, again.written), (Outcome::CompleteBefore, 0));
    scratch.overwrite = true;
    assert_eq!(scratch.prepare().unwrap().written, 6);
}

#[test]
fn stopped_before_the_first_frame_nothing_is_there() {
    let scratch = Scratch::new();
    let summary = scratch.prepare_until(&|_| {}, &AtomicBool::new(true)).unwrap();
    assert_eq!(summary.outcome, Outcome::Stopped);
    assert!(!scratch.out().exists());
}

#[test]
fn what_others_wrote_is_left_alone() {
    let mut scratch = Scratch::new();
    scratch.overwrite = true;
    fs::create_dir_all(scratch.out().join("depth")).unwrap();
    scratch.fails(&["depth", "not written by `prepare`"]);
    fs::remove_dir(scratch.out().join("depth")).unwrap();
    fs::write(scratch.out().join("manifest.json"), "{\"generator\": \"another\"}").unwrap();
    scratch.fails(&["manifest.json", "not written by `prepare`"]);
    fs::write(scratch.out().join("manifest.json"), "{").unwrap();
    scratch.fails(&["manifest.json"]);
}

#[test]
fn folders_of_this_data_set_alone_are_continued() {
    let mut scratch = Scratch::new();
    scratch.prepare().unwrap();
    let change = |from: &str, to: &str| {
        let text = scratch.text("manifest.json");
        assert!(text.contains(from), "{from}");
        fs::write(scratch.out().join("manifest.json"), text.replace(from, to)).unwrap();
    };
    // The crate that prepared data sets before this one.
    change("\"multimae-datasets\"", "\"multimae-data\"");
    assert_eq!(scratch.prepare().unwrap().outcome, Outcome::CompleteBefore);
    change("NYU Depth V2", "Another");
    scratch.overwrite = true;
    scratch.fails(&["prepared from another data set", "Another"]);
    assert!(scratch.out().join("rgb/0080.png").is_file());
}

#[test]
fn wrong_files_are_named() {
    let mut scratch = Scratch::new();
    scratch.options.ids = None;
    scratch.fails(&["nyuv2_small.mat", "6 frames of 32 x 24", "list of its ids"]);

    let mut scratch = Scratch::new();
    scratch.options.crop = Crop::Eigen;
    scratch.fails(&["640 x 480", "no crop"]);

    let mut scratch = Scratch::new();
    scratch.options.splits = Some(fixture("class_map.mat"));
    scratch.fails(&["class_map.mat", "`trainNdxs`", "`className`, `mapClass`"]);
    scratch.options.splits = Some(fixture("nyuv2_small.mat"));
    scratch.fails(&["v7.3", "v5"]);
    scratch.options.splits = Some(fixture("nowhere.mat"));
    scratch.fails(&["nowhere.mat"]);

    let mut scratch = Scratch::new();
    scratch.options.mat = fixture("splits.mat");
    scratch.fails(&["splits.mat", "HDF5"]);

    let mut scratch = Scratch::new();
    scratch.options.class_map = Some(fixture("splits.mat"));
    scratch.fails(&["splits.mat", "`mapClass`"]);

    for (ids, word) in [("1 2 3", "3 ids"), ("1 2 3 4 5 5", "5 is there twice"), ("0", "`0`")] {
        let scratch = Scratch::new();
        fs::write(scratch.options.ids.as_ref().unwrap(), ids).unwrap();
        scratch.fails(&["ids.txt", word]);
        assert!(!scratch.out().exists(), "nothing is begun");
    }
}

/// Found by fuzzing: the library allocates what the index of chunks claims.
#[test]
fn a_chunk_beyond_the_end_of_the_file_is_refused_before_memory_is_claimed() {
    let mut bytes = fs::read(fixture("nyuv2_small.mat")).unwrap();
    // The size of a chunk of `depths`, 282 bytes, becomes 2.8 GB.
    assert_eq!(bytes[9869..9873], 282_u32.to_le_bytes());
    bytes[9872] = 0xa9;
    let mut scratch = Scratch::new();
    scratch.with_mat(&bytes);
    scratch.fails(&["other.mat", "a chunk of 2835349786 bytes lies outside of the file"]);
}

#[test]
fn a_chunk_beyond_the_end_of_its_array_is_refused() {
    let mut bytes = fs::read(fixture("nyuv2_small.mat")).unwrap();
    // Behind the size of a chunk of `depths` and its filters: where it begins, a number per axis.
    assert_eq!(bytes[9869..9873], 282_u32.to_le_bytes());
    let axis = 9869 + 8 + 8;
    assert_eq!(bytes[axis..axis + 8], 16_u64.to_le_bytes());
    bytes[axis..axis + 8].fill(0xff);
    let mut scratch = Scratch::new();
    scratch.with_mat(&bytes);
    scratch.fails(&["other.mat", "`depths`: a chunk begins at", "outside of the array's"]);
}

/// A form of HDF5 that is not read is no damage.
#[test]
fn newer_files_are_named_with_the_remedy() {
    const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
    let mut bytes = fs::read(fixture("nyuv2_small.mat")).unwrap();
    let at = bytes.windows(SIGNATURE.len()).position(|part| part == SIGNATURE).unwrap();
    bytes[at + SIGNATURE.len()] = 9;
    let mut scratch = Scratch::new();
    scratch.with_mat(&bytes);
    scratch.fails(&["other.mat", "newer or other form of HDF5", "h5repack"]);
}

/// The same of a part of the file: the layout of `depths`, in chunks of 4 x 16 x 12 floats.
#[test]
fn newer_parts_of_files_are_named_with_the_remedy() {
    let bytes = fs::read(fixture("nyuv2_small.mat")).unwrap();
    let sides: Vec<u8> = [4_u32, 16, 12, 4].iter().flat_map(|side| side.to_le_bytes()).collect();
    // Version, class, dimensions and the address of the index come before.
    let at = bytes.windows(sides.len()).position(|part| part == sides).unwrap() - 11;
    assert_eq!(bytes[at..at + 3], [3, 2, 4]);
    for (place, value) in [(at, 9), (at + 1, 9)] {
        let mut bytes = bytes.clone();
        bytes[place] = value;
        let mut scratch = Scratch::new();
        scratch.with_mat(&bytes);
        scratch.fails(&["other.mat", "`depths`", "newer or other form of HDF5", "h5repack"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_truncated_file_is_an_error(share in 0.0_f64..0.99999) {
        let bytes = fs::read(fixture("nyuv2_small.mat")).unwrap();
        let mut scratch = Scratch::new();
        scratch.with_mat(&bytes[..(bytes.len() as f64 * share) as usize]);
        let message = scratch.prepare().unwrap_err().to_string();
        prop_assert!(message.contains("other.mat"), "{message}");
    }

    #[test]
    fn a_damaged_file_never_panics(places in prop::collection::vec((0.0_f64..1.0, any::<u8>()), 1..40)) {
        let mut bytes = fs::read(fixture("nyuv2_small.mat")).unwrap();
        for (place, value) in places {
            let at = (bytes.len() as f64 * place) as usize;
            bytes[at] = value;
        }
        let mut scratch = Scratch::new();
        scratch.options.measured_only = true;
        scratch.with_mat(&bytes);
        // Damage in what is not read, or in a value that stays possible, goes unnoticed.
        let _ = scratch.prepare();
    }
}

/// With `MULTIMAE_NYUV2_MAT` naming a folder with an excerpt of the published file, `*.mat` files of
/// splits and classes and `ids.txt`; and `MULTIMAE_NYUV2_320` a folder of the same frames at half
/// the size.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn an_excerpt_of_the_published_file() {
    let Some(folder) = std::env::var_os("MULTIMAE_NYUV2_MAT").map(PathBuf::from) else {
        eprintln!("SKIPPED: set MULTIMAE_NYUV2_MAT to a folder with an excerpt of NYUv2");
        return;
    };
    let mut scratch = Scratch::new();
    let mats = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    scratch.options.mat = mats
        .filter(|path| path.extension().is_some_and(|extension| extension == "mat"))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    scratch.options.splits = Some(folder.join("splits.mat"));
    scratch.options.ids = Some(folder.join("ids.txt"));
    let summary = scratch.prepare().unwrap();
    assert_eq!(summary.outcome, Outcome::Complete);
    // The built-in split is the published one.
    assert!(!summary.notes.iter().any(|note| note.contains("split")), "{:?}", summary.notes);
    // The built-in map of the classes is the published one.
    let mut published = Scratch::new();
    published.options = Nyuv2Options {
        class_map: Some(folder.join("classMapping40.mat")),
        crop: Crop::Eigen,
        ..scratch.options.clone()
    };
    published.prepare().unwrap();
    let open = |root: &Path, count| {
        Dataset::open(root, &Layout::Folders, &modalities(Classes::Forty)[..count]).unwrap()
    };
    let ours = open(&scratch.out(), 4);
    let theirs = open(&published.out(), 4);
    for sample in ours.samples() {
        let id: u32 = sample.id.parse().unwrap();
        assert_eq!(values(&ours, id, "semseg"), values(&theirs, id, "semseg"));
        let inside = values(&theirs, id, "mask_valid").iter().filter(|&&v| v == 255).count();
        assert_eq!(inside, 426 * 560);
    }
    let Some(half) = std::env::var_os("MULTIMAE_NYUV2_320").map(PathBuf::from) else {
        eprintln!("SKIPPED: set MULTIMAE_NYUV2_320 to a folder with NYUv2 at 320 x 240");
        return;
    };
    let half = open(&half, 3);
    for sample in ours.samples() {
        let id: u32 = sample.id.parse().unwrap();
        for modality in ["depth", "semseg"] {
            let full = values(&ours, id, modality);
            // The copy took every second pixel, from 1 on.
            let chosen = |at: usize| full[(2 * (at / 320) + 1) * 640 + 2 * (at % 320) + 1];
            let same = values(&half, id, modality);
            assert!(same.iter().enumerate().all(|(at, &value)| value == chosen(at)), "{id}");
        }
        assert!(jpeg_difference(&values(&ours, id, "rgb"), &values(&half, id, "rgb")) < 4.0);
    }
}

/// The mean difference between the mean of 2 x 2 pixels and the small picture.
fn jpeg_difference(full: &[i64], half: &[i64]) -> f64 {
    let mean = |at: usize| {
        let (row, column, channel) = (at / 960, at / 3 % 320, at % 3);
        let pixel = |r: usize, c: usize| full[((2 * row + r) * 640 + 2 * column + c) * 3 + channel];
        (pixel(0, 0) + pixel(0, 1) + pixel(1, 0) + pixel(1, 1)) as f64 / 4.0
    };
    let sum: f64 =
        half.iter().enumerate().map(|(at, &value)| (value as f64 - mean(at)).abs()).sum();
    sum / half.len() as f64
}
