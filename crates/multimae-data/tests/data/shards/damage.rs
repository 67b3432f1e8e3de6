//! Shards that cannot be used, and indexes that do not fit: each is named, with the remedy.

use std::io::Write as _;
use std::path::Path;

use multimae_data::shards::INDEX_FILE;
use multimae_data::{Dataset, Layout};

use super::{bytes, copied, fixture, ids, modalities, open, says, write_tar};
use crate::files::rgb;

fn opened(root: &Path) -> String {
    Dataset::open(root, &Layout::Folders, &[rgb()]).unwrap_err().to_string()
}

/// The error of a tar of these members.
fn refused(members: &[(&str, &[u8])]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.tar");
    write_tar(&path, members);
    let error = opened(&path);
    assert!(error.contains("one.tar"), "{error}");
    error
}

#[test]
fn cut_shards_are_named_with_the_member() {
    let (_dir, path) = copied("python_gnu.tar");
    let whole = fs_err::read(&path).unwrap();
    // All members, and no mark of the end.
    let members = (whole.iter().rposition(|&byte| byte != 0).unwrap() + 1).next_multiple_of(512);
    for at in [1, 300, 512, 700, 1024 + 700, 2048 + 200, whole.len() / 2, members - 1, members] {
        fs_err::write(&path, &whole[..at]).unwrap();
        let error = says(&path);
        assert!(error.contains("python_gnu.tar") && !error.contains("panicked"), "{at}: {error}");
        if at > 512 {
            assert!(error.contains("cut"), "{at}: {error}");
        }
    }
    fs_err::write(&path, &whole[..2048 + 200]).unwrap();
    let member = opened(&path);
    assert!(member.contains("a/0000.rgb.jpg` of 743 bytes"), "{member}");
    fs_err::write(&path, b"").unwrap();
    assert!(says(&path).contains("it is empty"));
    fs_err::write(&path, [7; 2000]).unwrap();
    assert!(says(&path).contains("not a tar"));
    let mut changed = whole.clone();
    changed[2 * 512 + 5] ^= 1;
    fs_err::write(&path, changed).unwrap();
    let error = says(&path);
    assert!(error.contains("header at byte 1024 is damaged"), "{error}");
    let two = [whole.clone(), whole].concat();
    fs_err::write(&path, two).unwrap();
    assert!(says(&path).contains("--concatenate"));
}

#[test]
fn compressed_and_sparse_shards_are_refused_with_the_remedy() {
    let (_dir, path) = copied("python_gnu.tar");
    let gz = path.with_file_name("x.tar.gz");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&fs_err::read(&path).unwrap()).unwrap();
    let compressed = encoder.finish().unwrap();
    fs_err::write(&gz, &compressed).unwrap();
    let error = opened(&gz);
    assert!(error.contains("by gzip") && error.contains("gunzip '"), "{error}");
    fs_err::write(&path, &compressed).unwrap();
    let error = opened(&path);
    assert!(error.contains("python_gnu.tar.gz"), "{error}");
    for name in ["sparse_gnu.tar", "sparse_pax.tar"] {
        let (_dir, path) = copied(name);
        let error = opened(&path);
        assert!(error.contains("sparse file") && error.contains(name), "{error}");
    }
}

#[test]
fn keys_that_break_the_rule_are_explained() {
    let jpg = bytes("rgb/a/0000.jpg");
    let error = refused(&[("a.jpg", &jpg), ("b.jpg", &jpg), ("a.png", &jpg)]);
    assert!(error.contains("sample `a` are not adjacent") && error.contains("--sort=name"));
    let error = refused(&[("a.jpg", &jpg), ("a.jpg", &jpg)]);
    assert!(error.contains("sample `a` has the field `jpg` twice") && error.contains("first dot"));
    let error = refused(&[("frame.0001.jpg", &jpg), ("frame.0002.jpg", &jpg)]);
    assert!(error.contains("0001.jpg 0002.jpg") && error.contains("first dot"), "{error}");
    let names: Vec<String> = (0..100).map(|at| format!("frame.{at:04}.jpg")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &b"x"[..])).collect();
    let error = refused(&members);
    assert!(error.contains("more than 64 fields") && error.contains("frame_0001.jpg"), "{error}");
    let error = refused(&[("a.heic", &jpg)]);
    assert!(error.contains("no samples"), "{error}");
    let error = refused(&[("a.exr", &jpg), ("a.depth.png", &jpg)]);
    assert!(error.contains("read: depth.png; others: exr"), "{error}");
}

#[test]
fn shards_of_modalities_have_to_fit() {
    let (_dir, root) = copied("folders");
    fs_err::remove_file(root.join("depth/shard-00001.tar")).unwrap();
    let error = says(&root);
    assert!(error.contains("no shard shard-00001.tar of `depth`"), "{error}");
    let error = says(&root.join("[rgb,depth,semseg]/shard-{00000..00001}.tar"));
    assert!(error.contains("no shard shard-00001.tar of `depth`"), "{error}");
    fs_err::remove_dir_all(root.join("depth")).unwrap();
    assert!(says(&root).contains("no folder `depth`"));
    fs_err::create_dir(root.join("depth")).unwrap();
    assert!(says(&root).contains("are in shards, and"));
    // Other keys, and another order of the same ones.
    let (_dir, root) = copied("folders");
    let png = |name: &str| bytes(&format!("depth/a/{name}.png"));
    let (first, second, third) = (png("0000"), png("0001"), png("0002"));
    let write = |members: &[(&str, &[u8])]| {
        write_tar(&root.join("depth/shard-00000.tar"), members);
    };
    write(&[("a/0000.png", &first), ("a/0001.png", &second), ("a/0009.png", &third)]);
    let error = says(&root);
    assert!(error.contains("`depth`: 1 sample without") && error.contains("a/0002 in "), "{error}");
    assert!(error.contains("other modalities do not have") && error.contains("a/0009"), "{error}");
    write(&[("a/0001.png", &second), ("a/0000.png", &first), ("a/0002.png", &third)]);
    let data = open(&root);
    super::assert_same(&open(&fixture("files")), &data);
    let notices = data.notices().join("\n");
    assert!(notices.contains("another order") && notices.contains("`a/0000`"), "{notices}");
}

#[test]
fn samples_are_named_once() {
    let (_dir, root) = copied("webdataset");
    fs_err::copy(root.join("train-000000.tar"), root.join("train-000002.tar")).unwrap();
    let error = says(&root);
    assert!(error.contains("train-000002.tar: its sample `a/0000` is in"), "{error}");
    let twice = format!("{0}::{0}", root.join("train-000000.tar").display());
    assert!(says(twice.as_ref()).contains("named twice"));
    assert!(says(&root.join("train-{000000..000003}.tar")).contains("no shard"));
}

#[test]
fn a_bad_file_is_an_error_of_its_sample_and_shard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.tar");
    write_tar(&path, &[("a.jpg", &bytes("rgb/a/0000.jpg")), ("b.jpg", b"\xff\xd8\xff")]);
    let data = Dataset::open(&path, &Layout::Folders, &[rgb()]).unwrap();
    assert!(data.decode(0).is_ok());
    let error = data.decode(1).unwrap_err();
    assert!(error.is_bad_sample());
    let error = error.to_string();
    assert!(error.contains("sample `b`") && error.contains("one.tar"), "{error}");
}

#[test]
fn an_index_follows_its_shards() {
    let (_dir, root) = copied("webdataset");
    let index = root.join(INDEX_FILE);
    assert_eq!(ids(&open(&root.join("train-000000.tar"))).len(), 3);
    let first = fs_err::read(&index).unwrap();
    // Further shards are added, and those that are there are not read again.
    assert_eq!(open(&root).len(), 6);
    let both = fs_err::read(&index).unwrap();
    assert!(both.len() > first.len());
    // A damaged index is made again.
    fs_err::write(&index, &both[..both.len() / 2]).unwrap();
    assert_eq!(open(&root).len(), 6);
    assert_eq!(fs_err::read(&index).unwrap(), both);
    // A shard that is replaced is scanned again, one that changes under a run is an error.
    let data = open(&root);
    let jpg = bytes("rgb/a/0000.jpg");
    let path = root.join("train-000001.tar");
    let (png, labels) = (bytes("depth/a/0000.png"), bytes("semseg/a/0000.png"));
    write_tar(&path, &[("n.jpg", &jpg), ("n.depth.png", &png), ("n.semseg.png", &labels)]);
    let error = data.decode(5).unwrap_err().to_string();
    assert!(error.contains("changed after the index") && error.contains("b/0005"), "{error}");
    assert_eq!(ids(&open(&root)), ["a/0000", "a/0001", "a/0002", "n"]);
    // Where it cannot be written, it is kept in memory.
    fs_err::remove_file(&index).unwrap();
    fs_err::create_dir(&index).unwrap();
    let data = Dataset::open(&root, &Layout::Folders, &modalities()).unwrap();
    assert!(data.decode(3).is_ok());
    let notices = data.notices().join("\n");
    assert!(notices.contains("could not be written"), "{notices}");
}
