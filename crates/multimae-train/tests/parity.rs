//! Agreement with numbers computed by the published PyTorch implementation (see
//! `tests/golden/README.md`), through the same code as the `parity` program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "../examples/parity/case.rs"]
#[allow(dead_code, reason = "the program also reads the kind of a case")]
mod case;
#[path = "../examples/parity/head.rs"]
mod head;
#[path = "../examples/parity/metrics.rs"]
mod metrics;
#[path = "../examples/parity/pretrain.rs"]
mod pretrain;
#[path = "../examples/parity/prompt.rs"]
mod prompt;
#[path = "../examples/parity/shared.rs"]
mod shared;

use std::path::PathBuf;

use case::{Case, Files};
use multimae::burn::tensor::TensorData;
use multimae::state::StateDict;
use multimae::weights::read_safetensors;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn file<'a>(files: &'a Files, name: &str) -> &'a [u8] {
    &files.iter().find(|(file, _)| *file == name).expect("the file is computed").1
}

fn tensors(bytes: &[u8]) -> StateDict {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    fs_err::write(&path, bytes).unwrap();
    read_safetensors(&path).unwrap().0
}

fn values(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}

/// Predictions, layers and losses within 2e-5 + 1e-4 |x|; gradients within 1e-5 + 5e-4 of the
/// largest entry of their tensor.
fn assert_agrees(name: &str, got: &TensorData, expected: &TensorData) {
    let (got, expected) = (values(got), values(expected));
    assert_eq!(got.len(), expected.len(), "{name}: number of values");
    let largest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
        let allowed =
            if name.contains("grad") { 1e-5 + 5e-4 * largest } else { 2e-5 + 1e-4 * e.abs() };
        assert!((g - e).abs() <= allowed, "{name}[{i}]: {g}, expected {e} within {allowed:e}");
    }
}

fn assert_forward_backward(dir: &std::path::Path, files: &Files) {
    let got = tensors(file(files, "forward_backward.safetensors"));
    let (expected, _) = read_safetensors(&dir.join("forward_backward.safetensors")).unwrap();
    let mut compared = 0;
    for (name, value) in &expected {
        let given = |prefix: &&str| name.starts_with(*prefix);
        if ["input.", "mask.", "target", "valid"].iter().any(given) {
            continue;
        }
        let Some(computed) = got.get(name) else {
            // A parameter that the loss does not depend on has no gradient here, zeros there.
            assert!(
                name.starts_with("grad.") && values(value).iter().all(|v| *v == 0.0),
                "{name} is not computed"
            );
            continue;
        };
        assert_agrees(name, computed, value);
        compared += 1;
    }
    for name in got.keys() {
        assert!(expected.contains_key(name), "{name} is not in the case");
    }
    assert!(compared >= 20, "only {compared} tensors compared");
}

fn assert_trace(dir: &std::path::Path, files: &Files) {
    let got: serde_json::Value =
        serde_json::from_slice(file(files, "training_trace.json")).unwrap();
    let text = fs_err::read_to_string(dir.join("training_trace.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(got["optimizer"], expected["optimizer"]);
    let steps = expected["trace"].as_array().unwrap();
    assert_eq!(got["trace"].as_array().unwrap().len(), steps.len());
    let close = |what: &str, got: &serde_json::Value, expected: &serde_json::Value| {
        let (got, expected) = (got.as_f64().unwrap(), expected.as_f64().unwrap());
        assert!((got - expected).abs() <= 5e-4 * expected.abs(), "{what}: {got}, not {expected}");
    };
    for (i, (got, step)) in got["trace"].as_array().unwrap().iter().zip(steps).enumerate() {
        for key in ["lr", "loss", "grad_norm"] {
            close(&format!("step {i} {key}"), &got[key], &step[key]);
        }
        for (task, loss) in step["task_losses"].as_object().unwrap() {
            close(&format!("step {i} {task}"), &got["task_losses"][task], loss);
        }
    }
    let path = dir.join("weights_after_trace.safetensors");
    if !path.exists() {
        return;
    }
    let weights = tensors(file(files, "weights_after_trace.safetensors"));
    let (expected, _) = read_safetensors(&path).unwrap();
    assert_eq!(weights.len(), expected.len());
    for (name, value) in &expected {
        // Softmax does not see a shift of the keys: the gradient of a key bias is rounding noise,
        // which Adam scales up to whole steps of at most the sum of the learning rates.
        let noise = if name.ends_with("kv.bias") { 3.5e-3 } else { 0.0 };
        for (g, e) in values(&weights[name]).iter().zip(values(value)) {
            assert!((g - e).abs() <= 1e-4 + 1e-3 * e.abs() + noise, "{name}: {g}, expected {e}");
        }
    }
}

fn pretrain_case(name: &str) {
    let dir = golden(name);
    let files = pretrain::compute(&Case::open(&dir).unwrap()).unwrap();
    assert_forward_backward(&dir, &files);
    assert_trace(&dir, &files);
}

#[test]
fn pretrain_rgb_depth_semseg() {
    pretrain_case("pretrain_rgb_depth_semseg");
}

#[test]
fn pretrain_rgb_only_rect() {
    pretrain_case("pretrain_rgb_only_rect");
}

#[test]
fn pretrain_uncertainty_clip() {
    pretrain_case("pretrain_uncertainty_clip");
}

fn head_case(name: &str) {
    let dir = golden(name);
    let files = head::compute(&Case::open(&dir).unwrap()).unwrap();
    assert_forward_backward(&dir, &files);
}

#[test]
fn head_linear() {
    head_case("head_linear");
}

#[test]
fn head_segmenter() {
    head_case("head_segmenter");
}

#[test]
fn head_convnext() {
    head_case("head_convnext");
}

#[test]
fn head_dpt() {
    head_case("head_dpt");
}

#[test]
fn head_dpt_rgbd_rect() {
    head_case("head_dpt_rgbd_rect");
}

fn prompt_case(name: &str) {
    let dir = golden(name);
    let files = prompt::compute(&Case::open(&dir).unwrap()).unwrap();
    let got = tensors(file(&files, "forward_backward.safetensors"));
    // Prompts are never among what the loss does not depend on, and the backbone is frozen.
    let gradients: Vec<&String> = got.keys().filter(|name| name.starts_with("grad.")).collect();
    assert!(gradients.iter().any(|name| name.starts_with("grad.prompts.")), "{gradients:?}");
    assert!(!gradients.iter().any(|name| name.starts_with("grad.encoder.")), "{gradients:?}");
    assert_forward_backward(&dir, &files);
}

#[test]
fn prompt_deep() {
    prompt_case("prompt_deep");
}

#[test]
fn prompt_shallow_rgbd() {
    prompt_case("prompt_shallow_rgbd");
}

#[test]
fn prompt_prefix() {
    prompt_case("prompt_prefix");
}

#[test]
fn prompt_pool() {
    prompt_case("prompt_pool");
}

#[test]
fn depth_and_semseg_metrics() {
    let dir = golden("metrics");
    let files = metrics::compute(&Case::open(&dir).unwrap()).unwrap();
    let got: serde_json::Value = serde_json::from_slice(file(&files, "expected.json")).unwrap();
    let text = fs_err::read_to_string(dir.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_same("", &got, &expected);
}

/// The same structure, numbers within 2e-5 + 1e-4 |x|.
fn assert_same(path: &str, got: &serde_json::Value, expected: &serde_json::Value) {
    use serde_json::Value;
    match (got, expected) {
        (Value::Object(got), Value::Object(expected)) => {
            assert_eq!(got.len(), expected.len(), "{path}: keys");
            for (key, value) in expected {
                assert_same(&format!("{path}.{key}"), &got[key], value);
            }
        }
        (Value::Array(got), Value::Array(expected)) => {
            assert_eq!(got.len(), expected.len(), "{path}: length");
            for (i, (g, e)) in got.iter().zip(expected).enumerate() {
                assert_same(&format!("{path}[{i}]"), g, e);
            }
        }
        (Value::Number(got), Value::Number(expected)) => {
            let (g, e) = (got.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((g - e).abs() <= 2e-5 + 1e-4 * e.abs(), "{path}: {g}, expected {e}");
        }
        _ => assert_eq!(got, expected, "{path}"),
    }
}
