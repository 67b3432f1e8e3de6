//! Files whose names differ between modalities, and lists with columns.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use multimae_data::doctor::{self, Kind};
use multimae_data::packed::{Options, create, find_folders, folders_of};
use multimae_data::{DataDifference, DataModality, Dataset, Interpolation, Layout, Naming, RawMap};

use crate::files::{Files, depth, rgb};

fn named(modality: DataModality, folder: &str, prefix: &str, suffix: &str) -> DataModality {
    let naming = Naming {
        strip_prefix: prefix.to_owned(),
        strip_suffix: suffix.to_owned(),
        ..Naming::default()
    };
    DataModality { folder: folder.to_owned(), naming, ..modality }
}

fn columns(folders: [&str; 2], at: [usize; 2]) -> Vec<DataModality> {
    let modality = |modality: DataModality, folder: &str, at| {
        let naming = Naming { column: Some(at), ..Naming::default() };
        DataModality { folder: folder.to_owned(), naming, ..modality }
    };
    vec![
        modality(rgb(), folders[0], at[0]),
        modality(depth(Interpolation::Nearest), folders[1], at[1]),
    ]
}

/// Moves the files of a sample to places of other data sets.
fn place(files: &Files, number: usize, rgb: &str, depth: &str) {
    files.sample("x", number);
    fs_err::rename(files.path("rgb/x.png"), files.path(rgb)).unwrap();
    fs_err::rename(files.path("depth/x.png"), files.path(depth)).unwrap();
    fs_err::remove_dir_all(files.path("semseg")).unwrap();
    for folder in ["rgb", "depth"] {
        // Empty, unless the sample's place is below it.
        let _ = fs_err::remove_dir(files.path(folder));
    }
}

/// `<task>/<building>/point_<p>_view_<v>_domain_<task>.png`.
fn taskonomy() -> (Files, Vec<DataModality>) {
    let files = Files::new();
    for (number, view) in ["hanson/point_0_view_1", "merom/point_2_view_0"].into_iter().enumerate()
    {
        let rgb = format!("rgb/{view}_domain_rgb.png");
        place(&files, number, &rgb, &format!("depth_zbuffer/{view}_domain_depth_zbuffer.png"));
    }
    let modalities = vec![
        named(rgb(), "rgb", "", "_domain_rgb"),
        named(depth(Interpolation::Nearest), "depth_zbuffer", "", "_domain_depth_zbuffer"),
    ];
    (files, modalities)
}

/// `<scene>/rgb_<n>.jpg` and `<scene>/sync_depth_<n>.png`, with a list of three columns.
fn bts() -> (Files, Vec<DataModality>) {
    let files = Files::new();
    let mut list = String::new();
    for (number, frame) in ["kitchen/00045", "bath/00000"].into_iter().enumerate() {
        let (scene, n) = frame.split_once('/').unwrap();
        let (rgb, depth) = (format!("{scene}/rgb_{n}.jpg"), format!("{scene}/sync_depth_{n}.png"));
        place(&files, number, &rgb, &depth);
        list.push_str(&format!("/{rgb} /{depth} 518.8579\r\n"));
    }
    files.write("train_files.txt", list.as_bytes());
    let modalities = vec![
        named(rgb(), ".", "rgb_", ""),
        named(depth(Interpolation::Nearest), ".", "sync_depth_", ""),
    ];
    (files, modalities)
}

fn open(root: &Path, split: Option<&str>, modalities: &[DataModality]) -> Dataset {
    Dataset::open(root, &Layout::of(split), modalities).unwrap()
}

fn ids(dataset: &Dataset) -> Vec<String> {
    dataset.ids().map(Into::into).collect()
}

/// The number of a sample is in its blue channel.
fn number(dataset: &Dataset, index: usize) -> u8 {
    let sample = dataset.decode(index).unwrap();
    let RawMap::Color(rgb) = &sample.maps["rgb"] else { panic!() };
    rgb[2]
}

#[test]
fn suffixes_are_no_part_of_a_samples_name() {
    let (files, modalities) = taskonomy();
    let dataset = open(files.root(), None, &modalities);
    assert_eq!(ids(&dataset), ["hanson/point_0_view_1", "merom/point_2_view_0"]);
    assert_eq!([0, 1].map(|index| number(&dataset, index)), [0, 1]);
    // Lists name samples, or files of any modality.
    files.write("val.txt", b"merom/point_2_view_0_domain_rgb.png\nhanson/point_0_view_1\n");
    let listed = open(files.root(), Some("val"), &modalities);
    assert_eq!(ids(&listed), ["merom/point_2_view_0", "hanson/point_0_view_1"]);
    // A file without the suffix is not of this modality.
    files.write("rgb/hanson/thumbnail.png", b"");
    assert_eq!(open(files.root(), None, &modalities).len(), 2);
    files.remove("depth_zbuffer/merom/point_2_view_0_domain_depth_zbuffer.png");
    let error = Dataset::open(files.root(), &Layout::Folders, &modalities).unwrap_err();
    assert!(error.to_string().contains("merom/point_2_view_0"), "{error}");
}

#[test]
fn modalities_may_share_a_folder() {
    let (files, modalities) = bts();
    let all = open(files.root(), None, &modalities);
    assert_eq!(ids(&all), ["bath/00000", "kitchen/00045"]);
    assert_eq!([0, 1].map(|index| number(&all, index)), [1, 0]);
    let listed = open(files.root(), Some("train_files"), &modalities);
    assert_eq!(ids(&listed), ["kitchen/00045", "bath/00000"]);
    assert_eq!(
        listed.samples().get(0).unwrap().paths[1],
        files.path("./kitchen/sync_depth_00045.png")
    );
    assert_eq!(number(&listed, 0), 0);
}

#[test]
fn files_that_differ_in_their_extension_alone_pair_up() {
    let files = Files::new();
    place(&files, 3, "data/train/a_out/1.jpg", "data/train/a_out/1.png");
    files.write("data/train.csv", b"data/train/a_out/1.jpg,data/train/a_out/1.png\r\n");
    let modalities =
        [named(rgb(), ".", "", ".jpg"), named(depth(Interpolation::Nearest), ".", "", ".png")];
    let dataset = open(files.root(), Some("data/train"), &modalities);
    assert_eq!(ids(&dataset), ["data/train/a_out/1"]);
    assert_eq!(number(&dataset, 0), 3);
    // So do columns, whatever the names are.
    let dataset = open(files.root(), Some("data/train"), &columns([".", "."], [1, 2]));
    assert_eq!(ids(&dataset), ["data/train/a_out/1"]);
    assert_eq!(dataset.samples().get(0).unwrap().paths[1], files.path("data/train/a_out/1.png"));
}

#[test]
fn columns_pair_files_of_any_name() {
    let files = Files::new();
    place(&files, 0, "rgb/1305.175.png", "depth/1305.160.png");
    place(&files, 1, "rgb/1305.211.png", "depth/1305.226.png");
    let write = |text: &str| files.write("associations.txt", text.as_bytes());
    let open = |at| {
        let modalities = columns(["rgb", "depth"], at);
        Dataset::open(files.root(), &Layout::of(Some("associations")), &modalities)
    };
    write(
        "1305.211 rgb/1305.211.png 1305.226 depth/1305.226.png\n1305.175 rgb/1305.175.png 1305.160 /depth/1305.160.png\r\n",
    );
    let dataset = open([2, 4]).unwrap();
    assert_eq!(ids(&dataset), ["1305.211", "1305.175"]);
    assert_eq!([0, 1].map(|index| number(&dataset, index)), [1, 0]);
    assert_eq!(dataset.samples().get(1).unwrap().paths[1], files.path("depth/1305.160.png"));
    // Paths from the folders do, too.
    write("1305.175.png\t1305.160.png");
    let dataset = open([1, 2]).unwrap();
    assert_eq!(ids(&dataset), ["1305.175"]);
    assert_eq!(dataset.samples().get(0).unwrap().paths[1], files.path("depth/1305.160.png"));
    let error = |text, at| {
        write(text);
        open(at).unwrap_err().to_string()
    };
    let text = error("rgb/1305.175.png depth/1305.160.png", [1, 3]);
    assert!(text.contains("line 1 has 2") && text.contains("`column`"), "{text}");
    let text = error("rgb/1305.175.png depth/0.png", [1, 2]);
    assert!(text.contains("`depth`: 1 sample without a file:\n  1305.175"), "{text}");
    let twice = "rgb/1305.175.png depth/1305.160.png\nrgb/1305.175.png depth/1305.226.png";
    let text = error(twice, [1, 2]);
    assert!(text.contains("`1305.175` (lines 1 and 2)"), "{text}");
    assert!(error("# nothing", [1, 2]).contains("names no sample"));
    files.write("depth/depth/1305.160.png", b"");
    let text = error("rgb/1305.175.png depth/1305.160.png", [1, 2]);
    assert!(
        text.contains("line 1: `depth/1305.160.png`") && text.contains("`folder: .`"),
        "{text}"
    );
}

#[test]
fn packs_hold_them_by_pattern() {
    let (files, modalities) = bts();
    let kinds = [("rgb_*".to_owned(), Kind::Color), ("sync_depth_*".to_owned(), Kind::Depth)];
    let by_hand = find_folders(files.root(), &kinds.into()).unwrap();
    let of_recipe = folders_of(&modalities).unwrap();
    for folders in [by_hand, of_recipe] {
        let names: Vec<&str> = folders.iter().map(|folder| folder.folder.as_str()).collect();
        assert_eq!(names, ["rgb_*", "sync_depth_*"]);
        let options = Options { folders, shrink: None, skip_bad: false, replace: true, threads: 1 };
        let out = files.path("all.pack");
        create(files.root(), &out, &options, |_, _| {}, &AtomicBool::new(false)).unwrap();
        for split in [None, Some("train_files")] {
            let (folder, pack) =
                (open(files.root(), split, &modalities), open(&out, split, &modalities));
            assert_eq!(ids(&folder), ids(&pack));
            for index in 0..2 {
                assert_eq!(folder.decode(index).unwrap(), pack.decode(index).unwrap());
            }
        }
        assert_eq!(multimae_data::packed::Pack::open(&out).unwrap().notices(), [""; 0]);
    }
    let absent = find_folders(files.root(), &[("b_*".to_owned(), Kind::Color)].into());
    assert!(absent.unwrap_err().to_string().contains("`b_*`"));
    let error = folders_of(&columns(["rgb", "depth"], [1, 2])).unwrap_err().to_string();
    assert!(error.contains("column 1") && error.contains("`rgb`"), "{error}");
}

#[test]
fn doctor_examines_patterns() {
    let (files, _) = bts();
    let kinds = [("rgb_*".to_owned(), Kind::Color), ("sync_depth_*".to_owned(), Kind::Depth)];
    let options =
        doctor::Options { kinds: kinds.into(), per_metre: Some(1000.0), ..Default::default() };
    let examine = || doctor::examine(files.root(), &options, |_, _| {}).unwrap();
    let report = examine();
    assert_eq!((report.parts.len(), report.parts[0].samples), (1, 2));
    assert_eq!(report.parts[0].lists["train_files"], 2);
    let codes: Vec<&str> = report.findings().map(|found| found.code).collect();
    assert!(!codes.contains(&"missing_file") && !codes.contains(&"unknown_sample"), "{codes:?}");
    files.remove("bath/sync_depth_00000.png");
    assert!(examine().findings().any(|found| found.code == "missing_file"));
}

#[test]
fn facts_tell_changed_files_apart() {
    let (files, modalities) = bts();
    let facts = || open(files.root(), None, &modalities).facts().unwrap();
    let before = facts();
    assert_eq!(before.difference(&facts()), None);
    files.write("kitchen/sync_depth_00045.png", b"other");
    assert!(matches!(before.difference(&facts()), Some(DataDifference::Sizes(_))));
    place(&files, 2, "bath/rgb_00001.jpg", "bath/sync_depth_00001.png");
    assert!(matches!(before.difference(&facts()), Some(DataDifference::Samples(_))));
}

#[test]
fn rules_are_kept_where_modalities_are_written_down() {
    let plain = serde_json::to_value(rgb()).unwrap();
    assert!(plain.get("naming").is_none(), "records of before keep their form");
    let modality = &bts().1[1];
    let text = serde_json::to_string(modality).unwrap();
    assert_eq!(&serde_json::from_str::<DataModality>(&text).unwrap(), modality);
}
