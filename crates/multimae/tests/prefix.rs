//! The frozen prefix of an encoder: where it ends for each mode of tuning, and that a pass that begins behind
//! it is the whole pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::{EncoderConfig, Phase};
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{Modality, Size};
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::{HeadConfig, LightConfig, Prediction, TaskHead};
use multimae::peft::{FrozenPrefix, PeftConfig, PeftModel, random_prompts};
use multimae::positions::NonSquareTables;
use multimae::state::{parameters, take_gradients, update};
use multimae::tokens::Inputs;
use multimae::tuning::{ParameterKind, Tuning};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const DEPTH: usize = 4;

fn config() -> MultiVitConfig {
    let head = |name: &str, num_classes, hooks: &[usize]| TaskHead {
        name: name.to_owned(),
        main_tasks: vec!["rgb".to_owned()],
        head: HeadConfig::Light(LightConfig {
            num_classes,
            hooks: hooks.to_vec(),
            width: 8,
            depth: 1,
        }),
    };
    MultiVitConfig {
        encoder: EncoderConfig { drop_path: 0.3, ..EncoderConfig::new(16, DEPTH, 2) },
        patch_size: 8,
        image_size: Size::new(16, 24),
        num_global_tokens: 1,
        inputs: vec![Modality::continuous("rgb", 3), Modality::categorical("semseg", 5, 4)],
        heads: vec![head("depth", 1, &[0, 3]), head("semseg", 4, &[1, 3])],
        tables: NonSquareTables::RowColumn,
    }
}

fn stream(name: &str) -> ChaCha8Rng {
    let seed = name.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    ChaCha8Rng::seed_from_u64(seed)
}

fn values<const D: usize>(dims: [usize; D], seed: f32, device: &Device) -> Tensor<D> {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i as f32 + seed) * 1.7).sin()).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// A model on a device with autodiff whose prompts have an effect, trained in a mode.
fn model(tuning: &str, peft: &serde_json::Value) -> PeftModel {
    let peft: PeftConfig = serde_json::from_value(peft.clone()).unwrap();
    let device = Device::default().autodiff();
    let model = PeftModel::new(&config(), &peft, &device).unwrap();
    let model = random_prompts(multimae::init::initialise(model, stream), stream).unwrap();
    let model = update(model, |name, value| {
        let kind = ParameterKind::of(name);
        let moved = kind == ParameterKind::Prompts || kind == ParameterKind::Side;
        let shift = values(value.dims(), name.len() as f32, &value.device()) * 0.1;
        moved.then(|| value + shift)
    });
    tuning.parse::<Tuning>().unwrap().apply(model, DEPTH).unwrap()
}

fn inputs() -> Inputs {
    let device = Device::default().autodiff();
    let rgb = ModalityTensor::Continuous(values([2, 3, 16, 24], 0.5, &device));
    let labels = (0..2 * 4 * 6).map(|at| i64::from(at % 5)).collect::<Vec<i64>>();
    let labels = Tensor::from_data(TensorData::new(labels, [2, 4, 6]), &device);
    [("rgb".to_owned(), rgb), ("semseg".to_owned(), ModalityTensor::Categorical(labels))]
        .into_iter()
        .collect()
}

fn cases() -> Vec<(&'static str, serde_json::Value, Option<FrozenPrefix>)> {
    let prefix = |blocks: usize, taps: &[usize]| Some(FrozenPrefix { blocks, taps: taps.to_vec() });
    let prompts = |prompts: serde_json::Value| serde_json::json!({ "prompts": prompts });
    let none = || serde_json::json!({});
    vec![
        ("head", none(), prefix(4, &[0, 1, 3])),
        ("head", serde_json::json!({"entry_norms": true}), prefix(4, &[0, 1, 3])),
        ("last-2", none(), prefix(2, &[0, 1])),
        ("last-1", none(), prefix(3, &[0, 1, 2])),
        ("full", none(), None),
        ("norm", none(), None),
        ("bias", none(), None),
        ("prompts", prompts(serde_json::json!({"kind": "deep", "count": 2})), None),
        (
            "prompts",
            prompts(serde_json::json!({"kind": "deep", "count": 2, "first": 1})),
            prefix(1, &[0]),
        ),
        (
            "prompts",
            prompts(serde_json::json!({"kind": "rein", "count": 5, "rank": 2, "first": 2})),
            prefix(2, &[0, 1]),
        ),
        (
            "prompts",
            prompts(serde_json::json!({"kind": "evp", "rank": 4, "first": 3})),
            prefix(3, &[0, 1, 2]),
        ),
        (
            "prompts",
            prompts(serde_json::json!({"kind": "cross", "count": 3, "first": 3})),
            prefix(3, &[0, 1, 2]),
        ),
        (
            "prompts",
            serde_json::json!({"prompts": {"kind": "deep", "count": 2, "first": 3}, "branch_at": 2}),
            prefix(2, &[0, 1]),
        ),
        (
            "prompts",
            prompts(serde_json::json!({
                "kind": "l2p", "entries": 4, "length": 2, "top_n": 2, "first": 2, "layers": 1,
                "form": "tokens"
            })),
            None,
        ),
        (
            "prompts",
            serde_json::json!({
                "prompts": {"kind": "deep", "count": 2, "first": 3}, "prompt_norms": 2
            }),
            None,
        ),
        ("lora", serde_json::json!({"lora": {"rank": 2}}), None),
        ("side", serde_json::json!({"side": {"width": 4, "taps": [2]}}), prefix(4, &[0, 1, 2, 3])),
        // Outputs without prompts are kept behind the prefix, too.
        (
            "side+prompts",
            serde_json::json!({
                "prompts": {"kind": "rein", "count": 5, "rank": 2, "first": 2}, "side": {"width": 4}
            }),
            prefix(2, &[0, 1, 3]),
        ),
        ("side+last-1", serde_json::json!({"side": {"width": 4}}), prefix(3, &[0, 1, 2])),
    ]
}

#[test]
fn a_prefix_ends_where_something_is_trained_or_prompted() {
    for (tuning, peft, expected) in cases() {
        assert_eq!(model(tuning, &peft).frozen_prefix(), expected, "{tuning} {peft}");
    }
}

/// Predictions, and the gradients of all that is trained.
#[test]
fn a_pass_from_the_prefix_on_is_the_whole_pass() {
    for (tuning, peft, prefix) in cases() {
        let Some(prefix) = prefix else { continue };
        let model = model(tuning, &peft);
        let pass = |from_prefix: bool| {
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            let phase = &mut Phase::Training(&mut rng);
            let output = if from_prefix {
                let features = model.prefix_features(&prefix, inputs()).unwrap();
                assert_eq!(features.len(), prefix.taps.len());
                model.forward_from(&inputs(), (&prefix, &features), phase).unwrap()
            } else {
                model.forward(inputs(), phase).unwrap()
            };
            let maps: Vec<Tensor<4>> = output
                .predictions
                .into_values()
                .map(|prediction| match prediction {
                    Prediction::Maps(maps) => maps,
                    Prediction::Classes(_) => panic!("classes of images"),
                })
                .collect();
            let sum = maps.iter().map(|maps| maps.clone().square().sum()).reduce(|a, b| a + b);
            let mut gradients = sum.unwrap().backward();
            let gradients = take_gradients(&model, &mut gradients);
            let values: Vec<Vec<f32>> =
                maps.into_iter().map(|maps| maps.into_data().iter().collect()).collect();
            let gradients: Vec<(String, Vec<f32>)> = gradients
                .into_iter()
                .map(|(name, values)| (name, values.into_data().iter().collect()))
                .collect();
            (values, gradients)
        };
        let (whole, from_prefix) = (pass(false), pass(true));
        assert_eq!(whole.0, from_prefix.0, "{tuning} {peft}");
        assert_eq!(whole.1, from_prefix.1, "{tuning} {peft}");
        let trained = parameters(&model).iter().filter(|p| p.trainable).count();
        assert_eq!(whole.1.len(), trained, "{tuning} {peft}");
    }
}

#[test]
fn features_of_another_batch_are_refused() {
    let model = model("head", &serde_json::json!({}));
    let prefix = model.frozen_prefix().unwrap();
    let mut features = model.prefix_features(&prefix, inputs()).unwrap();
    let mut inputs = inputs();
    inputs.shift_remove("semseg");
    let phase = &mut Phase::Evaluation;
    let got = model.forward_from(&inputs, (&prefix, &features), phase).map(drop).unwrap_err();
    assert!(got.to_string().contains("features of 3 blocks"), "{got}");
    features.pop();
    assert!(model.forward_from(&inputs, (&prefix, &features), phase).is_err());
}
