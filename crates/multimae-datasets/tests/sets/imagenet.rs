//! ImageNet with pseudo labels.

use super::*;

fn scratch() -> Scratch {
    let mut scratch = Scratch::new("imagenet-multitask", "imagenet_multitask");
    copy_tree(&fixtures().join("imagenet"), &scratch.path("imagenet"));
    scratch.options = scratch.options.clone().with_file("imagenet", scratch.path("imagenet"));
    scratch
}

#[test]
fn photographs_and_pseudo_labels_pair_up() {
    let scratch = scratch();
    let summary = scratch.prepare().unwrap();
    assert_eq!((summary.outcome, summary.frames), (Outcome::Complete, 5));
    has_note(&summary, &["images left out without files of every task: 1 (n01440764_1)"]);
    let semseg = modality("semseg", Encoding::labels(133, None, 0));
    let modalities = [color(), numbers("depth", 1), semseg];
    let open =
        |split| Dataset::open(&scratch.out().join(split), &Layout::Folders, &modalities).unwrap();
    let (train, val) = (open("train"), open("val"));
    assert_eq!((train.len(), val.len()), (3, 2));
    let pixels = |value: fn(i64, i64) -> i64| -> Vec<i64> {
        (0..16 * 12).map(|at| value(at / 16, at % 16)).collect()
    };
    let id = "n01443537/n01443537_1";
    assert_eq!(values(&train, id, "depth"), pixels(|row, col| 500 * row + 300 * col + 501));
    assert_eq!(values(&train, id, "semseg"), pixels(|row, col| (row + col + 1) % 133));
    let id = "n01440764/ILSVRC2012_val_00000000";
    assert_eq!(values(&val, id, "depth"), pixels(|row, col| 500 * row + 300 * col + 1000));
    let manifest = scratch.manifest();
    assert_eq!((&manifest["lists"]["train"], &manifest["lists"]["val"]), (&3.into(), &2.into()));
    assert_eq!(manifest["state"], "complete");
}

#[test]
fn a_stopped_call_resumes_and_truncated_files_are_written_again() {
    let scratch = scratch();
    assert_eq!(scratch.prepare_until(1).unwrap().outcome, Outcome::Stopped);
    let file = scratch.out().join("train/depth/n01440764/n01440764_0.png");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..9]).unwrap();
    let resumed = scratch.prepare().unwrap();
    assert_eq!((resumed.outcome, resumed.frames), (Outcome::Complete, 5));
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let again = scratch.prepare().unwrap();
    assert_eq!((again.outcome, again.frames), (Outcome::CompleteBefore, 5));
}

#[test]
fn damaged_and_compressed_tars_are_named() {
    let scratch = scratch();
    let tar = scratch.path("imagenet_multitask/val/depth_tar/n01440764.tar");
    let bytes = fs::read(&tar).unwrap();
    fs::write(&tar, &bytes[..700]).unwrap();
    scratch.fails(&["n01440764.tar", "download it again"]);
    fs::write(&tar, [0x1f, 0x8b, 8, 0]).unwrap();
    scratch.fails(&["n01440764.tar", "gunzip"]);
    // The rest of the work is kept when the tar is whole again.
    fs::write(&tar, bytes).unwrap();
    let summary = scratch.prepare().unwrap();
    assert_eq!((summary.outcome, summary.frames), (Outcome::Complete, 5));
    assert!(summary.written < 5, "{}", summary.written);
}

#[test]
fn photographs_in_one_folder_are_refused() {
    let scratch = scratch();
    let val = scratch.path("imagenet/val");
    fs::remove_dir_all(&val).unwrap();
    fs::create_dir(&val).unwrap();
    fs::write(val.join("ILSVRC2012_val_00000001.JPEG"), []).unwrap();
    scratch.fails(&["sort them into classes first"]);
    fs::remove_dir_all(&val).unwrap();
    scratch.fails(&["no folder `val`"]);
}

#[test]
fn labels_of_another_data_set_are_refused() {
    let scratch = scratch();
    let folder = scratch.path("imagenet_multitask/train/semseg_tar");
    fs::remove_file(folder.join("n01440764.tar")).unwrap();
    fs::create_dir(folder.join("n01440764")).unwrap();
    let label = |value| {
        let path = folder.join("n01440764/n01440764_0.png");
        image::GrayImage::from_pixel(16, 12, image::Luma([value])).save(path).unwrap();
    };
    label(140);
    scratch.fails(&["label 140", "0 to 132"]);
    label(255);
    let scratch = Scratch { overwrite: true, ..scratch };
    assert_eq!(scratch.prepare().unwrap().frames, 5);
}
