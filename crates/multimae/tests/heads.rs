//! Heads on any model: several global tokens, other patches, two main modalities, images that are not
//! square; and what they refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use multimae::Error;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::{EncoderConfig, Phase};
use multimae::init::initialise;
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{Modality, Size};
use multimae::model::Inputs;
use multimae::multivit::{MultiVit, MultiVitConfig};
use multimae::output_adapters::{
    ConvNeXtConfig, DptConfig, DptOutput, HeadConfig, LightConfig, LinearConfig, Prediction,
    SegmenterConfig, TaskHead, Upsampling,
};
use multimae::positions::NonSquareTables;
use multimae::state::{parameters, take_gradients};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 5;

fn dpt(num_classes: usize, head_type: DptOutput) -> HeadConfig {
    HeadConfig::Dpt(DptConfig {
        num_classes,
        head_type,
        hooks: [0, 0, 1, 2],
        layer_dims: [4, 8, 8, 12],
        feature_dim: 8,
    })
}

/// One head of every kind.
fn heads() -> Vec<(&'static str, HeadConfig)> {
    vec![
        ("cls", HeadConfig::Linear(LinearConfig { num_classes: CLASSES, use_mean_pooling: false })),
        (
            "segmenter",
            HeadConfig::Segmenter(SegmenterConfig {
                heads: 2,
                embed_dim: 16,
                ..SegmenterConfig::new(CLASSES)
            }),
        ),
        (
            "convnext",
            HeadConfig::ConvNeXt(ConvNeXtConfig {
                embed_dim: 64,
                preds_per_patch: 4,
                depth: 1,
                interpolate_mode: Upsampling::Nearest,
                ..ConvNeXtConfig::new(CLASSES)
            }),
        ),
        ("depth", dpt(1, DptOutput::Regression)),
        ("labels", dpt(CLASSES, DptOutput::Semseg)),
        (
            "light",
            HeadConfig::Light(LightConfig {
                hooks: vec![0, 2],
                width: 8,
                ..LightConfig::new(CLASSES)
            }),
        ),
    ]
}

fn config(patch_size: usize, heads: Vec<(&str, HeadConfig)>) -> MultiVitConfig {
    let head = |(name, head): (&str, HeadConfig)| TaskHead {
        name: name.to_owned(),
        main_tasks: vec!["depth".to_owned(), "rgb".to_owned()],
        head,
    };
    MultiVitConfig {
        encoder: EncoderConfig { drop_path: 0.1, ..EncoderConfig::new(16, 3, 2) },
        patch_size,
        image_size: Size::square(32),
        num_global_tokens: 2,
        inputs: vec![Modality::continuous("rgb", 3), Modality::continuous("depth", 1)],
        heads: heads.into_iter().map(head).collect(),
        tables: NonSquareTables::default(),
    }
}

fn model(config: &MultiVitConfig, device: &Device) -> MultiVit {
    let model = MultiVit::new(config, device).unwrap();
    let seed = |name: &str| ChaCha8Rng::seed_from_u64(name.bytes().map(u64::from).sum());
    initialise(model, seed)
}

fn inputs(size: Size, device: &Device) -> Inputs {
    let wave = |channels: usize| {
        let shape = [2, channels, size.height, size.width];
        let len = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..len).map(|i| (i as f32 * 0.31).sin()).collect();
        ModalityTensor::Continuous(Tensor::from_data(TensorData::new(values, shape), device))
    };
    [("rgb".to_owned(), wave(3)), ("depth".to_owned(), wave(1))].into_iter().collect()
}

/// The sum of squares of everything that is predicted.
fn energy(prediction: &Prediction) -> Tensor<1> {
    match prediction {
        Prediction::Maps(maps) => maps.clone().square().sum(),
        Prediction::Classes(logits) => logits.clone().square().sum(),
    }
}

#[test]
fn one_pass_feeds_heads_of_every_kind() {
    let device = Device::default().autodiff();
    for (patch, size) in [(8, Size::new(32, 48)), (16, Size::new(64, 32))] {
        let model = model(&config(patch, heads()), &device);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let phase = &mut Phase::Training(&mut rng);
        let output = model.forward(inputs(size, &device), phase).unwrap();
        let tokens = 2 * size.area() / (patch * patch) + 2;
        assert_eq!(output.layers.len(), 3);
        assert!(output.layers.iter().all(|layer| layer.dims() == [2, tokens, 16]));
        assert_eq!((output.image_size, output.num_global_tokens, output.batch()), (size, 2, 2));

        let predictions = model.forward_heads(&output, phase).unwrap();
        assert_eq!(predictions.len(), heads().len());
        for (name, prediction) in &predictions {
            match prediction {
                Prediction::Classes(logits) => assert_eq!(logits.dims(), [2, CLASSES], "{name}"),
                Prediction::Maps(maps) => {
                    let channels = if name == "depth" { 1 } else { CLASSES };
                    let expected = [2, channels, size.height, size.width];
                    assert_eq!(maps.dims(), expected, "{name}, patch {patch}");
                }
            }
        }
        assert_gradients(&model, predictions.values().map(energy));
    }
}

/// Every trained parameter has a finite gradient, but for the published unit that is never used.
fn assert_gradients(model: &MultiVit, terms: impl Iterator<Item = Tensor<1>>) {
    let loss = terms.reduce(|sum, term| sum + term).unwrap();
    let mut gradients = loss.backward();
    let gradients = take_gradients(model, &mut gradients);
    for parameter in parameters(model).into_iter().filter(|p| p.trainable) {
        let name = parameter.name;
        if name.contains("refinenet4.resConfUnit1") {
            assert!(!gradients.contains_key(&name), "{name}");
            continue;
        }
        let values: Vec<f64> = gradients[&name].to_data().iter::<f64>().collect();
        assert!(values.iter().all(|v| v.is_finite()), "{name}");
    }
}

#[test]
fn odd_grids_are_refused_with_advice() {
    let device = Device::default();
    let model = model(&config(16, vec![("depth", dpt(1, DptOutput::Regression))]), &device);
    let output = model.forward(inputs(Size::new(48, 64), &device), &mut Phase::Evaluation).unwrap();
    let error = model.forward_heads(&output, &mut Phase::Evaluation).unwrap_err();
    assert!(matches!(&error, Error::Head { head, .. } if head == "depth"), "{error}");
    assert!(error.to_string().contains("64x64"), "{error}");
}

#[test]
fn a_main_modality_must_be_in_the_batch() {
    let device = Device::default();
    let light = HeadConfig::Light(LightConfig { hooks: vec![1], ..LightConfig::new(1) });
    let model = model(&config(16, vec![("light", light)]), &device);
    let mut inputs = inputs(Size::square(32), &device);
    inputs.shift_remove("depth");
    let output = model.forward(inputs, &mut Phase::Evaluation).unwrap();
    let error = model.forward_heads(&output, &mut Phase::Evaluation).unwrap_err();
    assert!(error.to_string().contains("`depth`"), "{error}");
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let device = Device::default();
    let refused = |change: &dyn Fn(&mut MultiVitConfig)| {
        let mut config = config(16, heads());
        change(&mut config);
        MultiVit::new(&config, &device).unwrap_err().to_string()
    };
    let message = refused(&|config| config.heads[0].name = "depth".to_owned());
    assert!(message.contains("listed twice"), "{message}");
    let message = refused(&|config| config.heads[2].main_tasks = vec!["normal".to_owned()]);
    assert!(message.contains("`normal` is no input"), "{message}");
    let message = refused(&|config| config.heads[2].main_tasks.clear());
    assert!(message.contains("main modality"), "{message}");
    let message = refused(&|config| config.encoder.depth = 2);
    assert!(message.contains("hook 2"), "{message}");
    let message = refused(&|config| {
        let head = ConvNeXtConfig { preds_per_patch: 8, ..ConvNeXtConfig::new(2) };
        config.heads[0].head = HeadConfig::ConvNeXt(head);
    });
    assert!(message.contains("square"), "{message}");
}

#[test]
fn a_head_in_a_recipe() {
    let text = r#"{"name": "semseg", "main_tasks": ["rgb"],
                   "head": {"kind": "convnext", "num_classes": 40}}"#;
    let head: TaskHead = serde_json::from_str(text).unwrap();
    assert_eq!(head.head, HeadConfig::ConvNeXt(ConvNeXtConfig::new(40)));
    let text = r#"{"kind": "dpt", "num_classes": 1, "head_type": "regression"}"#;
    let head: HeadConfig = serde_json::from_str(text).unwrap();
    assert_eq!(head, HeadConfig::Dpt(DptConfig::new(1, DptOutput::Regression)));
}
