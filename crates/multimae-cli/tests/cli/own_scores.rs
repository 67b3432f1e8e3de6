//! The scores that a run reports are those that `evaluate` computes for its model, for every kind
//! of dense task and both geometries of evaluation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use crate::common::succeed;
use fs_err as fs;
use multimae_train::run::RunResult;
use serde_json::Value;

/// A model of seconds that learns depth, labels and normals of generated rooms together.
const RECIPE: &str = "
in_domains: rgb
out_domains: depth-semseg-normal
modalities:
  depth: {divisor: 1000}
  semseg: {folder: label40}
  normal: {channels: 3, divisor: 127.5, mean: [1, 1, 1], task: normals}
num_classes: 40
seg_reduce_zero_label: true
dataset_name: nyu
split: train
eval_split: val
model: {width: 32, depth: 2, heads: 2}
patch_size: 8
input_size: [24, 32]
output_adapter: light
heads:
  depth: {width: 16, depth: 1}
  semseg: {width: 16, depth: 1}
  normal: {width: 16, depth: 1}
batch_size: 4
epochs: 3
warmup_epochs: 0
lr: 0.002
scale_jitter: [1.0, 1.5]
log_images_freq: 3
log_images: 2
";

fn multimae(arguments: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.current_dir(dir).args(arguments);
    command
}

#[test]
fn a_run_s_scores_are_those_of_evaluate() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("recipe.yaml"), RECIPE).unwrap();
    succeed(&mut multimae(&["synth", "--out", "rooms", "--count", "16", "--size", "52x44"], dir));
    for geometry in ["simple", "nyu-augs"] {
        let augmentation = format!("aug_name={geometry}");
        let train = [
            "finetune",
            "--config",
            "recipe.yaml",
            "--data",
            "rooms",
            "--out",
            geometry,
            "--set",
            &augmentation,
        ];
        succeed(&mut multimae(&train, dir));
        let evaluate = [
            "evaluate",
            "--model",
            geometry,
            "--data",
            "rooms",
            "--split",
            "val",
            "--json",
            &format!("{geometry}.json"),
            "--out",
            &format!("{geometry}-evaluation"),
        ];
        succeed(&mut multimae(&evaluate, dir));
        let text = fs::read_to_string(dir.join(format!("{geometry}.json"))).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let own = RunResult::read(&dir.join(geometry).join("result.json")).unwrap();
        let own = own.validation.unwrap().model;
        let mut compared = 0;
        for evaluation in file["evaluations"].as_array().unwrap() {
            let task = evaluation["task"].as_str().unwrap();
            for (name, score) in evaluation["scores"].as_object().unwrap() {
                let (run, score) = (own[&format!("{task}_{name}")], score.as_f64().unwrap());
                // Batches of other sizes sum in another order.
                let close = (run - score).abs() <= 1e-5 * run.abs().max(1.0);
                // The median is exact to a bin of its histogram.
                assert!(close || name == "median_angle" && (run - score).abs() < 0.011, "{name}");
                compared += 1;
            }
        }
        assert_eq!(compared, 8 + 3 + 5, "{geometry}");
        // The worst frames of each task and the classes are drawn.
        for picture in ["own-depth-worst", "own-semseg-worst", "own-normal-worst"] {
            let path = dir.join(format!("{geometry}-evaluation/{picture}.png"));
            assert!(fs::metadata(&path).unwrap().len() > 1000, "{}", path.display());
        }
    }
}

#[test]
fn normals_are_predicted_as_unit_vectors_also_with_the_mirrored_frame() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let recipe = RECIPE.replace("depth-semseg-normal", "normal");
    let lines = recipe.lines().filter(|line| !line.starts_with("num_classes"));
    let lines = lines.filter(|line| !line.starts_with("seg_") && !line.starts_with("dataset_name"));
    let heads = |line: &&str| !line.starts_with("  depth: {w") && !line.starts_with("  semseg: {w");
    let recipe: Vec<&str> = lines.filter(heads).collect();
    fs::write(dir.join("recipe.yaml"), recipe.join("\n")).unwrap();
    succeed(&mut multimae(&["synth", "--out", "rooms", "--count", "12", "--size", "52x44"], dir));
    let train = ["finetune", "--config", "recipe.yaml", "--data", "rooms", "--out", "run"];
    succeed(&mut multimae(&train, dir));
    let predict =
        ["predict", "--model", "run", "--input", "rooms/rgb/00000.png", "--flip", "--out", "out"];
    succeed(&mut multimae(&predict, dir));
    let npy = fs::read(dir.join("out/normal/00000.npy")).unwrap();
    let values: Vec<f32> = npy[npy.len() - 4 * 3 * 52 * 44..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let area = 52 * 44;
    for pixel in 0..area {
        let length: f32 = (0..3).map(|c| values[c * area + pixel].powi(2)).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-4, "{length}");
    }
    let picture = image::open(dir.join("out/normal/00000.png")).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (52, 44));
    let expected = |value: f32| ((value * 0.5 + 0.5) * 255.0).round() as i32;
    for c in 0..3 {
        let stored = i32::from(picture.get_pixel(0, 0).0[c]);
        assert!((stored - expected(values[c * area])).abs() <= 1);
    }
    assert!(dir.join("out/normal_overlay/00000.png").exists());
}
