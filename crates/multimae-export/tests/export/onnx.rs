//! Graphs of every head, set of modalities and form of PEFT, run by another program.

use indexmap::IndexMap;
use multimae::modality::Size;
use multimae::output_adapters::{Prediction, TaskHead};
use multimae_export::onnx::{self, OnnxOptions, OutputForm, PixelInput, WeightStorage};
use multimae_infer::saved_model::SavedModel;
use serde_json::{Value, json};

use crate::models::{CLASSES, SIZE, dpt, head, inputs, light, model};
use crate::runtime::{Outputs, run, tensors};

/// The largest difference that is rounding.
const TOLERANCE: f32 = 1e-5;
const BATCH: usize = 2;

/// Predictions of ours: extents and values.
fn ours(saved: &SavedModel, names: &[&str], size: Size) -> Outputs {
    let predictions = saved.predict(inputs(names, BATCH, size)).unwrap();
    numbers(predictions)
}

fn numbers(predictions: IndexMap<String, Prediction>) -> Outputs {
    let of = |(name, prediction): (String, Prediction)| match prediction {
        Prediction::Maps(maps) => (name, (maps.dims().to_vec(), maps.into_data().iter().collect())),
        Prediction::Classes(logits) => {
            (name, (logits.dims().to_vec(), logits.into_data().iter().collect()))
        }
    };
    predictions.into_iter().map(of).collect()
}

/// The largest difference relative to values of more than one.
fn difference(ours: &Outputs, theirs: &Outputs) -> f32 {
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let mut largest = 0.0_f32;
    for (name, (shape, values)) in ours {
        let (their_shape, their_values) = &theirs[name];
        assert_eq!(shape, their_shape, "{name}");
        let varied = values.iter().any(|value| (value - values[0]).abs() > 1e-3);
        assert!(varied, "`{name}` has one value everywhere, so that it compares nothing");
        for (a, b) in values.iter().zip(their_values) {
            assert!(a.is_finite() && b.is_finite(), "{name}: {a} {b}");
            largest = largest.max((a - b).abs() / a.abs().max(1.0));
        }
    }
    largest
}

fn check(what: &str, saved: &SavedModel, names: &[&str], options: &OnnxOptions) {
    let dir = tempfile::tempdir().unwrap();
    let exported = onnx::export(saved, options).unwrap_or_else(|error| panic!("{what}: {error}"));
    let size = options.size.unwrap_or(SIZE);
    let theirs = run(dir.path(), &exported, &tensors(&inputs(names, BATCH, size)));
    let largest = difference(&ours(saved, names, size), &theirs);
    assert!(largest <= TOLERANCE, "{what}: {largest}");
}

#[test]
fn heads() {
    let convnext = |mode: &str| {
        json!({"kind": "convnext", "num_classes": 3, "embed_dim": 64,
        "preds_per_patch": 16, "depth": 2, "interpolate_mode": mode})
    };
    let segmenter = json!({"kind": "segmenter", "num_classes": CLASSES, "depth": 2, "heads": 2,
        "embed_dim": 16, "mlp_ratio": 2.0, "drop_path": 0.1});
    let linear = |mean: bool| json!({"kind": "linear", "num_classes": 3, "use_mean_pooling": mean});
    let cases: Vec<(&str, TaskHead)> = vec![
        ("DPT, values", dpt("depth", &["rgb"], 1, "regression")),
        ("DPT, classes", dpt("semseg", &["rgb"], CLASSES + 1, "semseg")),
        ("ConvNeXt", head("normals", &["rgb"], convnext("bilinear"))),
        ("ConvNeXt, nearest", head("normals", &["rgb"], convnext("nearest"))),
        ("Segmenter", head("semseg", &["rgb"], segmenter)),
        ("light, log depth", light("log_depth", 1)),
        ("light, values", light("values", 2)),
        ("linear", head("place", &[], linear(true))),
        ("linear, global token", head("place", &[], linear(false))),
    ];
    for (what, head) in cases {
        let saved = model(&["rgb"], vec![head], json!({}));
        check(what, &saved, &["rgb"], &OnnxOptions::default());
    }
}

#[test]
fn modalities_and_sizes() {
    let all = ["rgb", "depth_in", "semseg"];
    let heads =
        || vec![dpt("depth", &["rgb", "semseg"], 1, "regression"), light("semseg", CLASSES)];
    let saved = model(&all, heads(), json!({}));
    check("three modalities", &saved, &all, &OnnxOptions::default());
    let size = Some(Size::new(48, 64));
    check("another size", &saved, &all, &OnnxOptions { size, ..OnnxOptions::default() });
    let batch = Some(BATCH);
    check("fixed batch", &saved, &all, &OnnxOptions { batch, ..OnnxOptions::default() });
    let chosen = vec!["rgb".to_owned(), "semseg".to_owned()];
    let options = OnnxOptions { inputs: chosen, ..OnnxOptions::default() };
    check("without depth", &saved, &["rgb", "semseg"], &options);
    let options = OnnxOptions { inputs: vec!["rgb".to_owned()], ..OnnxOptions::default() };
    let error = onnx::export(&saved, &options).unwrap_err().to_string();
    assert!(error.contains("`depth`") && error.contains("`semseg`"), "{error}");
}

#[test]
fn prompts_and_peft() {
    let prompts = |config: Value| json!({"prompts": config});
    let cases: Vec<(&str, Value)> = vec![
        ("LoRA", json!({"lora": {"rank": 2, "targets": ["qkv", "proj", "fc1", "fc2"]}})),
        ("SSF", json!({"ssf": true})),
        ("entry norms", json!({"entry_norms": true})),
        ("side network", json!({"side": {"width": 6, "taps": [0]}, "entry_norms": true})),
        (
            "side network beside late Rein",
            json!({"side": {"width": 6}, "prompts": {"kind": "rein", "count": 4, "rank": 2, "first": 1}}),
        ),
        (
            "side network beside prompts of tasks",
            json!({"side": {"width": 6}, "prompts": {"kind": "deep", "count": 2}, "branch_at": 1}),
        ),
        ("shallow", prompts(json!({"kind": "shallow", "count": 3}))),
        ("deep", prompts(json!({"kind": "deep", "count": 3}))),
        ("deep, late", prompts(json!({"kind": "deep", "count": 2, "first": 1, "layers": 2}))),
        ("deep, of a rank", prompts(json!({"kind": "deep", "count": 3, "rank": 4}))),
        ("bilinear", prompts(json!({"kind": "deep", "count": 3, "bilinear": 4}))),
        ("gates", prompts(json!({"kind": "deep", "count": 3, "gate": 1.0}))),
        ("shallow, gates", prompts(json!({"kind": "shallow", "count": 3, "gate": 1.0}))),
        ("prefix", prompts(json!({"kind": "prefix", "count": 3}))),
        ("Rein", prompts(json!({"kind": "rein", "count": 5, "rank": 3}))),
        (
            "Rein, late",
            prompts(json!({"kind": "rein", "count": 5, "rank": 3, "map_rank": 4, "first": 2})),
        ),
        ("EVP", prompts(json!({"kind": "evp", "rank": 4}))),
        ("cross", prompts(json!({"kind": "cross", "count": 3}))),
        (
            "L2P",
            prompts(json!({"kind": "l2p", "entries": 6, "length": 2, "top_n": 2, "layers": 2})),
        ),
        (
            "L2P, prefix, keys per layer",
            prompts(json!({"kind": "l2p", "entries": 6, "length": 2, "top_n": 3,
            "layers": 3, "form": "prefix", "keys": "per_layer", "query": "embeddings"})),
        ),
        (
            "DualPrompt",
            prompts(json!({"kind": "dual", "entries": 5, "general_layers": 1, "general_length": 2,
            "expert_first": 1, "expert_layers": 2, "expert_length": 2, "query": "global"})),
        ),
        ("CODA", prompts(json!({"kind": "coda", "entries": 4, "length": 4, "layers": 3}))),
        ("norms by prompts", json!({"prompts": {"kind": "deep", "count": 2}, "prompt_norms": 3})),
        (
            "norms by a pool",
            json!({"prompts": {"kind": "dual", "entries": 5, "general_layers": 1,
            "general_length": 2, "expert_first": 1, "expert_layers": 2, "expert_length": 2}, "prompt_norms": 3}),
        ),
        (
            "prompts of tasks",
            json!({"prompts": {"kind": "deep", "count": 2}, "branch_at": 2, "ssf": true}),
        ),
        (
            "Rein of tasks",
            json!({"prompts": {"kind": "rein", "count": 4, "rank": 2}, "branch_at": 1}),
        ),
        (
            "Rein of all tasks and of each",
            json!({"prompts": {"kind": "rein", "count": 4, "rank": 2, "own": 3}, "branch_at": 1}),
        ),
    ];
    for (what, peft) in cases {
        let saved =
            model(&["rgb", "depth_in"], vec![light("depth", 1), light("semseg", CLASSES)], peft);
        check(what, &saved, &["rgb", "depth_in"], &OnnxOptions::default());
    }
}

#[test]
fn weights_beside_and_of_half_size() {
    let saved =
        model(&["rgb"], vec![dpt("depth", &["rgb"], 1, "regression")], json!({"ssf": true}));
    let beside = OnnxOptions { weights: WeightStorage::Beside, ..OnnxOptions::default() };
    check("weights beside", &saved, &["rgb"], &beside);
    let exported = onnx::export(&saved, &beside).unwrap();
    let whole = onnx::export(&saved, &OnnxOptions::default()).unwrap();
    assert!(2 * exported.bytes().len() < whole.bytes().len());
    // The weights' file is a model of ours, too.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    fs_err::write(&path, exported.weights.unwrap()).unwrap();
    let read = SavedModel::load(&path, &Default::default()).unwrap();
    assert!(difference(&ours(&saved, &["rgb"], SIZE), &ours(&read, &["rgb"], SIZE)) <= TOLERANCE);

    let half = OnnxOptions { weights: WeightStorage::Half, ..OnnxOptions::default() };
    let exported = onnx::export(&saved, &half).unwrap();
    let weights: usize = multimae::state::parameters(&saved.model)
        .iter()
        .map(|parameter| 4 * parameter.shape.iter().product::<usize>())
        .sum();
    let saved_bytes = whole.bytes().len() - exported.bytes().len();
    assert!(saved_bytes > weights * 3 / 10, "{saved_bytes} of {weights} bytes");
    // The graph computes with the rounded weights exactly.
    let rounded = onnx::with_half_weights(&saved).unwrap();
    let theirs = run(dir.path(), &exported, &tensors(&inputs(&["rgb"], BATCH, SIZE)));
    let largest = difference(&ours(&rounded, &["rgb"], SIZE), &theirs);
    assert!(largest <= TOLERANCE, "{largest}");
    assert!(difference(&ours(&saved, &["rgb"], SIZE), &theirs) > TOLERANCE);
}

#[test]
fn bytes_classes_and_names() {
    use multimae::burn::tensor::{Device, Tensor, TensorData};
    use multimae::input_adapters::ModalityTensor;
    use multimae_data::{IMAGENET_MEAN, IMAGENET_STD};

    let saved = model(&["rgb"], vec![light("semseg", CLASSES)], json!({}));
    let names = [("rgb", "image"), ("semseg", "labels")];
    let options = OnnxOptions {
        pixels: PixelInput::Bytes,
        outputs: OutputForm::ArgMax,
        names: names.map(|(a, b)| (a.to_owned(), b.to_owned())).into_iter().collect(),
        ..OnnxOptions::default()
    };
    let pixels: Vec<u8> =
        (0..BATCH * SIZE.area() * 3).map(|i| ((i * i * 7 + i) % 256) as u8).collect();
    let image =
        tract_onnx::prelude::Tensor::from_shape(&[BATCH, SIZE.height, SIZE.width, 3], &pixels);
    let dir = tempfile::tempdir().unwrap();
    let exported = onnx::export(&saved, &options).unwrap();
    let feed = [("image".to_owned(), image.unwrap())].into_iter().collect();
    let theirs = run(dir.path(), &exported, &feed);
    let normalised: Vec<f32> = (0..BATCH * 3 * SIZE.area())
        .map(|i| {
            let (sample, channel, pixel) =
                (i / (3 * SIZE.area()), i / SIZE.area() % 3, i % SIZE.area());
            let value = f32::from(pixels[(sample * SIZE.area() + pixel) * 3 + channel]) / 255.0;
            (value - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        })
        .collect();
    let data = TensorData::new(normalised, [BATCH, 3, SIZE.height, SIZE.width]);
    let maps = Tensor::<4>::from_data(data, &Device::default());
    let feed = [("rgb".to_owned(), ModalityTensor::Continuous(maps))].into_iter().collect();
    let (shape, logits) = numbers(saved.predict(feed).unwrap()).swap_remove("semseg").unwrap();
    assert_eq!(shape, [BATCH, CLASSES, SIZE.height, SIZE.width]);
    let (their_shape, labels) = &theirs["labels"];
    assert_eq!(their_shape, &[BATCH, SIZE.height, SIZE.width]);
    let area = SIZE.area();
    let mut seen = std::collections::BTreeSet::new();
    for (place, label) in labels.iter().enumerate() {
        let at = |class: usize| logits[(place / area * CLASSES + class) * area + place % area];
        let best = (0..CLASSES).map(at).fold(f32::MIN, f32::max);
        assert!(at(*label as usize) >= best - TOLERANCE, "pixel {place}");
        seen.insert(*label as usize);
    }
    assert!(seen.len() > 1, "one class everywhere");
    // Class 1 is ignored in training, so that it is never predicted.
    assert!(!seen.contains(&1));
}
