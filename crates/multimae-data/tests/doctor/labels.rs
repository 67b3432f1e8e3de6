//! Labels with a value for void, and classes that are stored far apart.

use super::*;

/// Data whose labels are one array per file, in a folder that does not say how many classes there
/// are.
fn data<T: npyz::AutoSerialize + Copy>(label: impl Fn(usize) -> T) -> Data {
    let data = Data::without_lists();
    fs::remove_dir_all(data.path("label40")).unwrap();
    fs::create_dir(data.path("semseg")).unwrap();
    for file in 1..=SAMPLES as usize {
        let pixels = (WIDTH * HEIGHT) as usize;
        let labels: Vec<T> = (0..pixels).map(|pixel| label(pixel + file)).collect();
        write_array(&data.path(&format!("semseg/{file:04}.npy")), &labels);
    }
    data
}

fn cycle<T: npyz::AutoSerialize + Copy>(labels: &[T]) -> Data {
    data(|pixel| labels[pixel % labels.len()])
}

fn warned(data: &Data, code: &str, key: &str) {
    let found = data.finds(&[(WARNING, code, "semseg")]);
    assert!(found[0].message.contains(&format!("modalities.semseg.{key}`")), "{found:?}");
}

#[test]
fn the_largest_value_of_a_type_is_void() {
    let code = "largest_void";
    warned(&cycle(&[0_u16, 1, 2, 3, 4, 5, 65535]), code, "ignore=65535");
    warned(&cycle(&[0_i16, 1, 2, 3, 4, 5, 32767]), code, "ignore=32767");
    warned(&cycle(&[0_i32, 1, 2, 3, 4, 5, i32::MAX]), code, "ignore=2147483647");
    warned(&cycle(&[0_i64, 1, 2, i64::from(u32::MAX)]), code, "ignore=4294967295");
    warned(&cycle(&[0_i32, 1, 2, 3, 65535]), code, "ignore=65535");
    warned(&cycle(&[-1_i8, 0, 1, 2, 3]), "negative_void", "ignore=-1");
    // Training of labels ignores 255 anyway.
    let data = cycle(&[0_u8, 1, 2, 3, 4, 5, 255]);
    data.finds(&[]);
    let note = finding(&data.examine(), "largest_void");
    assert!(note.message.contains("`modalities.semseg.ignore=255`"), "{note:?}");
    // A label that is given by hand is known.
    let mut data = cycle(&[0_u16, 1, 2, 3, 4, 5, 65535]);
    data.options.ignore = Some(65535);
    data.finds(&[]);
    // Other values than the one that is given are still beyond the classes.
    data.options.ignore = Some(-1);
    data.options.max_label = Some(5);
    data.finds(&[(ERROR, "label_out_of_range", "semseg")]);
}

#[test]
fn two_values_for_void_are_one_too_many() {
    for labels in [[-2_i32, -1, 0, 1, 2], [0, 1, 2, 255, 65535]] {
        let found = cycle(&labels).examine();
        let outside = finding(&found, "label_out_of_range");
        assert_eq!(outside.severity, Severity::Error);
    }
}

#[test]
fn few_values_far_apart_are_listed() {
    let code = "values_apart";
    warned(&cycle(&[0_u16, 65535]), code, "values=[0, 65535]");
    warned(&cycle(&[0_i64, i64::MAX]), code, "values=[0, 9223372036854775807]");
    warned(&cycle(&[0_u8, 128, 255]), code, "values=[0, 128, 255]");
    warned(&cycle(&[0_u8, 64, 128, 192]), code, "values=[0, 64, 128, 192]");
    // A file without some of them is no reason to speak of void.
    let data = cycle(&[0_u8, 128, 255]);
    write_array(&data.path("semseg/0001.npy"), &[255_u8; (WIDTH * HEIGHT) as usize]);
    warned(&data, code, "values=[0, 128, 255]");
    cycle(&[0_u16, 128, 256, 65535])
        .finds(&[(WARNING, "largest_void", "semseg"), (WARNING, code, "semseg")]);
    cycle(&[0_u8, 1, 2, 3]).finds(&[]);
    // A mask of 0 and 255 loses a class without a word in training: an error as before.
    let mask = cycle(&[0_u8, 255]);
    mask.finds(&[(ERROR, "mask_of_255", "semseg")]);
    assert!(mask.examine().findings().all(|found| found.code != "largest_void"));
}

#[test]
fn more_labels_than_any_set_has_classes_are_remarked() {
    data(|pixel| (pixel % 30) as u16 * 1000 + (pixel % 7) as u16).finds(&[(
        WARNING,
        "classes_unknown",
        "semseg",
    )]);
    let mut data = data(|pixel| (pixel % 3000) as u16);
    data.options.max_label = Some(2999);
    assert!(data.examine().findings().all(|found| found.code != "classes_unknown"));
}
