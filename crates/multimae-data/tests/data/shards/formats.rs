//! Shards by webdataset, GNU tar and Python's tarfile, in every layout.

use multimae_data::{DataModality, Dataset, Layout, has_folder, is_stored};

use super::{assert_same, bytes, copied, fixture, ids, modalities, open, write_tar};
use crate::files::{rgb, semseg};

#[test]
fn every_layout_has_the_samples_of_the_files() {
    let files = open(&fixture("files"));
    assert_eq!(files.len(), 6);
    for layout in ["webdataset", "folders", "classes"] {
        let (_dir, root) = copied(layout);
        assert!(is_stored(&root), "{layout}");
        assert_same(&files, &open(&root));
        // Once more, by the index.
        assert_same(&files, &open(&root));
        for folder in ["rgb", "depth", "semseg"] {
            assert!(has_folder(&root, folder), "{layout}: {folder}");
        }
        assert!(!has_folder(&root, "normal"), "{layout}");
    }
    assert!(!is_stored(&fixture("files")));
}

#[test]
fn expressions_name_shards() {
    let files = open(&fixture("files"));
    let (_dir, root) = copied("webdataset");
    let expression = root.join("train-{000000..000001}.tar");
    assert_same(&files, &open(&expression));
    assert!(is_stored(&expression));
    let both = [root.join("train-000001.tar"), root.join("train-000000.tar")];
    let joined = format!("{}::{}", both[0].display(), both[1].display());
    assert_same(&files, &open(joined.as_ref()));
    assert_eq!(ids(&open(&both[0])), ["b/0003", "b/0004", "b/0005"]);
    let (_dir, root) = copied("folders");
    assert_same(&files, &open(&root.join("[rgb,depth,semseg]/shard-{00000..00001}.tar")));
    // A list of its library.
    let (_dir, root) = copied("webdataset");
    let list = r#"{"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": [
        {"url": "train-000001.tar", "nsamples": 3, "filesize": SIZE}]}"#;
    let size = fs_err::metadata(root.join("train-000001.tar")).unwrap().len();
    let list = list.replace("SIZE", &size.to_string());
    fs_err::write(root.join("half.json"), list).unwrap();
    assert_eq!(ids(&open(&root.join("half.json"))), ["b/0003", "b/0004", "b/0005"]);
}

/// Names of more than 100 bytes, and of other letters, are extensions of each format.
#[test]
fn long_names_of_every_tar_are_read() {
    let files = open(&fixture("files"));
    let long = "a_folder_with_a_long_name/".repeat(5);
    for (tar, prefix) in [
        ("python_gnu.tar", long.clone()),
        ("python_pax.tar", format!("caf\u{e9}/{long}")),
        ("python_ustar.tar", long[26..].to_owned()),
    ] {
        let (_dir, path) = copied(tar);
        let shards = open(&path);
        let expected = [format!("{prefix}a/0000"), format!("{prefix}a/0001")];
        assert_eq!(ids(&shards), expected, "{tar}");
        for index in 0..2 {
            assert_eq!(files.decode(index).unwrap().maps, shards.decode(index).unwrap().maps);
        }
    }
    let (_dir, path) = copied("gnu_tar_pax.tar");
    let shards = Dataset::open(&path, &Layout::Folders, &[rgb()]).unwrap();
    assert_eq!(ids(&shards), ["a/0000", "a/0001", "a/0002"]);
}

/// `image.jpg` with `image.png`: the colours have no name of their own, the labels are asked for by
/// their extension.
#[test]
fn fields_without_names_are_chosen_by_kind_and_extension() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.tar");
    let (jpg, png) = (bytes("rgb/a/0000.jpg"), bytes("semseg/a/0000.png"));
    write_tar(&path, &[("x.JPG", &jpg), ("x.png", &png), ("x.txt", b"a room")]);
    let labels = DataModality { folder: "png".to_owned(), ..semseg(9, None, 0) };
    let both = Dataset::open(&path, &Layout::Folders, &[rgb(), labels]).unwrap();
    let files = open(&fixture("files")).decode(0).unwrap();
    let sample = both.decode(0).unwrap();
    assert_eq!(sample.maps["rgb"], files.maps["rgb"]);
    assert_eq!(sample.maps["semseg"], files.maps["semseg"]);
    // Without a modality that asks for the png, either could be the colours.
    let error = Dataset::open(&path, &Layout::Folders, &[rgb()]).unwrap_err().to_string();
    assert!(error.contains("several files") && error.contains("jpg png; others: txt"), "{error}");
    let error = Dataset::open(&path, &Layout::Folders, &modalities()).unwrap_err().to_string();
    assert!(
        error.contains("`rgb`: 1 sample that other") && error.contains("folder: png"),
        "{error}"
    );
}

/// A folder of files may have archives beside it.
#[test]
fn folders_of_files_stay_folders_of_files() {
    let (_dir, root) = copied("files");
    write_tar(&root.join("rgb.tar"), &[("x.jpg", b"")]);
    assert_eq!(open(&root).len(), 6);
}
