//! SUN RGB-D.

use super::*;

const FRAMES: [(&str, &str); 3] = [
    ("train", "kv1/NYUdata/NYU0000"),
    ("train", "kv2/kinect2data/000001_2014-05-26_rgbf-resize"),
    ("test", "xtion/sun3ddata/room/room_2"),
];

fn scratch() -> Scratch {
    Scratch::new("sunrgbd", "sunrgbd")
}

#[test]
fn depth_is_turned_back_and_labels_are_found_by_their_paths() {
    let scratch = scratch();
    let summary = scratch.prepare().unwrap();
    assert_eq!((summary.outcome, summary.frames), (Outcome::Complete, 3));
    has_note(&summary, &["NYU Depth V2 is part of this, 1 in train and 0 in test"]);
    let labels = modality("label37", Encoding::labels(38, None, 0));
    let modalities = [color(), numbers("depth", 1), labels, numbers("mask_valid", 1)];
    for (list, frame) in FRAMES {
        let dataset = scratch.open(list, &modalities);
        let of = |map: &str| expected("sunrgbd", frame, map);
        assert_eq!(values(&dataset, frame, "depth"), of("depth"), "{frame}");
        assert_eq!(values(&dataset, frame, "label37"), of("labels"), "{frame}");
        let mask: Vec<i64> = of("depth").iter().map(|&d| if d > 0 { 255 } else { 0 }).collect();
        assert_eq!(values(&dataset, frame, "mask_valid"), mask);
    }
    assert_eq!(scratch.text("test.txt"), "xtion/sun3ddata/room/room_2\n");
    assert!(scratch.text("classes.txt").ends_with("37 bag\n"), "{}", scratch.text("classes.txt"));
    let kept = scratch.out().join("rgb/kv1/NYUdata/NYU0000.jpg");
    let source = scratch.path("sunrgbd/SUNRGBD/kv1/NYUdata/NYU0000/image/NYU0000.jpg");
    assert_eq!(fs::read(kept).unwrap(), fs::read(source).unwrap());
}

#[test]
fn filled_depth_and_no_labels_are_options() {
    let mut scratch = scratch();
    fs::remove_dir_all(scratch.path("sunrgbd/SUNRGBDtoolbox/Metadata")).unwrap();
    scratch.fails(&["SUNRGBDMeta.mat is missing", "--no-labels"]);
    scratch.options = scratch.options.clone().with_choice("depth", "filled").with_flag("no-labels");
    scratch.prepare().unwrap();
    assert!(!scratch.out().join("label37").exists());
    let dataset = scratch.open("train", &[numbers("depth", 1)]);
    let (_, frame) = FRAMES[0];
    assert_eq!(values(&dataset, frame, "depth"), expected("sunrgbd", frame, "filled"));
}

#[test]
fn missing_parts_are_named() {
    let mut scratch = scratch();
    let box_folder = scratch.path("sunrgbd/SUNRGBDtoolbox");
    fs::rename(&box_folder, scratch.path("box")).unwrap();
    scratch.fails(&["allsplit.mat", "--toolbox DIR"]);
    scratch.options = scratch.options.clone().with_file("toolbox", scratch.path("box"));
    fs::remove_dir_all(scratch.path("sunrgbd/SUNRGBD/kv1")).unwrap();
    let summary = scratch.prepare().unwrap();
    assert_eq!(summary.frames, 2);
    has_note(&summary, &["frames left out that are not on disk: 1 (kv1/NYUdata/NYU0000)"]);
    let scratch = Scratch { overwrite: true, ..scratch };
    let depth = scratch.path("sunrgbd/SUNRGBD/xtion/sun3ddata/room/room_2/depth");
    fs::remove_dir_all(&depth).unwrap();
    scratch.fails(&["room_2/depth", "no such folder"]);
    fs::create_dir(&depth).unwrap();
    scratch.fails(&["0 files .png"]);
}

#[test]
fn damaged_tables_are_errors() {
    let scratch = scratch();
    for file in
        ["traintestSUNRGBD/allsplit.mat", "Metadata/SUNRGBDMeta.mat", "Metadata/SUNRGBD2Dseg.mat"]
    {
        let path = scratch.path("sunrgbd/SUNRGBDtoolbox").join(file);
        let bytes = fs::read(&path).unwrap();
        for cut in [4, 100, bytes.len() / 2] {
            fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
            // A cut may spare what is read; it never ends otherwise than in an error or in success.
            if let Err(error) = scratch.prepare() {
                assert!(error.to_string().contains(".mat"), "{error}");
            }
        }
        fs::write(&path, b"text").unwrap();
        scratch.fails(&[file.rsplit('/').next().unwrap()]);
        fs::write(&path, bytes).unwrap();
    }
}
