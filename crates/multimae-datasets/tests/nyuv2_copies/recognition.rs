//! Copies are recognised, and options and folders that do not fit are named.

use fs_err as fs;
use multimae_data::doctor;
use multimae_datasets::{OptionValues, Outcome, recognise};

use crate::scratch::{Scratch, prepared};

#[test]
fn every_copy_is_recognised_as_itself() {
    for (copy, words) in [
        ("fastdepth", "FastDepth (HDF5 files); 2 frames: train 1, val 1"),
        ("mtan", "MTAN (13 classes, 384 x 288, .npy files); 2 frames: train 1, val 1"),
        ("bts_sync", "BTS (sync.zip, raw depth); 1 frames: train 1"),
        ("bts_official", "BTS (official_splits, raw depth); 2 frames: test 1, train 1"),
        ("densedepth", "DenseDepth (nyu_data.zip); 2 frames: test 1, train 1"),
        ("eigen_test", "DenseDepth (nyu_test.zip); 2 frames: test 2"),
        ("parquet_arrays", "MTAN in parquet (tanganke/nyuv2); 2 frames: train 1, val 1"),
        ("parquet_pictures", "(jagennath-hari/nyuv2); 3 frames: test 1, train 1, val 1"),
    ] {
        let scratch = Scratch::new(copy);
        let found = recognise(&scratch.copy);
        assert_eq!(found.len(), 1, "{copy}: {found:?}");
        let text = found[0].to_string();
        assert!(text.contains(words), "{text}");
        let command =
            format!("`multimae prepare nyuv2 --copy {} --out DIR`", scratch.copy.display());
        assert!(text.ends_with(&command), "{text}");
    }
    let scratch = Scratch::new("mat");
    let found = recognise(&scratch.copy.join("nyu_depth_v2_labeled.mat"));
    assert!(found[0].to_string().contains("the official file; prepare it with"), "{found:?}");

    // A prepared folder is no copy, and neither is one of another layout or a single file.
    let prepared = prepared("bts_official");
    let train = prepared.copy.join("train");
    for other in [prepared.out(), train, prepared.out().join("manifest.json"), "/nowhere".into()] {
        assert_eq!(recognise(&other), [], "{}", other.display());
    }
}

#[test]
fn prepared_folders_are_in_order() {
    for copy in [
        "fastdepth",
        "mtan",
        "bts_sync",
        "bts_official",
        "densedepth",
        "eigen_test",
        "parquet_arrays",
    ] {
        let scratch = prepared(copy);
        let report = doctor::examine(&scratch.out(), &doctor::Options::default(), |_, _| {});
        let report = report.unwrap();
        assert!(!report.is_bad(), "{copy}: {report:?}");
    }
}

#[test]
fn paths_that_hold_no_copy_say_what_to_give() {
    let mut scratch = Scratch::new("bts_official");
    let copy = std::mem::replace(&mut scratch.copy, scratch.dir.path().to_owned());
    scratch.fails(&["no copy of NYUv2; give", "bts_official (NYU Depth V2, the copy of BTS"]);
    scratch.copy = copy.join("train");
    scratch.fails(&[
        "no copy of NYUv2 that is known",
        "{train,test}/<type of scene>/",
        "nyu2_train.csv",
        "eigen_test_rgb.npy",
        ".h5",
        "N.npy",
        "MATLAB v7.3",
    ]);
    fs::write(copy.join("train/val-000000.tar"), "").unwrap();
    scratch.fails(&["train/val-000000.tar is an archive", "tar -xf"]);
    scratch.copy = copy.join("nowhere");
    scratch.fails(&["nowhere"]);

    // The files of two copies in one folder.
    scratch.copy = copy;
    fs::write(scratch.copy.join("nyu2_test.csv"), "").unwrap();
    scratch.fails(&["several copies: ", "official_splits", "DenseDepth"]);
}

#[test]
fn options_that_do_not_fit_are_named() {
    let scratch = Scratch::new("bts_official");
    let copy = || OptionValues::default().with_file("copy", &scratch.copy);
    for (options, words) in [
        (OptionValues::default(), "--copy PATH"),
        (copy().with_file("mat", "a.mat"), "--mat FILE"),
        (copy().with_file("splits", "splits.mat"), "--splits belongs to the official file"),
        (copy().with_flag("measured-only"), "--measured-only belongs to the official file"),
    ] {
        let message = scratch.prepare(options).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    let small = Scratch::new("mtan");
    let options =
        OptionValues::default().with_file("copy", &small.copy).with_choice("crop", "eigen");
    let message = small.prepare(options).unwrap_err().to_string();
    assert!(message.contains("384 x 288; ask for no crop"), "{message}");
    assert!(!scratch.out().exists() && !small.out().exists(), "nothing is begun");

    // Masks follow the crop as those of the official file do, here inside of the border.
    scratch.prepare(copy().with_choice("crop", "eigen")).unwrap();
    let valid = scratch.values("mask_valid", "0003").into_iter().filter(|&value| value > 0);
    assert_eq!(valid.count(), 426 * 560);
}

#[test]
fn finished_folders_stay_and_are_of_one_copy() {
    let scratch = Scratch::new("densedepth");
    assert_eq!(scratch.prepare_copy().unwrap().written, 2);
    assert_eq!(scratch.prepare_copy().unwrap().outcome, Outcome::CompleteBefore);
    let bts = Scratch::new("bts_official");
    let options = OptionValues::default().with_file("copy", &bts.copy);
    let message = scratch.prepare(options).unwrap_err().to_string();
    assert!(message.contains("prepared from another data set"), "{message}");
    // Another file of the same copy.
    let train = scratch.copy.join("data/nyu2_train/office_0003_out");
    fs::copy(scratch.copy.join("data/nyu2_test/00000_colors.png"), train.join("37.jpg")).unwrap();
    scratch.fails(&["was prepared otherwise", "files of the copy"]);
}
