//! Labels as people store them: -1 for void, masks of 0 and 255, more than 256 classes, classes that
//! never occur. Each through training, prediction and evaluation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::common::{SAMPLES, Scratch, fail, succeed};
use fs_err as fs;
use image::{GrayImage, ImageBuffer, Luma};

/// A model of a second that learns labels.
const LABELS: &str = "
out_domains: semseg
modalities:
  semseg: {folder: label}
num_classes: 6
split: train
model: {width: 16, depth: 2, heads: 2}
patch_size: 8
input_size: [24, 32]
output_adapter: light
heads:
  semseg: {width: 8, depth: 1}
batch_size: 4
epochs: 1
warmup_epochs: 0
lr: 0.002
aug_name: simple
num_workers: 0
log_images: 0
";

const WIDTH: usize = 48;
const HEIGHT: usize = 40;

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fs::write(scratch.recipe(), LABELS).unwrap();
    scratch
}

fn finetune(scratch: &Scratch, out: &str, sets: &[&str]) -> Command {
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    scratch.train("finetune", &scratch.recipe(), out, &sets)
}

fn multimae(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.args(arguments);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

/// Replaces all labels by 64-bit arrays.
fn write_arrays(scratch: &Scratch, label: impl Fn(usize, usize) -> i64) {
    let header =
        format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({HEIGHT}, {WIDTH}), }}");
    let mut start = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    start.extend(format!("{header:<117}\n").bytes());
    for i in 0..SAMPLES {
        fs::remove_file(scratch.data().join(format!("label/{i:03}.png"))).unwrap();
        let values = (0..WIDTH * HEIGHT).flat_map(|p| label(p % WIDTH, p / WIDTH).to_le_bytes());
        let file: Vec<u8> = start.iter().copied().chain(values).collect();
        fs::write(scratch.data().join(format!("label/{i:03}.npy")), file).unwrap();
    }
}

fn write_masks(scratch: &Scratch, label: impl Fn(u32, u32) -> u8) {
    for i in 0..SAMPLES {
        GrayImage::from_fn(WIDTH as u32, HEIGHT as u32, |x, y| Luma([label(x, y)]))
            .save(scratch.data().join(format!("label/{i:03}.png")))
            .unwrap();
    }
}

#[test]
fn minus_one_is_void_in_every_command() {
    let scratch = scratch();
    write_arrays(&scratch, |x, y| if x < 12 { -1 } else { ((x + y) % 6) as i64 });
    let data = scratch.data();
    // A quarter of the pixels; the file, the value and the key to set are named.
    let refused = fail(&mut finetune(&scratch, "run", &[]));
    assert_says(&refused, &["label/000.npy", "-1 (480 pixels)", "`ignore: -1`"]);
    let void = "modalities.semseg.ignore=-1";
    let trained = succeed(&mut finetune(&scratch, "run", &[void]));
    assert_says(
        &trained,
        &["25.0 % of the pixels are ignored", "`modalities.semseg.ignore` is -1"],
    );
    let model = scratch.path("run").join("model.safetensors");
    let evaluate = ["evaluate", "--model", text(&model), "--data", text(&data), "--split", "train"];
    let output = multimae(&evaluate).output().unwrap();
    assert_says(&String::from_utf8_lossy(&output.stdout), &["label -1 is void", "all 12"]);

    let recipe = scratch.path("pretrain.yaml");
    fs::write(&recipe, crate::common::RECIPE).unwrap();
    let pretrain = |out: &str, further: &[&str]| {
        let sets = ["epochs=1", "modalities.semseg={folder: label, classes: 6}"];
        let sets = sets.iter().chain(further).flat_map(|set| ["--set", set]).collect::<Vec<_>>();
        scratch.train("pretrain", &recipe, out, &sets)
    };
    assert_says(&fail(&mut pretrain("pre", &[])), &["label/000.npy", "`ignore: -1`"]);
    assert_says(&succeed(&mut pretrain("pre", &[void])), &["25.0 % of the pixels are ignored"]);

    // Packs hold such labels too.
    let pack = scratch.path("data.pack");
    succeed(&mut multimae(&["pack", "--data", text(&data), "--out", text(&pack)]));
    let mut packed = multimae(&["finetune", "--config", text(&scratch.recipe())]);
    packed.args(["--data", text(&pack), "--out", text(&scratch.path("packed")), "--set", void]);
    succeed(&mut packed);
    assert_eq!(scratch.tensors("packed"), scratch.tensors("run"));
    let doctor = multimae(&["doctor", text(&data), "--kind", "label=labels"]).output().unwrap();
    assert_says(&String::from_utf8_lossy(&doctor.stdout), &["modalities.label.ignore=-1"]);
}

#[test]
fn a_mask_of_0_and_255_is_two_classes_or_an_error() {
    let scratch = scratch();
    write_masks(&scratch, |x, y| if (x / 8 + y / 8).is_multiple_of(2) { 255 } else { 0 });
    let two = "num_classes=2";
    for further in [&[two][..], &[two, "allow_missing_classes=true"]] {
        let refused = fail(&mut finetune(&scratch, "run", further));
        assert_says(&refused, &["0 and 255", "`modalities.semseg.values=[0, 255]`"]);
    }
    let values = "modalities.semseg.values=[0, 255]";
    let trained = succeed(&mut finetune(&scratch, "run", &[two, values]));
    assert_says(&trained, &["0.0 % of the pixels are ignored"]);
    // Predictions have the values of the masks.
    let (model, out) = (scratch.path("run").join("model.safetensors"), scratch.path("predicted"));
    let rgb = scratch.data().join("rgb");
    let arguments =
        ["predict", "--model", text(&model), "--input", text(&rgb), "--out", text(&out)];
    succeed(&mut multimae(&arguments));
    let mut seen = BTreeSet::new();
    for i in 0..SAMPLES {
        let bytes = fs::read(out.join(format!("semseg/{i:03}.npy"))).unwrap();
        seen.extend(bytes[bytes.len() - WIDTH * HEIGHT..].iter().copied());
    }
    assert!(seen.is_subset(&[0, 255].into()), "{seen:?}");
    let mut evaluate = multimae(&["evaluate", "--model", text(&model), "--split", "train"]);
    succeed(evaluate.args(["--data", text(&scratch.data())]));
}

#[test]
fn classes_that_never_occur_stop_a_run_with_few_classes() {
    let scratch = scratch();
    let one = succeed(&mut finetune(&scratch, "one", &["num_classes=7"]));
    assert_says(&one, &["warning: ", "1 of 7 classes never occur (6)"]);
    let refused = fail(&mut finetune(&scratch, "run", &["num_classes=9"]));
    assert_says(&refused, &["3 of 9 classes never occur (6, 7, 8)", "allow_missing_classes=true"]);
    let further = ["num_classes=9", "allow_missing_classes=true"];
    assert_says(&succeed(&mut finetune(&scratch, "run", &further)), &["3 of 9 classes"]);
    // One class is no task, whatever is allowed.
    write_masks(&scratch, |_, _| 3);
    let refused = fail(&mut finetune(&scratch, "constant", &["allow_missing_classes=true"]));
    assert_says(&refused, &["3 is the only one of 6 classes"]);
}

#[test]
fn three_hundred_classes_are_trained_predicted_and_scored() {
    let scratch = scratch();
    for i in 0..SAMPLES {
        let labels: ImageBuffer<Luma<u16>, Vec<u16>> =
            ImageBuffer::from_fn(WIDTH as u32, HEIGHT as u32, |x, y| {
                Luma([((x + y * WIDTH as u32) % 300) as u16])
            });
        labels.save(scratch.data().join(format!("label/{i:03}.png"))).unwrap();
    }
    let trained = succeed(&mut finetune(&scratch, "run", &["num_classes=300"]));
    assert_says(
        &trained,
        &["255 occurs and is one of the classes", "modalities.semseg.ignore=255"],
    );
    assert_says(&trained, &["0.0 % of the pixels are ignored"]);
    let (model, out) = (scratch.path("run").join("model.safetensors"), scratch.path("predicted"));
    let rgb = scratch.data().join("rgb/000.png");
    let arguments =
        ["predict", "--model", text(&model), "--input", text(&rgb), "--out", text(&out)];
    succeed(&mut multimae(&arguments));
    let png = image::open(out.join("semseg/000.png")).unwrap();
    assert_eq!(png.color(), image::ColorType::L16);
    let array = fs::read(out.join("semseg/000.npy")).unwrap();
    let values = array[array.len() - 2 * WIDTH * HEIGHT..].as_chunks::<2>().0;
    let values: Vec<u16> = values.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
    assert_eq!(png.into_luma16().into_raw(), values);
    assert!(values.iter().all(|&label| label < 300));
    let json = scratch.path("scores.json");
    let mut evaluate = multimae(&["evaluate", "--model", text(&model), "--split", "train"]);
    succeed(evaluate.args(["--data", text(&scratch.data()), "--json", text(&json)]));
    let scores: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    // Class 255 is scored like the others.
    let row = &scores["evaluations"][0]["semseg"]["rows"][0];
    assert_eq!(row["pixels"].as_u64(), Some((SAMPLES * WIDTH * HEIGHT) as u64), "{scores}");
    assert!(row["classes"][255]["share"].as_f64().unwrap() > 0.0);
    // Files hold no more than 16 bits: that is said before training.
    let refused = fail(&mut finetune(&scratch, "huge", &["num_classes=70000"]));
    assert_says(&refused, &["0 to 65535"]);
}
