//! ADE20K.

use super::*;

fn scratch() -> Scratch {
    Scratch::new("ade20k", "ADEChallengeData2016")
}

#[test]
fn files_are_kept_and_paired_by_the_published_recipe() {
    let scratch = scratch();
    let summary = scratch.prepare().unwrap();
    assert_eq!((summary.outcome, summary.frames, summary.written), (Outcome::Complete, 3, 3));
    has_note(&summary, &["train has 2 frames, and the release has 20210", "excerpt"]);
    assert_eq!(scratch.text("train.txt"), "ADE_train_00000001\nADE_train_00000002\n");
    assert_eq!(scratch.text("val.txt"), "ADE_val_00000001\n");
    assert!(scratch.text("classes.txt").starts_with("0 other\n1 thing 1, also 1\n"));
    let source = scratch.path("ADEChallengeData2016/images/training/ADE_train_00000002.jpg");
    let kept = scratch.out().join("rgb/ADE_train_00000002.jpg");
    assert_eq!(fs::read(kept).unwrap(), fs::read(source).unwrap());
    // The keys of the published recipe: 0 is ignored, classes count from 0.
    let semseg = modality("semseg", Encoding::labels(150, Some(255), -1));
    let dataset = scratch.open("train", &[color(), semseg]);
    let stored = |at: i64| (at / 16 / 4 * 5 + at % 16 / 4 + 7 * 2) % 151;
    let expected: Vec<i64> =
        (0..16 * 12).map(|at| if stored(at) == 0 { 255 } else { stored(at) - 1 }).collect();
    assert_eq!(values(&dataset, "ADE_train_00000002", "semseg"), expected);
    let manifest = scratch.manifest();
    assert_eq!(manifest["label_names"]["150"], "thing 150, also 150");
    assert_eq!(manifest["source"]["files"], 6);
    assert_eq!(manifest["statistics"]["train"]["frames"], 2);
    let mean = manifest["statistics"]["train"]["rgb_mean"][0].as_f64().unwrap();
    assert!((0.1..0.9).contains(&mean), "{mean}");
}

#[cfg(unix)]
#[test]
fn files_take_their_space_once() {
    use std::os::unix::fs::MetadataExt as _;
    let scratch = scratch();
    scratch.prepare().unwrap();
    let source = scratch.path("ADEChallengeData2016/annotations/validation/ADE_val_00000001.png");
    let kept = scratch.out().join("semseg/ADE_val_00000001.png");
    assert_eq!(fs::metadata(source).unwrap().ino(), fs::metadata(kept).unwrap().ino());
}

#[test]
fn the_parent_folder_may_be_given() {
    let mut scratch = scratch();
    scratch.options = OptionValues::default().with_file("data", scratch.dir.path());
    assert_eq!(scratch.prepare().unwrap().frames, 3);
}

#[test]
fn the_full_release_is_refused() {
    let scratch = scratch();
    let data = scratch.path("ADEChallengeData2016");
    fs::write(data.join("index_ade20k.pkl"), []).unwrap();
    scratch.fails(&["full ADE20K", "ADEChallengeData2016.zip"]);
    assert_eq!(recognise(&data), []);
    fs::remove_file(data.join("index_ade20k.pkl")).unwrap();
    fs::write(data.join("images/training/ADE_train_00000001_seg.png"), []).unwrap();
    scratch.fails(&["full ADE20K", "_seg.png"]);
}

#[test]
fn coloured_annotations_and_foreign_ids_are_refused() {
    let mut scratch = scratch();
    scratch.overwrite = true;
    let path = scratch.path("ADEChallengeData2016/annotations/training/ADE_train_00000001.png");
    image::RgbImage::new(16, 12).save(&path).unwrap();
    scratch.fails(&["ADE_train_00000001", "those of the full ADE20K are coloured"]);
    image::GrayImage::from_pixel(16, 12, image::Luma([151])).save(&path).unwrap();
    scratch.fails(&["ADE_train_00000001", "151"]);
}

#[test]
fn frames_without_a_partner_are_named() {
    let scratch = scratch();
    let data = scratch.path("ADEChallengeData2016");
    fs::remove_file(data.join("annotations/training/ADE_train_00000002.png")).unwrap();
    scratch.fails(&["1 without an annotation: ADE_train_00000002"]);
    scratch.fails(&["images/training"]);
}

#[test]
fn a_changed_source_is_noticed_and_overwriting_removes_what_is_gone() {
    let mut scratch = scratch();
    scratch.prepare().unwrap();
    let data = scratch.path("ADEChallengeData2016");
    for file in
        ["images/training/ADE_train_00000002.jpg", "annotations/training/ADE_train_00000002.png"]
    {
        fs::remove_file(data.join(file)).unwrap();
    }
    scratch.fails(&["names and sizes of the files", "overwrite"]);
    scratch.overwrite = true;
    assert_eq!(scratch.prepare().unwrap().frames, 2);
    assert!(!scratch.out().join("rgb/ADE_train_00000002.jpg").exists());
    assert!(scratch.out().join("rgb/ADE_train_00000001.jpg").exists());
}

#[test]
fn a_damaged_table_of_classes_is_named() {
    let scratch = scratch();
    let path = scratch.path("ADEChallengeData2016/objectInfo150.txt");
    fs::write(&path, "Idx\tName\n1\twall\n3\tsky\n").unwrap();
    scratch.fails(&["objectInfo150.txt", "class 2"]);
    fs::remove_file(&path).unwrap();
    let summary = scratch.prepare().unwrap();
    has_note(&summary, &["no objectInfo150.txt"]);
    assert!(!scratch.out().join("classes.txt").exists());
}
