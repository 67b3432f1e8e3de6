//! Tar shards by webdataset and GNU tar, whole and damaged.

use std::path::{Path, PathBuf};

use fs_err as fs;
use multimae_data::doctor::{DataSetReport, Finding, Options, Report, Severity, examine};
use multimae_data::{DataModality, Dataset, Encoding, IMAGENET_MEAN, IMAGENET_STD, Layout};
use tempfile::TempDir;

use crate::{ERROR, finding};

/// A folder that `tests/fixtures/shards/make.py` wrote, in a place where an index may be written.
fn copied(name: &str) -> (TempDir, PathBuf) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shards").join(name);
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join(name);
    copy(&from, &to);
    (dir, to)
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

fn examined(root: &Path) -> Report {
    examine(root, &Options::default(), |_, _| {}).unwrap()
}

fn only(report: &Report) -> &DataSetReport {
    let [part] = &report.parts[..] else { panic!("{} parts", report.parts.len()) };
    part
}

/// The severity and the code of every finding that is no note.
fn codes(report: &Report) -> Vec<(Severity, &'static str)> {
    let bad = report.findings().filter(|found| found.severity > Severity::Note);
    bad.map(|found| (found.severity, found.code)).collect()
}

/// Opens shards as training does, which writes their index.
fn open(root: &Path) {
    let rgb = DataModality::new("rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
    Dataset::open(root, &Layout::Folders, &[rgb]).unwrap();
}

/// The findings about the values themselves: those that files of the same bytes have, too.
fn of_values(report: &Report, place: &str) -> Vec<Finding> {
    let found = report.findings().filter(|found| found.place == place).cloned();
    found.map(|found| Finding { place: String::new(), ..found }).collect()
}

#[test]
fn every_layout_has_the_report_of_the_files() {
    let (_dir, root) = copied("files");
    let files = examined(&root);
    assert_eq!(only(&files).layout, "folders of files");
    for (name, color, layout) in [
        ("webdataset", "jpg", "tar shards in WebDataset's layout: 2"),
        ("folders", "rgb", "tar shards in a folder per modality, as 4M's: 6 in 3"),
        ("classes", "rgb", "tar shards in a folder per modality, as 4M's: 6 in 3"),
    ] {
        let (_dir, root) = copied(name);
        let report = examined(&root);
        let part = only(&report);
        assert_eq!((part.layout.as_str(), part.samples), (layout, 6), "{name}");
        for (folder, own) in [("depth", "depth"), ("rgb", color), ("semseg", "semseg")] {
            let of = |part: &DataSetReport, folder| {
                part.folders.iter().find(|known| known.name == folder).unwrap().clone()
            };
            let mut found = of(part, own);
            folder.clone_into(&mut found.name);
            assert_eq!(found, of(only(&files), folder), "{name}: {folder}");
            assert_eq!(of_values(&report, own), of_values(&files, folder), "{name}: {folder}");
        }
        assert_eq!(codes(&report), codes(&files), "{name}");
        // The doctor writes nothing.
        let index = finding(&report, "missing_index");
        assert_eq!(index.severity, Severity::Note);
        let folder = if name == "classes" { "rgb_tar" } else { "rgb" };
        let folder = if name == "webdataset" { root.clone() } else { root.join(folder) };
        assert!(!folder.join("shards.index").exists(), "{name}");
    }
}

#[test]
fn splits_and_fields_that_are_not_read_are_described() {
    let (_dir, root) = copied("webdataset");
    fs::rename(root.join("train-000001.tar"), root.join("val-000000.tar")).unwrap();
    let report = examined(&root);
    let part = only(&report);
    let lists: Vec<(&str, usize)> = part.lists.iter().map(|(l, n)| (l.as_str(), *n)).collect();
    assert_eq!(lists, [("train", 3), ("val", 3)]);
    assert_eq!(finding(&report, "other_fields").examples, ["cls (6)", "json (6)"]);
    // A list of that name counts more.
    fs::write(root.join("val.txt"), "b/0003\nb/0009\n").unwrap();
    let report = examined(&root);
    assert_eq!(only(&report).lists["val"], 2);
    assert_eq!(finding(&report, "unknown_sample").examples, ["b/0009"]);
    // Folders of splits are parts.
    fs::create_dir_all(root.join("test")).unwrap();
    fs::create_dir_all(root.join("train")).unwrap();
    fs::rename(root.join("val-000000.tar"), root.join("test/0.tar")).unwrap();
    fs::rename(root.join("train-000000.tar"), root.join("train/0.tar")).unwrap();
    let report = examined(&root);
    let parts: Vec<(&str, usize)> =
        report.parts.iter().map(|part| (part.name.as_str(), part.samples)).collect();
    assert_eq!(parts, [("test", 3), ("train", 3)]);
}

#[test]
fn pictures_of_several_formats_are_one_modality_unless_a_sample_has_both() {
    let dir = tempfile::tempdir().unwrap();
    let picture = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        crate::rgb(1).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let (jpg, png) = (picture(image::ImageFormat::Jpeg), picture(image::ImageFormat::Png));
    let folders = |members: &[(&str, &[u8])]| -> Vec<(String, usize)> {
        write_tar(&dir.path().join("a.tar"), members);
        let report = examined(dir.path());
        only(&report).folders.iter().map(|folder| (folder.name.clone(), folder.files)).collect()
    };
    assert_eq!(folders(&[("x.jpg", &jpg), ("y.png", &png)]), [("jpg;png".to_owned(), 2)]);
    assert_eq!(
        folders(&[("x.jpg", &jpg), ("x.png", &png)]),
        [("jpg".to_owned(), 1), ("png".to_owned(), 1)]
    );
}

#[test]
fn a_cut_or_missing_shard_does_not_hide_the_others() {
    let (_dir, root) = copied("folders");
    let cut = root.join("depth/shard-00001.tar");
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(root.join("semseg/shard-00000.tar")).unwrap();
    let report = examined(&root);
    let broken = finding(&report, "unreadable_shard");
    assert_eq!((broken.severity, broken.count), (ERROR, 1));
    assert!(broken.examples[0].contains("depth/shard-00001.tar (it ends"), "{broken:?}");
    assert_eq!(finding(&report, "missing_shard").examples, ["semseg/shard-00000.tar"]);
    let mut lacking: Vec<(&str, &[String])> = report
        .findings()
        .filter(|found| found.code == "missing_file")
        .map(|found| (found.place.as_str(), &found.examples[..]))
        .collect();
    lacking.sort_unstable();
    let ids = |ids: [&str; 3]| ids.map(str::to_owned).to_vec();
    assert_eq!(
        lacking,
        [
            ("depth", &ids(["b/0003", "b/0004", "b/0005"])[..]),
            ("semseg", &ids(["a/0000", "a/0001", "a/0002"])[..])
        ]
    );
    assert_eq!(only(&report).samples, 6);
    // A tar that is compressed is named with the command that unpacks it.
    fs::write(&cut, b"\x1f\x8b\x08\0").unwrap();
    let broken = finding(&examined(&root), "unreadable_shard");
    assert!(broken.examples[0].contains("gunzip"), "{broken:?}");
}

#[test]
fn a_file_that_cannot_be_decoded_is_named_by_its_shard() {
    let (_dir, root) = copied("webdataset");
    let path = root.join("train-000001.tar");
    let mut bytes = fs::read(&path).unwrap();
    let png = b"\x89PNG\r\n\x1a\n";
    let at = bytes.windows(png.len()).position(|part| part == png).unwrap();
    bytes[at + 1] = b'X';
    fs::write(&path, bytes).unwrap();
    let found = finding(&examined(&root), "unreadable");
    assert_eq!((found.severity, found.count), (ERROR, 1));
    assert!(found.examples[0].contains("train-000001.tar/b/0003."), "{found:?}");
}

#[test]
fn indexes_that_are_older_than_shards_or_damaged_are_named() {
    let (_dir, root) = copied("webdataset");
    open(&root);
    let has = |code: &str| examined(&root).findings().any(|found| found.code == code);
    assert!(!has("missing_index") && !has("stale_index"), "it is as it should be");
    let index = root.join("shards.index");
    let whole = fs::read(&index).unwrap();
    // A shard that came later.
    fs::copy(root.join("train-000001.tar"), root.join("train-000002.tar")).unwrap();
    let found = finding(&examined(&root), "stale_index");
    assert!(found.examples[0].ends_with("shards.index (1 shards)"), "{found:?}");
    // Its samples are those of another one.
    let twice = finding(&examined(&root), "repeated_sample");
    assert_eq!((twice.severity, twice.count), (ERROR, 3));
    assert!(
        twice.examples[0].starts_with("b/0003 (") && twice.examples[0].contains("train-000002")
    );
    fs::remove_file(root.join("train-000002.tar")).unwrap();
    assert!(!has("stale_index") && !has("repeated_sample"));
    // Damage, which its checksum tells.
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&index, &damaged).unwrap();
    assert!(finding(&examined(&root), "stale_index").examples[0].contains("(2 shards)"));
    assert_eq!(fs::read(&index).unwrap(), damaged, "the doctor writes nothing");
}

#[test]
fn another_order_and_other_counts_than_stated_are_named() {
    let (_dir, root) = copied("folders");
    let path = root.join("depth/shard-00000.tar");
    let mut members = Vec::new();
    let mut archive = tar::Archive::new(fs::File::open(&path).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        members.push((name, bytes));
    }
    members.reverse();
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    write_tar(&path, &members);
    let moved = finding(&examined(&root), "order_of_keys");
    assert_eq!((moved.severity, moved.count), (Severity::Note, 1));

    let (_dir, root) = copied("webdataset");
    let info = r#"{"splits": {"train": {"num_samples": 7, "filenames":
        ["train-000000.tar", "train-000001.tar"], "shard_lengths": [3, 4]}}}"#;
    fs::write(root.join("_info.json"), info).unwrap();
    let found = finding(&examined(&root), "shard_info");
    assert_eq!(found.severity, ERROR);
    assert!(
        found.message.contains("has 3 samples") && found.message.contains("states 4"),
        "{found:?}"
    );
    fs::write(root.join("_info.json"), "{").unwrap();
    let found = finding(&examined(&root), "shard_info");
    assert!(found.message.contains("not a list of splits"), "{found:?}");
}

/// A tar of some members, by the tar library.
fn write_tar(path: &Path, members: &[(&str, &[u8])]) {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    fs::write(path, builder.into_inner().unwrap()).unwrap();
}
