//! Names, lists, masks and notices of every copy.

use fs_err as fs;

use crate::scratch::Scratch;

#[test]
fn official_ids_and_lists_are_those_of_the_copy_that_has_them() {
    let scratch = Scratch::new("bts_official");
    let summary = scratch.prepare_copy().unwrap();
    assert_eq!(
        summary.notes,
        [
            "this is NYU Depth V2, the copy of BTS (official_splits, raw depth): 2 frames: test 1, \
             train 1",
            "`test` has 1 of the 654 frames of the official split: scores on it are not comparable \
             with published ones",
            "`train` has 1 of the 795 frames of the official split: scores on it are not \
             comparable with published ones",
            "mask_valid is 0 outside of rows 7 to 473 and columns 7 to 631: the colours of this \
             copy are black outside",
            "no labels are written, since the copy has none that are known",
        ]
    );
    let lists = ["train", "train_fit", "test"].map(|list| scratch.text(&format!("{list}.txt")));
    assert_eq!(lists, ["0003\n", "0003\n", "0001\n"]);
    assert_eq!(
        scratch.text("frames.csv"),
        "id,list,scene,scene_type,source\n0003,train_fit,,office,train/office/rgb_00002.jpg\n\
         0001,test,,kitchen,test/kitchen/rgb_00000.jpg\n"
    );
    let manifest = scratch.manifest();
    assert_eq!(manifest["dataset"], "NYU Depth V2, the copy of BTS (official_splits, raw depth)");
    assert_eq!(manifest["official_lists"], serde_json::json!(["test", "train"]));
    assert_eq!(
        (&manifest["names"], &manifest["state"]),
        (&"official ids, from 1".into(), &"complete".into())
    );
    assert_eq!(
        (&manifest["depth_unit"], &manifest["source"]["files"]),
        (&"millimetre".into(), &4.into())
    );
    assert!(manifest["depth_from"].as_str().unwrap().contains("cut off"));
    // Valid are pixels inside of the border with depth.
    let valid = scratch.values("mask_valid", "0001");
    let expected = (0..480 * 640).map(|at| {
        let (row, column) = (at / 640, at % 640);
        let inside = (7..474).contains(&row) && (40..632).contains(&column);
        if inside { 255 } else { 0 }
    });
    assert!(valid.into_iter().eq(expected));
}

#[test]
fn numbers_that_are_not_official_are_names() {
    let scratch = Scratch::new("bts_official");
    // Frame 2 is one of the test split.
    for (from, to) in
        [("rgb_00002.jpg", "rgb_00001.jpg"), ("sync_depth_00002.png", "sync_depth_00001.png")]
    {
        let folder = scratch.copy.join("train/office");
        fs::rename(folder.join(from), folder.join(to)).unwrap();
    }
    let summary = scratch.prepare_copy().unwrap();
    let notes = summary.notes.join("\n");
    assert!(notes.contains("`train` is a list of this copy, not of the official split"), "{notes}");
    assert!(notes.contains("not official ids of the lists"), "{notes}");
    assert_eq!(scratch.text("train.txt"), "train_office_00001\n");
    assert_eq!(scratch.manifest()["official_lists"], serde_json::json!([]));
}

#[test]
fn lists_and_names_of_other_copies_are_their_own() {
    let prepared = |copy| {
        let scratch = Scratch::new(copy);
        let notes = scratch.prepare_copy().unwrap().notes.join("\n");
        (scratch, notes)
    };
    let (scratch, notes) = prepared("densedepth");
    assert_eq!(scratch.text("train.txt"), "office_0003_out_37\n");
    assert_eq!(scratch.text("test.txt"), "0001\n");
    assert!(
        scratch
            .text("frames.csv")
            .contains("\noffice_0003_out_37,train,office_0003,,data/nyu2_train/")
    );
    assert_eq!(scratch.manifest()["official_lists"], serde_json::json!(["test"]));
    assert!(notes.contains("steps of 39.2 mm"), "{notes}");

    let (scratch, notes) = prepared("mtan");
    assert_eq!(
        (scratch.text("train.txt"), scratch.text("val.txt")),
        ("train_0000\n".into(), "val_0000\n".into())
    );
    assert_eq!(scratch.text("classes.txt").lines().nth(12).unwrap(), "12 wall");
    assert!(notes.contains("does not state the official ids"), "{notes}");
    assert!(notes.contains("`val` is a list of this copy"), "{notes}");
    assert_eq!(scratch.manifest()["width"], 384);
    assert!(notes.contains("it does not state its axes"), "{notes}");
    assert!(scratch.manifest()["normals"].as_str().unwrap().contains("signs of the copy"));

    let (scratch, notes) = prepared("fastdepth");
    assert_eq!(scratch.text("val.txt"), "official_00001\n");
    assert!(notes.contains("taken for names"), "{notes}");
    assert!(
        scratch
            .text("frames.csv")
            .contains("office_0003_out_00001,train,office_0003,,train/office")
    );

    for (copy, unit) in [("eigen_test", "metres"), ("eigen_test_scaled", "tens of metres")] {
        let (scratch, notes) = prepared(copy);
        assert_eq!(scratch.text("test.txt"), "eigen_0000\neigen_0001\n");
        assert!(
            notes.contains(&format!("its depths are taken for {unit}, by their values")),
            "{notes}"
        );
        let valid = scratch.values("mask_valid", "eigen_0000");
        assert_eq!(valid.iter().filter(|&&value| value > 0).count(), 440 * 592);
        assert_eq!(
            [valid[20 * 640 + 24], valid[459 * 640 + 615], valid[460 * 640 + 615]],
            [255, 255, 0]
        );
    }
}

#[test]
fn a_copy_may_lack_normals_and_a_folder_is_not_continued_with_them() {
    let scratch = Scratch::new("mtan");
    let whole = scratch.dir.path().join("whole");
    for list in ["train", "val"] {
        fs::create_dir_all(whole.join(list)).unwrap();
        fs::rename(scratch.copy.join(list).join("normal"), whole.join(list).join("normal"))
            .unwrap();
    }
    let notes = scratch.prepare_copy().unwrap().notes.join("\n");
    assert!(notes.contains("this copy has no surface normals"), "{notes}");
    assert!(!scratch.out().join("normal").exists());
    assert!(scratch.manifest()["normals"].is_null());
    for list in ["train", "val"] {
        fs::rename(whole.join(list).join("normal"), scratch.copy.join(list).join("normal"))
            .unwrap();
    }
    scratch.fails(&["surface normals: none there", "(n + 1) / 2 * 255"]);
}

#[test]
fn a_random_split_is_warned_of() {
    let scratch = Scratch::new("parquet_pictures");
    let notes = scratch.prepare_copy().unwrap().notes.join("\n");
    for list in ["train", "val", "test"] {
        assert!(notes.contains(&format!("`{list}` is a list of this copy")), "{notes}");
    }
    assert!(notes.contains("its split is random"), "{notes}");
    assert!(notes.contains("no labels are written"), "{notes}");
    let lists = ["train", "val", "test"].map(|list| scratch.text(&format!("{list}.txt")));
    assert_eq!(lists, ["train_3\n", "val_3\n", "test_1\n"]);
    assert_eq!(scratch.manifest()["official_lists"], serde_json::json!([]));
    let table = scratch.text("frames.csv");
    assert!(
        table.contains("\ntest_1,test,,,data/test-00000-of-00001.parquet row 0 of test\n"),
        "{table}"
    );
}

#[test]
fn a_list_of_bts_says_which_frames_are_read() {
    let scratch = Scratch::new("bts_sync");
    let list = scratch.copy.join("nyudepthv2_train_files_with_gt.txt");
    let scene = scratch.copy.join("kitchen_0028b");
    let pair = ["rgb_00045.jpg", "sync_depth_00045.png"];
    for (name, other) in pair.iter().zip(["rgb_00046.jpg", "sync_depth_00046.png"]) {
        fs::copy(scene.join(name), scene.join(other)).unwrap();
    }
    let notes = scratch.prepare_copy().unwrap().notes.join("\n");
    assert!(notes.contains("1 frames of the folder are not on it"), "{notes}");
    assert_eq!(scratch.text("train.txt"), "kitchen_0028b_00045\n");

    let text = fs::read_to_string(&list).unwrap();
    fs::write(
        &list,
        format!("{text}/attic_0001/rgb_00000.jpg /attic_0001/sync_depth_00000.png 518.8579\n"),
    )
    .unwrap();
    scratch.fails(&["nyudepthv2_train_files_with_gt.txt", "line 2: /attic_0001"]);

    fs::remove_file(&list).unwrap();
    let other = Scratch { copy: scratch.copy.clone(), dir: tempfile::tempdir().unwrap() };
    let notes = other.prepare_copy().unwrap().notes.join("\n");
    assert!(notes.contains("all frames are on the list"), "{notes}");
    assert_eq!(other.text("train.txt"), "kitchen_0028b_00045\nkitchen_0028b_00046\n");
    fs::remove_file(scene.join("sync_depth_00046.png")).unwrap();
    scratch.fails(&["1 files have no partner", "kitchen_0028b/rgb_00046.jpg"]);
}
