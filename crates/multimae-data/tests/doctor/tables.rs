//! Tables by `datasets`, whole and damaged.

use std::path::{Path, PathBuf};

use fs_err as fs;
use multimae_data::doctor::{Kind, Options, Report, Severity, Values, examine};
use tempfile::TempDir;

use crate::{ERROR, finding};

/// The folder that `tests/parquet/fixtures/make.py` wrote.
fn copied() -> (TempDir, PathBuf) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet/fixtures/hub/data");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("hub");
    fs::create_dir_all(root.join("data")).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), root.join("data").join(entry.file_name())).unwrap();
    }
    (dir, root)
}

fn options() -> Options {
    let kinds = [("segmentation", Kind::Labels), ("small", Kind::Labels)];
    let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind));
    Options { kinds: kinds.into(), per_metre: Some(1000.0), ..Options::default() }
}

fn examined(root: &Path) -> Report {
    examine(root, &options(), |_, _| {}).unwrap()
}

#[test]
fn columns_splits_and_rows_are_described() {
    let (_dir, root) = copied();
    let report = examined(&root);
    let [part] = &report.parts[..] else { panic!("one part") };
    assert_eq!(part.layout, "parquet tables: 3 files, 4 row groups, 7 rows");
    assert_eq!(part.samples, 7);
    let lists: Vec<(&str, usize)> = part.lists.iter().map(|(l, n)| (l.as_str(), *n)).collect();
    assert_eq!(lists, [("train", 5), ("val", 2)]);
    let folders: Vec<(&str, Kind, usize)> =
        part.folders.iter().map(|f| (f.name.as_str(), f.kind, f.files)).collect();
    assert_eq!(
        folders,
        [
            ("depth", Kind::Depth, 7),
            ("depth_image", Kind::Depth, 7),
            ("float_image", Kind::Depth, 7),
            ("image", Kind::Color, 7),
            ("pixels", Kind::Other, 7),
            ("rgb", Kind::Color, 7),
            ("segmentation", Kind::Labels, 7),
            ("small", Kind::Labels, 7),
        ]
    );
    let sizes: Vec<&String> = part.folders[0].sizes.keys().collect();
    assert_eq!(sizes, ["4 x 6"]);
    // Colours as floats are no pictures, in training either.
    let wrong = report.findings().find(|found| found.code == "not_a_picture").unwrap();
    assert_eq!((wrong.place.as_str(), wrong.count), ("rgb", 7));
    let others = finding(&report, "other_columns");
    assert_eq!(
        (others.severity, &others.examples[..]),
        (Severity::Note, &["scene (3 classes)".to_owned(), "title (texts)".to_owned()][..])
    );
    // A value has no file whose extension could be wrong.
    assert!(report.findings().all(|found| found.code != "misnamed"));
}

#[test]
fn values_are_those_of_the_table() {
    let (_dir, root) = copied();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet/fixtures/expected.json");
    let expected: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut least, mut greatest) = (f64::INFINITY, 0.0_f64);
    for split in ["train", "val"] {
        for row in expected["hub"]["splits"][split].as_array().unwrap() {
            for line in row["depth_image"].as_array().unwrap() {
                for value in line.as_array().unwrap() {
                    least = least.min(value.as_f64().unwrap());
                    greatest = greatest.max(value.as_f64().unwrap());
                }
            }
        }
    }
    let report = examined(&root);
    let depth = report.parts[0].folders.iter().find(|folder| folder.name == "depth_image").unwrap();
    let Values::Depth { min, max, .. } = depth.values else { panic!("{:?}", depth.values) };
    assert!((min - least / 1000.0).abs() < 1e-4, "{min} and {least}");
    assert!((max - greatest / 1000.0).abs() < 1e-4, "{max} and {greatest}");
}

#[test]
fn a_picture_that_cannot_be_decoded_is_named_by_its_row() {
    let (_dir, root) = copied();
    let path = root.join("data/val-00000-of-00001.parquet");
    let mut bytes = fs::read(&path).unwrap();
    let png = b"\x89PNG\r\n\x1a\n";
    let at = bytes.windows(png.len()).position(|part| part == png).unwrap();
    bytes[at + 1] = b'X';
    fs::write(&path, bytes).unwrap();
    let found = finding(&examined(&root), "unreadable");
    assert_eq!((found.severity, found.count), (ERROR, 1));
    assert!(found.examples[0].contains("val-00000-of-00001.parquet/val-00000 ("), "{found:?}");
}

#[test]
fn missing_files_of_a_split_and_files_that_are_no_tables_are_errors() {
    let (_dir, root) = copied();
    let path = root.join("data/train-00001-of-00002.parquet");
    let bytes = fs::read(&path).unwrap();
    let says = || examine(&root, &options(), |_, _| {}).unwrap_err().to_string();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(says().contains("train-00001-of-00002.parquet"), "{}", says());
    fs::remove_file(&path).unwrap();
    assert!(says().contains("of 2 shards, 00001 are missing"), "{}", says());
}

#[test]
fn rows_without_a_value_lack_a_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet/fixtures/none.parquet");
    let report = examine(&path, &Options::default(), |_, _| {}).unwrap();
    let missing = report.findings().find(|found| found.code == "missing_file").unwrap();
    assert_eq!(
        (missing.place.as_str(), &missing.examples[..]),
        ("maybe", &["kitchen/3".to_owned()][..])
    );
}
