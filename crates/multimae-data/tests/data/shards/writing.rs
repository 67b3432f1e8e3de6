//! Writing shards.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use multimae_data::packed::Outcome;
use multimae_data::shards::{
    INDEX_FILE, ShardLayout, ShardOptions, ShardSize, ShardSummary, write_shards,
};

use super::{assert_same, copied, ids, open, split};

fn options(layout: ShardLayout, size: ShardSize) -> ShardOptions {
    ShardOptions {
        folders: ["rgb", "depth", "semseg"].map(str::to_owned).into(),
        layout,
        size,
        splits: Vec::new(),
        unnamed: None,
    }
}

fn write(root: &Path, out: &Path, options: &ShardOptions) -> multimae_data::Result<ShardSummary> {
    write_shards(root, out, options, |_, _| {}, &AtomicBool::new(false))
}

#[test]
fn written_shards_have_the_samples_of_the_files() {
    let (_dir, files) = copied("files");
    fs_err::write(files.join("some.txt"), "b/0005\na/0001\n").unwrap();
    for layout in [ShardLayout::WebDataset, ShardLayout::Folders] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let summary = write(&files, &out, &options(layout, ShardSize::Samples(4))).unwrap();
        assert_eq!((summary.outcome, summary.samples), (Outcome::Complete, 6));
        assert_eq!(summary.shards, if layout == ShardLayout::Folders { 6 } else { 2 });
        assert_same(&open(&files), &open(&out));
        assert_same(&split(&files, "some").unwrap(), &split(&out, "some").unwrap());
        // Once more: nothing to do; then one that is damaged.
        let again = write(&files, &out, &options(layout, ShardSize::Samples(4))).unwrap();
        assert_eq!(again.kept, summary.shards);
        let shard = match layout {
            ShardLayout::Folders => out.join("rgb/shard-00001.tar"),
            ShardLayout::WebDataset => out.join("shard-00001.tar"),
        };
        fs_err::write(&shard, b"damaged").unwrap();
        let again = write(&files, &out, &options(layout, ShardSize::Samples(4))).unwrap();
        assert_eq!(again.kept, summary.shards - 1);
        assert_same(&open(&files), &open(&out));
        let error = write(&files, &out, &options(layout, ShardSize::Samples(9))).unwrap_err();
        assert!(error.to_string().contains("shard-00001.tar is there and none"), "{error}");
    }
}

#[test]
fn shards_are_bounded_by_bytes() {
    let (_dir, files) = copied("files");
    let dir = tempfile::tempdir().unwrap();
    // A sample has three headers, two blocks of colours, one of depth and one of labels.
    let size = ShardSize::Bytes(2 * 7 * 512);
    let summary = write(&files, dir.path(), &options(ShardLayout::WebDataset, size)).unwrap();
    assert_eq!(summary.shards, 3);
    assert_same(&open(&files), &open(dir.path()));
}

#[test]
fn splits_have_shards_of_their_own() {
    let (_dir, files) = copied("files");
    fs_err::write(files.join("train.txt"), "a/0000\na/0001\nb/0003\n").unwrap();
    fs_err::write(files.join("val.txt"), "b/0004\n").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(ShardLayout::WebDataset, ShardSize::Samples(2));
    options.splits = vec!["train".to_owned(), "val".to_owned()];
    options.unnamed = Some("rgb".to_owned());
    write(&files, dir.path(), &options).unwrap();
    assert_same(&split(&files, "train").unwrap(), &split(dir.path(), "train").unwrap());
    assert_eq!(ids(&split(dir.path(), "val").unwrap()), ["b/0004"]);
    let info = fs_err::read_to_string(dir.path().join("_info.json")).unwrap();
    assert!(info.contains("\"num_samples\": 3") && info.contains("train-00001.tar"), "{info}");
    fs_err::write(files.join("val.txt"), "b/0004\na/0000\n").unwrap();
    let error = write(&files, dir.path(), &options).unwrap_err().to_string();
    assert!(error.contains("`a/0000` is in the list train"), "{error}");
}

#[test]
fn stopped_writing_leaves_whole_shards_and_is_continued() {
    let (_dir, files) = copied("files");
    let dir = tempfile::tempdir().unwrap();
    let options = options(ShardLayout::WebDataset, ShardSize::Samples(2));
    let stop = AtomicBool::new(false);
    let progress = |_, _| stop.store(true, Ordering::Relaxed);
    let summary = write_shards(&files, dir.path(), &options, progress, &stop).unwrap();
    assert_eq!(summary.outcome, Outcome::Stopped);
    let names: Vec<String> = fs_err::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["shard-00000.tar"]);
    let summary = write(&files, dir.path(), &options).unwrap();
    assert_eq!((summary.outcome, summary.kept), (Outcome::Complete, 1));
    assert!(dir.path().join(INDEX_FILE).exists());
    assert_same(&open(&files), &open(dir.path()));
}

#[test]
fn names_that_readers_of_tars_would_cut_are_refused() {
    let (_dir, files) = copied("files");
    fs_err::rename(files.join("rgb/a/0000.jpg"), files.join("rgb/a/frame.0000.jpg")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = options(ShardLayout::WebDataset, ShardSize::Samples(2));
    let error = write(&files, dir.path(), &options).unwrap_err().to_string();
    assert!(error.contains("a/frame.0000") && error.contains("first dot"), "{error}");
    let folders = ShardOptions { layout: ShardLayout::Folders, ..options };
    let error = write(&files, dir.path(), &folders).unwrap_err().to_string();
    assert!(error.contains("without a file"), "{error}");
}
