//! The ladder beside the encoder against its formula in plain loops over 64-bit numbers, alone and beside prompts of
//! the last blocks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::{EncoderConfig, Phase};
use multimae::encoder_output::EncoderOutput;
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{Modality, Size};
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::{HeadConfig, LightConfig, Prediction, TaskHead};
use multimae::peft::{PeftConfig, PeftModel, SideRung, forward_batched, random_prompts};
use multimae::positions::NonSquareTables;
use multimae::prompts::SourceInput;
use multimae::state::{parameters, take_gradients, update};
use multimae::tokens::Inputs;
use multimae::tuning::{ParameterKind, Tuning};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const DEPTH: usize = 4;
const WIDTH: usize = 16;
const BATCH: usize = 2;
const GRID: Size = Size { height: 2, width: 3 };
const HOOKS: [usize; 2] = [1, 3];

fn config() -> MultiVitConfig {
    let light = LightConfig { num_classes: 2, hooks: HOOKS.to_vec(), width: 8, depth: 1 };
    MultiVitConfig {
        encoder: EncoderConfig::new(WIDTH, DEPTH, 2),
        patch_size: 8,
        image_size: Size::new(8 * GRID.height, 8 * GRID.width),
        num_global_tokens: 1,
        inputs: vec![Modality::continuous("rgb", 3), Modality::continuous("depth", 1)],
        heads: vec![TaskHead {
            name: "values".to_owned(),
            main_tasks: vec!["rgb".to_owned(), "depth".to_owned()],
            head: HeadConfig::Light(light),
        }],
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

/// A model as it begins.
fn fresh(peft: serde_json::Value, device: &Device) -> PeftModel {
    let peft: PeftConfig = serde_json::from_value(peft).unwrap();
    let model = PeftModel::new(&config(), &peft, device).unwrap();
    random_prompts(multimae::init::initialise(model, stream), stream).unwrap()
}

/// The same with additions that have an effect.
fn moved(model: PeftModel) -> PeftModel {
    update(model, |name, value| {
        let kind = ParameterKind::of(name);
        let added = kind == ParameterKind::Side || kind == ParameterKind::Prompts;
        let shift = values(value.dims(), name.len() as f32, &value.device()) * 0.2;
        added.then(|| value + shift)
    })
}

fn inputs(seed: f32, device: &Device) -> Inputs {
    let sides = (8 * GRID.height, 8 * GRID.width);
    let maps = |channels, seed| {
        ModalityTensor::Continuous(values([BATCH, channels, sides.0, sides.1], seed, device))
    };
    [("rgb".to_owned(), maps(3, seed)), ("depth".to_owned(), maps(1, seed + 40.0))]
        .into_iter()
        .collect()
}

fn maps(prediction: &Prediction) -> Tensor<4> {
    match prediction {
        Prediction::Maps(maps) => maps.clone(),
        Prediction::Classes(_) => panic!("classes of images"),
    }
}

fn predicted(model: &PeftModel, seed: f32) -> Vec<f64> {
    let output = model.forward(inputs(seed, &Device::default()), &mut Phase::Evaluation).unwrap();
    numbers(&maps(&output.predictions["values"]))
}

fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().into_data().iter::<f64>().collect()
}

/// `W x + b`, of a weight `(outputs, inputs)`.
fn linear(linear: &multimae::nn::Linear, x: &[f64]) -> Vec<f64> {
    let (weight, bias) = (numbers(&linear.weight.val()), linear.bias.as_ref().unwrap().val());
    let rows = weight.chunks(x.len()).zip(numbers(&bias));
    rows.map(|(row, bias)| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>() + bias).collect()
}

fn normed(rung: &SideRung, x: &[f64]) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let (weight, bias) = (numbers(&rung.norm.weight.val()), numbers(&rung.norm.bias.val()));
    let affine = x.iter().zip(weight).zip(bias);
    affine
        .map(|((x, weight), bias)| (x - mean) / (variance + 1e-6).sqrt() * weight + bias)
        .collect()
}

/// The exact GELU, by the series of the error function.
fn gelu(x: f64) -> f64 {
    let z = x / 2.0_f64.sqrt();
    let (mut term, mut sum) = (z, z);
    for n in 1..200 {
        term *= -z * z / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    0.5 * x * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * sum)
}

/// A 3x3 convolution of every channel by itself over a map of tokens; outside of it are zeros.
fn depthwise(rung: &SideRung, tokens: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let kernel = numbers(&rung.depthwise.weight.val());
    let bias = numbers(&rung.depthwise.bias.as_ref().unwrap().val());
    let at = |y: isize, x: isize, channel: usize| {
        let inside =
            (0..GRID.height as isize).contains(&y) && (0..GRID.width as isize).contains(&x);
        if inside { tokens[y as usize * GRID.width + x as usize][channel] } else { 0.0 }
    };
    let of = |token: usize, channel: usize| {
        let (y, x) = ((token / GRID.width) as isize, (token % GRID.width) as isize);
        let taps = (0..9).map(|tap| {
            let (dy, dx) = (tap / 3 - 1, tap % 3 - 1);
            kernel[channel * 9 + tap as usize] * at(y + dy, x + dx, channel)
        });
        taps.sum::<f64>() + bias[channel]
    };
    let channels = bias.len();
    (0..tokens.len()).map(|token| (0..channels).map(|c| of(token, c)).collect()).collect()
}

/// The changes of the patches of one modality of one sample, by block.
fn ladder(model: &PeftModel, layers: &[Vec<Vec<f64>>]) -> Vec<(usize, Vec<Vec<f64>>)> {
    let side = model.side.as_ref().unwrap();
    let mut state = vec![Vec::new(); GRID.area()];
    let mut changes = Vec::new();
    for (rung, &block) in side.rungs.iter().zip(side.blocks()) {
        let sum: Vec<Vec<f64>> = layers[block]
            .iter()
            .zip(&state)
            .map(|(x, state): (_, &Vec<f64>)| {
                let own = linear(&rung.down, &normed(rung, x));
                let before = |channel| state.get(channel).copied().unwrap_or(0.0);
                own.into_iter().enumerate().map(|(c, own)| own + before(c)).collect()
            })
            .collect();
        let mixed = depthwise(rung, &sum);
        state = sum
            .iter()
            .zip(mixed)
            .map(|(sum, mixed)| {
                let mixed: Vec<f64> = mixed.into_iter().map(gelu).collect();
                sum.iter().zip(linear(&rung.pointwise, &mixed)).map(|(a, b)| a + b).collect()
            })
            .collect();
        if let Some(up) = &rung.up {
            changes.push((block, state.iter().map(|x| linear(up, x)).collect()));
        }
    }
    changes
}

/// `layers` with the ladder's changes by the outputs `read`.
fn changed(model: &PeftModel, read: &EncoderOutput, layers: EncoderOutput) -> EncoderOutput {
    let tokens = |layer: &Tensor<3>| -> Vec<Vec<f64>> {
        numbers(layer).chunks(WIDTH).map(<[f64]>::to_vec).collect()
    };
    let per_sample = 2 * GRID.area() + 1;
    let read: Vec<Vec<Vec<f64>>> = read.layers.iter().map(tokens).collect();
    let mut changed: Vec<Vec<Vec<f64>>> = layers.layers.iter().map(tokens).collect();
    for sample in 0..BATCH {
        for modality in 0..2 {
            let start = sample * per_sample + modality * GRID.area();
            let own: Vec<Vec<Vec<f64>>> =
                read.iter().map(|layer| layer[start..start + GRID.area()].to_vec()).collect();
            for (block, change) in ladder(model, &own) {
                for (token, change) in changed[block][start..].iter_mut().zip(change) {
                    token.iter_mut().zip(change).for_each(|(value, change)| *value += change);
                }
            }
        }
    }
    let tensor = |layer: Vec<Vec<f64>>| {
        let values: Vec<f32> = layer.into_iter().flatten().map(|value| value as f32).collect();
        let shape = [BATCH, per_sample, WIDTH];
        Tensor::from_data(TensorData::new(values, shape), &Device::default())
    };
    EncoderOutput { layers: changed.into_iter().map(tensor).collect(), ..layers }
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn cases() -> Vec<serde_json::Value> {
    let side = json!({"width": 5, "taps": [0]});
    vec![
        json!({"side": side}),
        json!({"side": side, "prompts": {"kind": "rein", "count": 4, "rank": 2, "first": 2}}),
        json!({"side": side, "prompts": {"kind": "deep", "count": 3}}),
        json!({"side": side, "prompts": {"kind": "deep", "count": 3}, "branch_at": 2}),
        json!({"side": side, "prompts": {"kind": "deep", "count": 3}, "prompt_norms": 2}),
    ]
}

#[test]
fn a_ladder_is_its_formula() {
    let device = Device::default();
    for peft in &cases()[..3] {
        let model = moved(fresh(peft.clone(), &device));
        let phase = &mut Phase::Evaluation;
        let read = model.vit.forward(inputs(0.5, &device), phase).unwrap();
        let prompts = model.prompts.as_ref().map(|source| {
            let input = SourceInput { batch: BATCH, ..SourceInput::default() };
            source.forward(input, &mut Phase::Evaluation).unwrap().prompts
        });
        let own = model
            .vit
            .forward_with_prompts(inputs(0.5, &device), &prompts.unwrap_or_default(), phase)
            .unwrap();
        let expected = changed(&model, &read, own.clone());
        let expected =
            numbers(&maps(&model.vit.forward_heads(&expected, phase).unwrap()["values"]));
        let without = numbers(&maps(&model.vit.forward_heads(&own, phase).unwrap()["values"]));
        let got = predicted(&model, 0.5);
        assert!(difference(&got, &expected) < 2e-5, "{peft}: {}", difference(&got, &expected));
        assert!(difference(&got, &without) > 1e-2, "{peft}");
    }
}

#[test]
fn a_ladder_begins_without_effect() {
    let device = Device::default();
    for peft in cases() {
        let model = fresh(peft.clone(), &device);
        let mut without = model.clone();
        without.side = None;
        assert_eq!(predicted(&model, 0.5), predicted(&without, 0.5), "{peft}");
        let other = moved(model);
        let mut without = other.clone();
        without.side = None;
        assert!(difference(&predicted(&other, 0.5), &predicted(&without, 0.5)) > 1e-3, "{peft}");
    }
}

#[test]
fn no_gradient_reaches_the_encoder() {
    let device = Device::default().autodiff();
    let model = moved(fresh(json!({"side": {"width": 5, "taps": [0]}}), &device));
    let tuned = "side".parse::<Tuning>().unwrap().apply(model, DEPTH).unwrap();
    let output = tuned.forward(inputs(0.5, &device), &mut Phase::Evaluation).unwrap();
    let mut gradients = maps(&output.predictions["values"]).square().sum().backward();
    let got = take_gradients(&tuned, &mut gradients);
    assert!(got.keys().all(|name| ParameterKind::of(name) != ParameterKind::Backbone), "{got:?}");
    let trained = parameters(&tuned).iter().filter(|parameter| parameter.trainable).count();
    assert_eq!(got.len(), trained);
}

#[test]
fn batches_of_several_models_keep_their_ladders() {
    let device = Device::default();
    let models: Vec<PeftModel> =
        cases().into_iter().map(|peft| moved(fresh(peft, &device))).collect();
    let batches = models.iter().enumerate().map(|(at, model)| (model, inputs(at as f32, &device)));
    let together = forward_batched(batches.collect(), &mut Phase::Evaluation).unwrap();
    for (at, (model, together)) in models.iter().zip(together).enumerate() {
        let together = numbers(&maps(&together["values"]));
        assert!(difference(&together, &predicted(model, at as f32)) < 1e-5, "model {at}");
    }
}

#[test]
fn taps_must_be_blocks() {
    let refused = |side: serde_json::Value| {
        let peft: PeftConfig = serde_json::from_value(json!({ "side": side })).unwrap();
        PeftModel::new(&config(), &peft, &Device::default()).map(drop).unwrap_err().to_string()
    };
    assert!(refused(json!({"taps": [4]})).contains("`side.taps`: 4 is no block"));
    assert!(refused(json!({"width": 0})).contains("`side.width`"));
}
