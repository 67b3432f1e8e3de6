//! Taskonomy.

use super::*;

fn scratch() -> Scratch {
    Scratch::new("taskonomy", "taskonomy")
}

#[test]
fn files_of_all_tasks_pair_up() {
    let scratch = scratch();
    let summary = scratch.prepare().unwrap();
    assert_eq!((summary.outcome, summary.frames), (Outcome::Complete, 4));
    has_note(&summary, &["buildings left out outside of the tiny split: 1 (elsewhere)"]);
    has_note(&summary, &["that train lacks: 24 ("]);
    assert_eq!(scratch.text("train.txt"), "hanson/point_0_view_0\nhanson/point_1_view_1\n");
    assert_eq!(scratch.text("val.txt"), "darden/point_0_view_0\n");
    assert_eq!(scratch.text("test.txt"), "ihlen/point_0_view_0\n");
    assert!(!scratch.out().join("rgb/elsewhere").exists());
    let tasks = [
        numbers("depth_zbuffer", 1),
        numbers("normal", 3),
        numbers("edge_texture", 1),
        numbers("keypoints3d", 1),
        numbers("mask_valid", 1),
    ];
    let dataset = scratch.open("train", &[&[color()], &tasks[..]].concat());
    let pixels = |value: fn(i64, i64) -> i64| -> Vec<i64> {
        (0..12 * 12).map(|at| value(at / 12, at % 12)).collect()
    };
    let depth =
        pixels(|row, col| if row < 2 && col < 3 { 65535 } else { 512 + 20 * row + 10 * col + 50 });
    let of = |modality: &str| values(&dataset, "hanson/point_1_view_1", modality);
    assert_eq!(of("depth_zbuffer"), depth);
    assert_eq!(of("keypoints3d"), pixels(|row, col| (row * 900 + col * 700 + 4007) % 60000));
    assert_eq!(of("mask_valid"), pixels(|row, col| if row < 2 && col < 3 { 0 } else { 255 }));
    let manifest = scratch.manifest();
    assert_eq!(
        (&manifest["depth_unit"], &manifest["depth_per_metre"]),
        (&"1/512 metre".into(), &512.0.into())
    );
    // 6 pixels of 144 have no surface.
    let valid = manifest["statistics"]["train"]["depth_valid"].as_f64().unwrap();
    assert!((valid - 138.0 / 144.0).abs() < 1e-9, "{valid}");
    let nearest = manifest["statistics"]["val"]["depth_min"].as_f64().unwrap();
    assert!((nearest - (512.0 + 30.0 + 50.0 * 50.0) / 512.0).abs() < 1e-6, "{nearest}");
}

#[test]
fn two_values_are_taken_of_pictures_of_three_channels() {
    let scratch = scratch();
    scratch.prepare().unwrap();
    let select = |name: &str, channels: &[usize]| {
        let mut modality = numbers(name, channels.len());
        modality.rules.select = channels.to_vec();
        modality
    };
    // As the recipes of the published transfer experiments take them.
    let modalities = [select("principal_curvature", &[0, 1]), select("reshading", &[0])];
    let dataset = scratch.open("train", &modalities);
    let grey: Vec<i64> = (0..12 * 12).map(|at| (at / 12 * 3 + at % 12 * 5 + 1) % 256).collect();
    let turned: Vec<i64> = grey.iter().map(|value| 255 - value).collect();
    let of = |modality: &str| values(&dataset, "hanson/point_1_view_1", modality);
    assert_eq!(of("principal_curvature"), [grey.clone(), turned].concat());
    assert_eq!(of("reshading"), grey);
}

#[test]
fn a_missing_mask_is_made_of_depth() {
    let published = scratch();
    published.prepare().unwrap();
    let scratch = scratch();
    fs::remove_dir_all(scratch.path("taskonomy/mask_valid")).unwrap();
    let summary = scratch.prepare().unwrap();
    has_note(&summary, &["there is no mask_valid; it is made of depth_zbuffer"]);
    let mask = |scratch: &Scratch| {
        let dataset = scratch.open("train", &[numbers("mask_valid", 1)]);
        values(&dataset, "hanson/point_0_view_0", "mask_valid")
    };
    assert_eq!(mask(&scratch), mask(&published));
}

#[test]
fn views_that_a_task_lacks_are_left_out_and_counted() {
    let scratch = scratch();
    let lost = "taskonomy/normal/hanson/point_1_view_1_domain_normal.png";
    fs::remove_file(scratch.path(lost)).unwrap();
    let summary = scratch.prepare().unwrap();
    has_note(&summary, &["views left out without a file in `normal`: 1 (hanson/point_1_view_1)"]);
    assert_eq!(scratch.text("train.txt"), "hanson/point_0_view_0\n");
    assert_eq!(scratch.manifest()["left_out"]["normal"], 1);
    fs::remove_dir_all(scratch.path("taskonomy/normal")).unwrap();
    fs::create_dir_all(scratch.path("taskonomy/normal")).unwrap();
    let scratch = Scratch { overwrite: true, ..scratch };
    scratch.fails(&["no view has a file in every task", "`normal` lacks"]);
}

#[test]
fn lists_of_views_replace_the_split() {
    let mut scratch = scratch();
    let list = scratch.path("mine.csv");
    // As published: bare carriage returns.
    fs::write(&list, "building,point,view\relsewhere,0,0\rhanson,1,1\r").unwrap();
    scratch.options = scratch.options.clone().with_file("train-list", &list);
    let summary = scratch.prepare().unwrap();
    assert_eq!(summary.frames, 2);
    assert_eq!(scratch.text("train.txt"), "elsewhere/point_0_view_0\nhanson/point_1_view_1\n");
    assert!(!scratch.out().join("val.txt").exists());
    fs::write(&list, "building,point,view\nhanson,7,7\n").unwrap();
    scratch.overwrite = true;
    scratch.fails(&["--train-list names views without a file", "1 (hanson/point_7_view_7)"]);
    fs::write(&list, "house,point,view\nhanson,7,7\n").unwrap();
    scratch.fails(&["mine.csv", "no column `building`"]);
}

#[test]
fn the_layout_of_omnidata_is_read() {
    let scratch = scratch();
    for task in fs::read_dir(scratch.path("taskonomy")).unwrap() {
        let task = task.unwrap().path();
        let aside = scratch.path("aside");
        fs::rename(&task, &aside).unwrap();
        fs::create_dir(&task).unwrap();
        fs::rename(&aside, task.join("taskonomy")).unwrap();
    }
    assert_eq!(recognise(&scratch.path("taskonomy")).len(), 1);
    assert_eq!(scratch.prepare().unwrap().frames, 4);
}

#[test]
fn foreign_files_are_named() {
    let scratch = scratch();
    fs::write(scratch.path("taskonomy/rgb/hanson/photo.png"), []).unwrap();
    scratch.fails(&["photo.png", "point_<p>_view_<v>_domain_<task>.png"]);
    fs::remove_file(scratch.path("taskonomy/rgb/hanson/photo.png")).unwrap();
    fs::write(scratch.path("taskonomy/rgb/hanson/point_9_view_9_domain_normal.png"), []).unwrap();
    scratch.fails(&["it is of `normal` among files of `rgb`"]);
    fs::remove_dir_all(scratch.path("taskonomy/rgb")).unwrap();
    scratch.fails(&["no folder `rgb`"]);
}
