//! Splits of shards, and what files beside them state.

use super::{copied, ids, open, says, split};

#[test]
fn splits_are_lists_files_of_splits_or_parts_of_names() {
    let (_dir, root) = copied("webdataset");
    fs_err::rename(root.join("train-000001.tar"), root.join("val-000000.tar")).unwrap();
    assert_eq!(ids(&split(&root, "val").unwrap()), ["b/0003", "b/0004", "b/0005"]);
    assert_eq!(ids(&split(&root, "train").unwrap()), ["a/0000", "a/0001", "a/0002"]);
    let all = open(&root);
    assert_eq!(all.len(), 6);
    let notices = all.notices().join("\n");
    assert!(notices.contains("train (1), val (1) are all used"), "{notices}");
    let error = split(&root, "test").unwrap_err().to_string();
    assert!(error.contains("no split `test`") && error.contains("train, val"), "{error}");
    // A list comes first, and has its own order.
    fs_err::write(root.join("val.txt"), "b/0004\na/0001.jpg\n").unwrap();
    assert_eq!(ids(&split(&root, "val").unwrap()), ["b/0004", "a/0001"]);
    fs_err::write(root.join("val.txt"), "b/0004\nb/0009\n").unwrap();
    let error = split(&root, "val").unwrap_err().to_string();
    assert!(error.contains("b/0009"), "{error}");
}

#[test]
fn statements_about_shards_are_used_and_checked() {
    let (_dir, root) = copied("webdataset");
    let info = |samples: u64, second: u64, name: &str| {
        let text = format!(
            r#"{{"splits": {{"validation": {{"name": "validation", "num_samples": {samples},
                "filenames": ["train-000000.tar"], "shard_lengths": [3]}},
                "train": {{"name": "train", "filenames": ["{name}"],
                "shard_lengths": [{second}], "alt_label": ""}}}}}}"#
        );
        fs_err::write(root.join("_info.json"), text).unwrap();
    };
    info(3, 3, "train-000001.tar");
    assert_eq!(ids(&split(&root, "validation").unwrap()), ["a/0000", "a/0001", "a/0002"]);
    assert_eq!(ids(&split(&root, "train").unwrap()), ["b/0003", "b/0004", "b/0005"]);
    info(4, 3, "train-000001.tar");
    let error = split(&root, "validation").unwrap_err().to_string();
    assert!(error.contains("states 4 samples") && error.contains("_info.json"), "{error}");
    info(3, 5, "train-000001.tar");
    let error = split(&root, "train").unwrap_err().to_string();
    assert!(error.contains("train-000001.tar: it has 3 samples") && error.contains("states 5"));
    info(3, 3, "train-000009.tar");
    let error = split(&root, "train").unwrap_err().to_string();
    assert!(error.contains("lists train-000009.tar"), "{error}");
    fs_err::write(root.join("_info.json"), "{\"splits\": 3}").unwrap();
    assert!(says(&root).contains("as timm has it"));
    fs_err::remove_file(root.join("_info.json")).unwrap();
    let list = r#"{"__kind__": "wids-shard-index-v1", "shardlist": [
        {"url": "http://x/train-000001.tar", "nsamples": 3, "filesize": 17}]}"#;
    fs_err::write(root.join("index.json"), list).unwrap();
    let error = says(&root);
    assert!(error.contains("states 17") && error.contains("index.json"), "{error}");
}

/// The classes are part of the ids, also where the members already have their folder.
#[test]
fn shards_of_classes_are_listed_by_class() {
    let (_dir, root) = copied("classes");
    fs_err::write(root.join("some.txt"), "b/0005\na/0000\n").unwrap();
    assert_eq!(ids(&split(&root, "some").unwrap()), ["b/0005", "a/0000"]);
}
