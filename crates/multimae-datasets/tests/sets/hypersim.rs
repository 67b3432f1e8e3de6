//! Hypersim.

use super::*;

/// One scene with the usual camera, and one whose camera is shifted and tilted.
const FRAMES: [(&str, &str); 3] = [
    ("train", "ai_001_001_cam_00_0000"),
    ("train", "ai_001_001_cam_00_0001"),
    ("val", "ai_002_001_cam_00_0000"),
];

fn scratch() -> Scratch {
    Scratch::new("hypersim", "hypersim")
}

fn modalities() -> Vec<DataModality> {
    let labels = modality("semseg", Encoding::labels(41, None, 0));
    vec![color(), numbers("depth", 1), labels, numbers("mask_valid", 1)]
}

#[test]
fn values_are_those_of_an_independent_computation() {
    let scratch = scratch();
    let summary = scratch.prepare().unwrap();
    assert_eq!((summary.outcome, summary.frames), (Outcome::Complete, 3));
    has_note(&summary, &["16 x 12 pixels, the published ones 1024 x 768"]);
    has_note(&summary, &["frames left out that are not in the public release: 1"]);
    for (list, frame) in FRAMES {
        let dataset = scratch.open(list, &modalities());
        let of = |map: &str| expected("hypersim", frame, map);
        assert_eq!(values(&dataset, frame, "depth"), of("depth"), "{frame}");
        assert_eq!(values(&dataset, frame, "semseg"), of("labels"), "{frame}");
        let mask: Vec<i64> = of("depth").iter().map(|&d| if d > 0 { 255 } else { 0 }).collect();
        assert_eq!(values(&dataset, frame, "mask_valid"), mask);
        let rgb = values(&dataset, frame, "rgb");
        let most = rgb.iter().zip(of("rgb")).map(|(a, b)| (a - b).abs()).max().unwrap();
        assert!(most <= 1, "{frame}: {most}");
    }
    assert!(
        scratch.text("frames.csv").contains("ai_002_001_cam_00_0000,val,ai_002_001,cam_00,0\n")
    );
    assert!(scratch.text("classes.txt").starts_with("0 void\n1 wall\n2 floor\n"));
    assert!(!scratch.out().join("test.txt").exists());
    let manifest = scratch.manifest();
    assert_eq!(manifest["camera"], "scene");
    assert_eq!(manifest["color"], "hdf5");
    assert_eq!(manifest["cameras"]["file"], "metadata_camera_parameters.csv");
}

#[test]
fn one_focal_length_is_said_and_wrong_for_a_tilted_camera() {
    let mut scratch = scratch();
    scratch.options = scratch.options.clone().with_choice("camera", "one-focal");
    fs::remove_file(scratch.path("hypersim/metadata_camera_parameters.csv")).unwrap();
    let summary = scratch.prepare().unwrap();
    has_note(&summary, &["one focal length", "--camera scene"]);
    let depth = |list: &str, frame: &str| {
        values(&scratch.open(list, &[numbers("depth", 1)]), frame, "depth")
    };
    let [(list, usual), _, (other_list, tilted)] = FRAMES;
    assert_eq!(depth(list, usual), expected("hypersim", usual, "depth"));
    assert_ne!(depth(other_list, tilted), expected("hypersim", tilted, "depth"));
}

#[test]
fn tables_are_asked_for() {
    let mut scratch = scratch();
    fs::remove_file(scratch.path("hypersim/metadata_camera_parameters.csv")).unwrap();
    scratch.fails(&["metadata_camera_parameters.csv", "--cameras FILE", "--camera one-focal"]);
    let split = "metadata_images_split_scene_v1.csv";
    fs::rename(scratch.path("hypersim").join(split), scratch.path("split.csv")).unwrap();
    scratch.fails(&[split, "--split FILE"]);
    let cameras = fixtures().join("hypersim/metadata_camera_parameters.csv");
    scratch.options = scratch
        .options
        .clone()
        .with_file("split", scratch.path("split.csv"))
        .with_file("cameras", cameras);
    assert_eq!(scratch.prepare().unwrap().frames, 3);
}

#[test]
fn previews_are_kept_where_there_is_no_radiance() {
    let scratch = scratch();
    for scene in ["ai_001_001", "ai_002_001"] {
        let folder = format!("hypersim/{scene}/images/scene_cam_00_final_hdf5");
        fs::remove_dir_all(scratch.path(&folder)).unwrap();
    }
    scratch.prepare().unwrap();
    assert_eq!(scratch.manifest()["color"], "preview");
    let name = "frame.0000.tonemap.jpg";
    let source = scratch.path("hypersim/ai_001_001/images/scene_cam_00_final_preview").join(name);
    let kept = scratch.out().join("rgb/ai_001_001_cam_00_0000.jpg");
    assert_eq!(fs::read(kept).unwrap(), fs::read(source).unwrap());
    assert!(scratch.manifest()["statistics"]["train"]["rgb_mean"][0].as_f64().unwrap() > 0.1);
}

#[test]
fn normals_have_y_down_and_z_forward() {
    let mut scratch = scratch();
    scratch.options = scratch.options.clone().with_flag("normals");
    scratch.prepare().unwrap();
    let dataset = scratch.open("val", &[numbers("normal", 3)]);
    let normal = values(&dataset, FRAMES[2].1, "normal");
    let stored = |value: f64| ((value + 1.0) / 2.0 * 255.0).round() as i64;
    let pixels = 16 * 12;
    let first = [0, pixels, 2 * pixels].map(|at| normal[at]);
    // Stored: (0.1, 0.3, sqrt(0.9)), y up and z towards the viewer.
    assert_eq!(first, [stored(0.1), stored(-0.3), stored(-(0.9_f64.sqrt()))]);
}

#[test]
fn incomplete_and_damaged_frames_are_told_apart() {
    let scratch = scratch();
    let geometry = scratch.path("hypersim/ai_001_001/images/scene_cam_00_geometry_hdf5");
    fs::remove_file(geometry.join("frame.0001.semantic.hdf5")).unwrap();
    let summary = scratch.prepare().unwrap();
    assert_eq!(summary.frames, 2);
    has_note(
        &summary,
        &["frames left out without their semantic.hdf5: 1 (ai_001_001_cam_00_0001)"],
    );
    let scratch = Scratch { overwrite: true, ..scratch };
    let depth = geometry.join("frame.0000.depth_meters.hdf5");
    let bytes = fs::read(&depth).unwrap();
    fs::write(&depth, &bytes[..bytes.len() / 2]).unwrap();
    scratch.fails(&["frame.0000.depth_meters.hdf5"]);
    fs::copy(geometry.join("frame.0000.normal_cam.hdf5"), &depth).unwrap();
    scratch.fails(&["[12, 16, 3]", "expected (height, width)"]);
}

#[test]
fn labels_may_be_absent() {
    let scratch = scratch();
    for (scene, frames) in [("ai_001_001", 2), ("ai_002_001", 1)] {
        for frame in 0..frames {
            let folder = format!("hypersim/{scene}/images/scene_cam_00_geometry_hdf5");
            let file = format!("frame.{frame:04}.semantic.hdf5");
            fs::remove_file(scratch.path(&folder).join(file)).unwrap();
        }
    }
    let summary = scratch.prepare().unwrap();
    has_note(&summary, &["no semseg/ is written"]);
    assert!(!scratch.out().join("semseg").exists());
}
