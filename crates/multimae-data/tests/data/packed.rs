//! Packed data sets: the same samples as from files, and nothing else.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use multimae_data::packed::{
    Options, Outcome, Pack, Shrink, Summary, create, find_folders, folders_of, is_pack,
};
use multimae_data::resize::CropBox;
use multimae_data::{DataModality, Dataset, Encoding, Interpolation, Layout, RawMap};

use crate::files::{Files, HEIGHT, WIDTH, modalities, plain_values, rgb};

fn options(files: &Files) -> Options {
    Options {
        folders: find_folders(files.root(), &Default::default()).unwrap(),
        shrink: None,
        skip_bad: false,
        replace: false,
        threads: 2,
    }
}

fn try_pack(files: &Files, options: &Options) -> (PathBuf, Result<Summary, multimae_data::Error>) {
    let out = files.root().join("all.pack");
    let result = create(files.root(), &out, options, |_, _| {}, &AtomicBool::new(false));
    (out, result)
}

fn pack(files: &Files, options: &Options) -> PathBuf {
    let (out, result) = try_pack(files, options);
    assert_eq!(result.unwrap().outcome, Outcome::Complete);
    out
}

fn open(root: &Path, layout: &Layout, modalities: &[DataModality]) -> Dataset {
    Dataset::open(root, layout, modalities).unwrap()
}

/// Every sample, whole and in part, is the same from both.
fn assert_same(files: &Files, pack: &Path, layout: &Layout, modalities: &[DataModality]) {
    let (folder, packed) = (open(files.root(), layout, modalities), open(pack, layout, modalities));
    assert_eq!(folder.len(), packed.len());
    let part = |_: usize, _: usize| CropBox { top: 3, left: 7, height: 11, width: 20 };
    for index in 0..folder.len() {
        assert_eq!(folder.samples().get(index).unwrap().id, packed.id(index).unwrap());
        assert_eq!(folder.decode(index).unwrap(), packed.decode(index).unwrap());
        assert_eq!(
            folder.decode_window(index, part).unwrap(),
            packed.decode_window(index, part).unwrap()
        );
    }
}

fn continuous(name: &str, channels: usize) -> DataModality {
    let encoding = plain_values(channels, 7.0, Interpolation::Bilinear);
    DataModality::new(name, encoding)
}

#[test]
fn samples_are_those_of_the_files_bit_for_bit() {
    let files = Files::with_samples(5);
    files.write("train.txt", b"0003\n0001\n");
    let pixels = HEIGHT * WIDTH;
    for id in 0..5 {
        let normals: Vec<u8> = (0..3 * pixels).map(|at| (at * 7 + id) as u8).collect();
        files.png(
            &format!("normal/{id:04}.png"),
            png::ColorType::Rgb,
            png::BitDepth::Eight,
            &normals,
        );
        let masks: Vec<u8> = (0..pixels).map(|at| (at % 3) as u8).collect();
        files.png(
            &format!("label/{id:04}.png"),
            png::ColorType::Indexed,
            png::BitDepth::Eight,
            &masks,
        );
        let heights: Vec<f32> = (0..pixels).map(|at| at as f32 * 0.37 - id as f32).collect();
        files.npy(&format!("height/{id:04}.npy"), &[HEIGHT as u64, WIDTH as u64], &heights);
    }
    let out = pack(&files, &options(&files));
    assert!(is_pack(&out) && !is_pack(files.root()));
    let label = Encoding::labels(3, Some(2), 0);
    let label = DataModality { stride: 4, ..DataModality::new("label", label) };
    let mut all = modalities();
    all.extend([continuous("normal", 3), continuous("height", 1), label]);
    for layout in [Layout::Folders, Layout::of(Some("train"))] {
        assert_same(&files, &out, &layout, &all);
    }
    // A part of its folders, too.
    assert_same(&files, &out, &Layout::Folders, &[rgb()]);
}

/// The fixture was written before there was another format.
#[test]
fn packs_of_format_1_stay_readable() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format_1.pack");
    let folder = |name: &str, one: DataModality| DataModality { folder: name.to_owned(), ..one };
    let [rgb, depth, semseg] = modalities().try_into().unwrap();
    let all = [folder("color", rgb), depth, folder("labels", semseg)];
    let dataset = open(&path, &Layout::of(Some("train")), &all);
    assert_eq!(dataset.ids().collect::<Vec<_>>(), ["a", "b"]);
    let sample = dataset.decode(1).unwrap();
    assert_eq!((sample.height, sample.width), (4, 6));
    assert_eq!(sample.maps["rgb"], RawMap::Color([1, 2, 3].repeat(24)));
    assert_eq!(sample.maps["depth"], RawMap::Continuous { channels: 1, data: vec![900.0; 24] });
    assert_eq!(sample.maps["semseg"], RawMap::Labels(vec![3; 24]));
    let pack = Pack::open(&path).unwrap();
    assert!(pack.verify(|_, _| {}, &AtomicBool::new(false)).unwrap().is_empty());
    assert!(!pack.is_encoded("color"));
}

#[test]
fn a_pack_does_not_depend_on_the_threads() {
    let files = Files::with_samples(9);
    let one = Options { threads: 1, ..options(&files) };
    let first = fs_err::read(pack(&files, &one)).unwrap();
    let many = Options { threads: 4, replace: true, ..one };
    assert!(first == fs_err::read(pack(&files, &many)).unwrap());
}

#[test]
fn shrunk_frames_keep_their_values_apart() {
    let files = Files::with_samples(2);
    let shrink = Some(Shrink::ShortSide(HEIGHT / 2));
    let out = pack(&files, &Options { shrink, ..options(&files) });
    let small = open(&out, &Layout::Folders, &modalities()).decode(0).unwrap();
    let whole = open(files.root(), &Layout::Folders, &modalities()).decode(0).unwrap();
    assert_eq!((small.height, small.width), (HEIGHT / 2, WIDTH / 2));
    // No depth and no label appears that was not there.
    for name in ["depth", "semseg"] {
        let values = |sample: &multimae_data::RawSample| format!("{:?}", sample.maps[name]);
        assert_ne!(values(&small), values(&whole));
    }
    assert!(Pack::open(&out).unwrap().notices().iter().any(|text| text.contains("reduced")));
}

#[test]
fn damage_is_noticed_and_named() {
    let files = Files::with_samples(3);
    let out = pack(&files, &options(&files));
    let whole = fs_err::read(&out).unwrap();
    let says = |bytes: &[u8]| {
        fs_err::write(&out, bytes).unwrap();
        let text = Dataset::open(&out, &Layout::Folders, &modalities()).unwrap_err().to_string();
        assert!(text.contains("all.pack"), "{text}");
        text
    };
    assert!(says(&whole[..whole.len() - 9]).contains("not whole"));
    assert!(says(b"something else").contains("not a packed data set"));
    let mut index = whole.clone();
    let last = index.len() - 5;
    index[last] ^= 1;
    assert!(says(&index).contains("index is damaged"));
    // In a frame: only that sample cannot be read.
    let mut frame = whole.clone();
    frame[100] ^= 1;
    fs_err::write(&out, &frame).unwrap();
    let dataset = open(&out, &Layout::Folders, &modalities());
    let bad: Vec<String> = (0..dataset.len())
        .filter_map(|index| dataset.decode(index).err())
        .map(|error| error.to_string())
        .collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].contains("checksum"), "{bad:?}");
    let pack = Pack::open(&out).unwrap();
    assert_eq!(pack.verify(|_, _| {}, &AtomicBool::new(false)).unwrap().len(), 1);
    fs_err::write(&out, &whole).unwrap();
    assert!(
        Pack::open(&out).unwrap().verify(|_, _| {}, &AtomicBool::new(false)).unwrap().is_empty()
    );
}

#[test]
fn bad_samples_stop_it_or_are_left_out() {
    let files = Files::with_samples(3);
    files.write("train.txt", b"0000\n0001\n0002\n");
    files.write("rgb/0001.png", b"no picture");
    let (out, result) = try_pack(&files, &options(&files));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("0001") && !out.exists(), "{error}");
    assert!(leftovers(&files).is_empty(), "{:?}", leftovers(&files));
    let (out, result) = try_pack(&files, &Options { skip_bad: true, ..options(&files) });
    assert_eq!(result.unwrap().left_out.len(), 1);
    let dataset = open(&out, &Layout::of(Some("train")), &modalities());
    assert_eq!(dataset.len(), 2);
}

#[test]
fn what_is_stopped_leaves_nothing() {
    let files = Files::with_samples(4);
    let out = files.root().join("all.pack");
    let stop = AtomicBool::new(true);
    let summary = create(files.root(), &out, &options(&files), |_, _| {}, &stop).unwrap();
    assert_eq!((summary.outcome, summary.bytes, out.exists()), (Outcome::Stopped, 0, false));
    assert!(leftovers(&files).is_empty());
}

#[test]
fn what_cannot_be_is_said() {
    let files = Files::with_samples(2);
    let out = pack(&files, &options(&files));
    let (_, again) = try_pack(&files, &options(&files));
    assert!(again.unwrap_err().to_string().contains("--force"));
    let missing = Dataset::open(&out, &Layout::Folders, &[continuous("normal", 3)]).unwrap_err();
    assert!(missing.to_string().contains("needs folder `normal`"), "{missing}");
    let colour = DataModality { folder: "depth".to_owned(), ..rgb() };
    let other = Dataset::open(&out, &Layout::Folders, std::slice::from_ref(&colour)).unwrap_err();
    assert!(other.to_string().contains("packed as real values"), "{other}");
    let list = Dataset::open(&out, &Layout::of(Some("val")), &modalities()).unwrap_err();
    assert!(list.to_string().contains("no list val.txt"), "{list}");
    let depth = DataModality { folder: "depth".to_owned(), ..modalities().remove(1) };
    assert!(folders_of(&[colour, depth]).unwrap_err().to_string().contains("holds one"));
    let empty = Files::new();
    assert!(find_folders(empty.root(), &Default::default()).is_err());
}

/// A further file beside the folders and lists.
fn leftovers(files: &Files) -> Vec<String> {
    let names = fs_err::read_dir(files.root()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !["rgb", "depth", "semseg", "train.txt"].contains(&name.as_str())).collect()
}
