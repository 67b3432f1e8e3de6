//! Data sets of every form written as packs and shards: the samples stay the same.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use multimae_data::convert::{create_pack, find_folders, write_shards};
use multimae_data::doctor::Kind;
use multimae_data::packed::{Options, Pack, Summary};
use multimae_data::shards::{ShardLayout, ShardOptions, ShardSize, ShardSummary};
use multimae_data::{DataModality, Dataset, Encoding, Interpolation, Layout, Result};
use png::{BitDepth, ColorType};

use crate::files::{Files, HEIGHT, WIDTH, modalities, plain_values};

fn shard_options(folders: &[&str], layout: ShardLayout) -> ShardOptions {
    ShardOptions {
        folders: folders.iter().map(|&folder| folder.to_owned()).collect(),
        layout,
        size: ShardSize::Samples(3),
        splits: Vec::new(),
        unnamed: None,
    }
}

fn to_shards(root: &Path, out: &Path, options: &ShardOptions) -> Result<ShardSummary> {
    write_shards(root, out, options, |_, _| {}, &AtomicBool::new(false))
}

fn to_pack(root: &Path, out: &Path, encoded: bool) -> Result<Summary> {
    let mut folders = find_folders(root, &Default::default())?;
    folders.iter_mut().for_each(|folder| folder.encoded = encoded);
    let options = Options { folders, shrink: None, skip_bad: false, replace: false, threads: 2 };
    create_pack(root, out, &options, |_, _| {}, &AtomicBool::new(false))
}

const ALL: [&str; 6] = ["rgb", "depth", "semseg", "height", "label", "normal"];

/// Samples of images of every kind and of arrays, with a list.
fn files() -> Files {
    let files = Files::with_samples(5);
    let pixels = HEIGHT * WIDTH;
    for id in 0..5 {
        let values: Vec<f32> = (0..pixels).map(|at| at as f32 * 0.37 - id as f32).collect();
        files.npy(&format!("height/{id:04}.npy"), &[HEIGHT as u64, WIDTH as u64], &values);
        let labels: Vec<u8> = (0..pixels).map(|at| ((at + id) % 3) as u8).collect();
        files.png(&format!("label/{id:04}.png"), ColorType::Indexed, BitDepth::Eight, &labels);
        let normals: Vec<u8> = (0..3 * pixels).map(|at| (at * 7 + id) as u8).collect();
        files.png(&format!("normal/{id:04}.png"), ColorType::Rgb, BitDepth::Eight, &normals);
    }
    files.write("train.txt", b"0003\n0001\n");
    files
}

fn all() -> Vec<DataModality> {
    let values = |channels| plain_values(channels, 7.0, Interpolation::Bilinear);
    let label = Encoding::labels(3, Some(2), 0);
    let mut all = modalities();
    all.extend([
        DataModality::new("height", values(1)),
        DataModality { stride: 4, ..DataModality::new("label", label) },
        DataModality::new("normal", values(3)),
    ]);
    all
}

fn assert_same(files: &Path, other: &Path) {
    for layout in [Layout::Folders, Layout::of(Some("train"))] {
        let open = |root: &Path| Dataset::open(root, &layout, &all()).unwrap();
        let (files, other) = (open(files), open(other));
        assert_eq!(files.ids().collect::<Vec<_>>(), other.ids().collect::<Vec<_>>());
        for index in 0..files.len() {
            assert_eq!(files.decode(index).unwrap(), other.decode(index).unwrap());
        }
    }
}

/// The members of all tars below a folder: names and bytes.
fn members(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> = fs_err::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let mut tar = tar::Archive::new(fs_err::File::open(path).unwrap());
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            all.push((name, bytes));
        }
    }
    all
}

#[test]
fn shards_and_encoded_packs_of_each_other_keep_every_byte() {
    let (files, dir) = (files(), tempfile::tempdir().unwrap());
    let path = |name: &str| dir.path().join(name);
    let flat = shard_options(&ALL, ShardLayout::WebDataset);
    to_shards(files.root(), &path("first"), &flat).unwrap();
    assert_same(files.root(), &path("first"));
    let summary = to_pack(&path("first"), &path("second.pack"), true).unwrap();
    assert!(summary.source_bytes > 0 && summary.left_out.is_empty());
    assert_same(files.root(), &path("second.pack"));
    let pack = Pack::open(&path("second.pack")).unwrap();
    assert_eq!(pack.folders().len(), ALL.len());
    assert!(pack.folders().iter().all(|(name, _, count)| pack.is_encoded(name) && *count == 5));
    assert!(pack.notices().is_empty(), "{:?}", pack.notices());
    let summary = to_shards(&path("second.pack"), &path("third"), &flat).unwrap();
    assert_eq!((summary.samples, summary.shards), (5, 2));
    assert_same(files.root(), &path("third"));
    assert_eq!(members(&path("first")), members(&path("third")));
    assert_eq!(members(&path("first")).len(), 5 * ALL.len());
    // Once more: nothing to do.
    let again = to_shards(&path("second.pack"), &path("third"), &flat).unwrap();
    assert_eq!(again.kept, 2);
    // In 4M's layout, from shards of the other one, and back.
    let folders = shard_options(&ALL, ShardLayout::Folders);
    to_shards(&path("third"), &path("fourth"), &folders).unwrap();
    assert_same(files.root(), &path("fourth"));
    to_shards(&path("fourth"), &path("fifth"), &flat).unwrap();
    assert_eq!(members(&path("first")), members(&path("fifth")));
}

#[test]
fn decoded_frames_become_files_of_the_same_samples() {
    let (files, dir) = (files(), tempfile::tempdir().unwrap());
    let path = |name: &str| dir.path().join(name);
    to_pack(files.root(), &path("decoded.pack"), false).unwrap();
    let flat = shard_options(&ALL, ShardLayout::WebDataset);
    to_shards(&path("decoded.pack"), &path("shards"), &flat).unwrap();
    assert_same(files.root(), &path("shards"));
    to_pack(&path("decoded.pack"), &path("encoded.pack"), true).unwrap();
    assert_same(files.root(), &path("encoded.pack"));
    to_pack(&path("shards"), &path("again.pack"), false).unwrap();
    assert_same(files.root(), &path("again.pack"));
}

#[test]
fn images_without_a_name_and_samples_without_a_file_are_kept() {
    let (files, dir) = (files(), tempfile::tempdir().unwrap());
    files.remove("depth/0002.png");
    let path = |name: &str| dir.path().join(name);
    let named = |name: &str| Some(name.to_owned());
    let flat = ShardOptions {
        unnamed: named("rgb"),
        ..shard_options(&["rgb", "depth"], ShardLayout::WebDataset)
    };
    to_shards(files.root(), &path("shards"), &flat).unwrap();
    let names = |kinds: &[(&str, Kind)]| -> Vec<String> {
        let kinds = kinds.iter().map(|&(name, kind)| (name.to_owned(), kind)).collect();
        let found = find_folders(&path("shards"), &kinds).unwrap();
        found.into_iter().map(|folder| folder.folder).collect()
    };
    assert_eq!(names(&[]), ["depth", "png"]);
    assert_eq!(names(&[("rgb", Kind::Color)]), ["depth", "rgb"]);
    let again = to_shards(&path("shards"), &path("again"), &flat).unwrap();
    assert_eq!(again.samples, 5);
    assert_eq!(members(&path("shards")), members(&path("again")));
    to_pack(&path("shards"), &path("all.pack"), true).unwrap();
    let counts: Vec<_> = Pack::open(&path("all.pack"))
        .unwrap()
        .folders()
        .iter()
        .map(|(name, _, count)| ((*name).to_owned(), *count))
        .collect();
    assert_eq!(counts, [("depth".to_owned(), 4), ("png".to_owned(), 5)]);
    let folders = shard_options(&["rgb", "depth"], ShardLayout::Folders);
    let error = to_shards(&path("shards"), &path("4m"), &folders).unwrap_err().to_string();
    assert!(error.contains("without a file"), "{error}");
}

#[test]
fn splits_of_shards_become_lists() {
    let (files, dir) = (files(), tempfile::tempdir().unwrap());
    files.write("val.txt", b"0002\n");
    let path = |name: &str| dir.path().join(name);
    let mut flat = shard_options(&ALL, ShardLayout::WebDataset);
    flat.splits = vec!["train".to_owned(), "val".to_owned()];
    to_shards(files.root(), &path("shards"), &flat).unwrap();
    let ids = |root: &Path, split: &str| -> Vec<String> {
        let data = Dataset::open(root, &Layout::of(Some(split)), &all()).unwrap();
        data.ids().map(Into::into).collect()
    };
    to_pack(&path("shards"), &path("all.pack"), true).unwrap();
    assert_eq!(ids(&path("all.pack"), "train"), ["0001", "0003"]);
    assert_eq!(ids(&path("all.pack"), "val"), ["0002"]);
    // By the names of the shards alone.
    fs_err::remove_file(path("shards").join("_info.json")).unwrap();
    to_pack(&path("shards"), &path("other.pack"), true).unwrap();
    assert_eq!(ids(&path("other.pack"), "val"), ["0002"]);
    let mut splits = shard_options(&ALL, ShardLayout::WebDataset);
    splits.splits = vec!["test".to_owned()];
    let error = to_shards(&path("other.pack"), &path("no"), &splits).unwrap_err().to_string();
    assert!(error.contains("no such list") && error.contains("train, val"), "{error}");
}

#[test]
fn folders_that_are_not_there_and_damage_are_named() {
    let (files, dir) = (files(), tempfile::tempdir().unwrap());
    let path = |name: &str| dir.path().join(name);
    to_pack(files.root(), &path("all.pack"), true).unwrap();
    let missing = shard_options(&["thermal"], ShardLayout::WebDataset);
    let error = to_shards(&path("all.pack"), &path("out"), &missing).unwrap_err().to_string();
    assert!(error.contains("no folder `thermal`") && error.contains("semseg"), "{error}");
    let kinds = [("thermal".to_owned(), Kind::Depth)].into();
    assert!(find_folders(&path("all.pack"), &kinds).unwrap_err().to_string().contains("thermal"));
    let whole = fs_err::read(path("all.pack")).unwrap();
    let file = files.read("rgb/0001.png");
    let at = whole.windows(file.len()).position(|bytes| bytes == file).unwrap();
    let mut damaged = whole;
    damaged[at + 40] ^= 1;
    fs_err::write(path("all.pack"), &damaged).unwrap();
    let one = shard_options(&["rgb"], ShardLayout::WebDataset);
    let error = to_shards(&path("all.pack"), &path("out"), &one).unwrap_err().to_string();
    assert!(error.contains("0001") && error.contains("checksum"), "{error}");
}
