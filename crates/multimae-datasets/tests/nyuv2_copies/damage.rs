//! Damaged files, and files of another encoding than that of the copy.

use fs_err as fs;
use proptest::prelude::*;

use crate::scratch::Scratch;

/// Replaces a file of a copy, and expects an error with these words.
fn damaged(copy: &str, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>, words: &[&str]) {
    let scratch = Scratch::new(copy);
    let path = scratch.copy.join(file);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, change(bytes)).unwrap();
    scratch.fails(&[words, &[file.rsplit('/').next().unwrap()]].concat());
    assert!(!scratch.out().join("train.txt").exists(), "the folder is not complete");
}

/// Writes a float to a place from the end of a file.
fn with_float(value: f32) -> impl FnOnce(Vec<u8>) -> Vec<u8> {
    move |mut bytes| {
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&value.to_le_bytes());
        bytes
    }
}

#[test]
fn damaged_and_impossible_files_are_named() {
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let depth = "val/depth/0.npy";
    damaged("mtan", depth, with_float(f32::NAN), &["val_0000", "row 287, column 383: depth NaN"]);
    damaged("mtan", depth, with_float(2500.0), &["depth 2500", "other units"]);
    damaged("mtan", depth, half, &["[288, 384, 1]", "copy it again"]);
    let label = "val/label/0.npy";
    damaged("mtan", label, with_float(13.0), &["label 13", "-1 for void"]);
    let image = "val/image/0.npy";
    damaged("mtan", image, with_float(255.0), &["colour 255", "from 0 to 1"]);
    let normal = "val/normal/0.npy";
    damaged("mtan", normal, with_float(127.0), &["val_0000", "row 287, column 383: component 127"]);
    damaged("mtan", normal, half, &["[288, 384, 3]", "copy it again"]);
    let test = "val/official/00001.h5";
    damaged("fastdepth", test, half, &["official_00001"]);
    damaged("fastdepth", test, |_| b"no HDF5".to_vec(), &["not a whole HDF5 file"]);
    let crop = "eigen_test_crop.npy";
    damaged(
        "eigen_test",
        crop,
        |mut bytes| {
            let at = bytes.len() - 8;
            bytes[at] = 255;
            bytes[at + 1] = 255;
            bytes
        },
        &["65535", "first and last row"],
    );
    damaged("eigen_test", "eigen_test_depth.npy", with_float(-1.0), &["eigen_0001", "depth -1"]);
    damaged("eigen_test", "eigen_test_rgb.npy", half, &["copy it again"]);
    let train = "data/nyu2_train/office_0003_out/37.png";
    damaged("densedepth", train, half, &["office_0003_out_37"]);
    damaged(
        "densedepth",
        "data/nyu2_train.csv",
        |_| b"a\r\n".to_vec(),
        &["line 1, a", "1 columns"],
    );
    damaged(
        "densedepth",
        "data/nyu2_test.csv",
        |_| b"a,b\n".to_vec(),
        &["line 1", "there is no", "data/a"],
    );
    damaged("bts_official", "test/kitchen/rgb_00000.jpg", half, &["0001"]);
}

#[test]
fn encodings_of_one_copy_are_not_taken_for_those_of_another() {
    let swap = |copy: &str, from: &str, to: &str, words: &[&str]| {
        let scratch = Scratch::new(copy);
        fs::copy(scratch.copy.join(from), scratch.copy.join(to)).unwrap();
        scratch.fails(&[words, &[to]].concat());
    };
    let (train, test) =
        ("data/nyu2_train/office_0003_out/37.png", "data/nyu2_test/00000_depth.png");
    swap("densedepth", test, train, &["it has 16 bits per pixel", "10 m at 255, have 8"]);
    swap(
        "densedepth",
        train,
        test,
        &["it has 8 bits per pixel", "millimetres of this copy have 16"],
    );
    let (colors, depth) = ("train/office/rgb_00002.jpg", "train/office/sync_depth_00002.png");
    swap("bts_official", colors, depth, &["not a whole PNG file"]);
    let (image, label) = ("val/image/0.npy", "val/label/0.npy");
    swap("mtan", image, label, &["the shape [288, 384, 3], expected [288, 384]"]);

    let scratch = Scratch::new("mtan");
    fs::remove_file(scratch.copy.join("train/label/0.npy")).unwrap();
    scratch.fails(&["train/label/0.npy", "missing"]);
    let scratch = Scratch::new("mtan");
    fs::remove_file(scratch.copy.join("train/normal/0.npy")).unwrap();
    scratch.fails(&["train/normal/0.npy", "missing", "remove the folder"]);
    let scratch = Scratch::new("bts_official");
    fs::remove_file(scratch.copy.join(depth)).unwrap();
    scratch.fails(&["rgb_00002.jpg", "no partner"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_headers_never_panic(places in prop::collection::vec((0_usize..2400, any::<u8>()), 1..12)) {
        for (copy, file) in [("fastdepth", "val/official/00001.h5"), ("mtan", "val/depth/0.npy")] {
            let scratch = Scratch::new(copy);
            let mut bytes = fs::read(scratch.copy.join(file)).unwrap();
            for &(at, value) in &places {
                bytes[at] = value;
            }
            fs::write(scratch.copy.join(file), bytes).unwrap();
            // Damage in a value that stays possible goes unnoticed.
            let _ = scratch.prepare_copy();
        }
    }
}
