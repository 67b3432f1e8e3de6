//! Prompt pools on a whole model: every kind changes what heads see, learns, and has stable names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use multimae::burn::module::Module;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::{EncoderConfig, Phase};
use multimae::init::initialise;
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{Modality, Size};
use multimae::model::Inputs;
use multimae::multivit::{MultiVit, MultiVitConfig};
use multimae::positions::NonSquareTables;
use multimae::prompts::{
    CodaConfig, CodaPrompts, DualConfig, DualPrompt, PoolConfig, PoolForm, PoolKeySharing,
    PoolUsage, PromptPool, Prompts, Query, Selection,
};
use multimae::state::{parameters, take_gradients, with_trained};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const WIDTH: usize = 16;
const DEPTH: usize = 3;
const BATCH: usize = 2;

fn drawn<M: Module>(module: M) -> M {
    initialise(module, |name| ChaCha8Rng::seed_from_u64(name.bytes().map(u64::from).sum()))
}

/// A frozen encoder of RGB without heads.
fn model(device: &Device) -> MultiVit {
    let config = MultiVitConfig {
        encoder: EncoderConfig::new(WIDTH, DEPTH, 2),
        patch_size: 8,
        image_size: Size::square(16),
        num_global_tokens: 1,
        inputs: vec![Modality::continuous("rgb", 3)],
        heads: Vec::new(),
        tables: NonSquareTables::default(),
    };
    with_trained(drawn(MultiVit::new(&config, device).unwrap()), |_, _| false)
}

fn inputs(device: &Device) -> Inputs {
    let shape = [BATCH, 3, 16, 16];
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| (i as f32 * 0.31).sin()).collect();
    let rgb = ModalityTensor::Continuous(Tensor::from_data(TensorData::new(values, shape), device));
    [("rgb".to_owned(), rgb)].into_iter().collect()
}

/// The last layer with the prompts, `(B, S + G, width)`.
fn last(model: &MultiVit, prompts: &[Prompts], device: &Device) -> multimae::Result<Tensor<3>> {
    let output = model.forward_with_prompts(inputs(device), prompts, &mut Phase::Evaluation)?;
    Ok(output.layers.last().unwrap().clone())
}

/// The parameters of a pool that learn from the task, and the tokens that the prompts gave.
fn learns<M: Module>(
    module: &M,
    forward: impl Fn(&M, Tensor<2>) -> multimae::Result<Selection>,
    device: &Device,
) -> Vec<String> {
    let model = model(device);
    let plain = model.forward(inputs(device), &mut Phase::Evaluation).unwrap();
    let query = Query::Patches.of_output(&plain).unwrap();
    let selection = forward(module, query).unwrap();
    let tokens = last(&model, &selection.prompts, device).unwrap();
    let before = plain.layers.last().unwrap().clone();
    assert_eq!(tokens.dims(), before.dims());
    let change = (tokens.clone() - before).abs().max().into_data().iter::<f32>().next().unwrap();
    assert!(change > 1e-5, "{change}");
    let mut usage = PoolUsage::default();
    usage.record(&selection).unwrap();
    assert_eq!(usage.overall().samples(), BATCH as u64);

    let mut gradients = tokens.square().mean().backward();
    let gradients = take_gradients(module, &mut gradients);
    gradients.iter().for_each(|(name, gradient)| {
        let values: Vec<f32> = gradient.clone().into_data().iter::<f32>().collect();
        assert!(values.iter().all(|value| value.is_finite()), "{name}");
        assert!(values.iter().any(|value| *value != 0.0), "{name}");
    });
    gradients.into_keys().collect()
}

fn names(module: &impl Module) -> Vec<(String, Vec<usize>)> {
    parameters(module).into_iter().map(|p| (p.name, p.shape)).collect()
}

fn named<const N: usize>(expected: [(&str, &[usize]); N]) -> Vec<(String, Vec<usize>)> {
    expected.into_iter().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect()
}

#[test]
fn pools_of_tokens_and_of_prefixes() {
    let device = Device::default().autodiff();
    let config = PoolConfig { entries: 4, length: 3, top_n: 2, layers: 2, ..PoolConfig::default() };
    let pool = drawn(PromptPool::new(&config, WIDTH, &device).unwrap());
    let expected = named([("keys", &[4, WIDTH]), ("tokens", &[4, 2, 3, WIDTH])]);
    assert_eq!(names(&pool), expected);
    assert_eq!(learns(&pool, PromptPool::forward, &device), ["tokens"]);

    let config = PoolConfig { form: PoolForm::Prefix, keys: PoolKeySharing::PerLayer, ..config };
    let pool = drawn(PromptPool::new(&config, WIDTH, &device).unwrap());
    let expected = named([
        ("keys", &[2, 4, WIDTH]),
        ("key_prefix", &[4, 2, 3, WIDTH]),
        ("value_prefix", &[4, 2, 3, WIDTH]),
    ]);
    assert_eq!(names(&pool), expected);
    assert_eq!(learns(&pool, PromptPool::forward, &device), ["key_prefix", "value_prefix"]);
}

#[test]
fn general_and_expert_prefixes() {
    let device = Device::default().autodiff();
    let config = DualConfig { expert_first: 1, expert_layers: 2, ..DualConfig::default() };
    let dual = drawn(DualPrompt::new(&config, WIDTH, &device).unwrap());
    let expected = named([
        ("general.key", &[2, 5, WIDTH]),
        ("general.value", &[2, 5, WIDTH]),
        ("expert.keys", &[10, WIDTH]),
        ("expert.key_prefix", &[10, 2, 10, WIDTH]),
        ("expert.value_prefix", &[10, 2, 10, WIDTH]),
    ]);
    assert_eq!(names(&dual), expected);
    let learned = learns(&dual, DualPrompt::forward, &device);
    let all = ["general.key", "general.value", "expert.key_prefix", "expert.value_prefix"];
    assert_eq!(learned, all);
}

#[test]
fn mixtures_of_components() {
    let device = Device::default().autodiff();
    let config = CodaConfig { layers: 3, ..CodaConfig::default() };
    let coda = drawn(CodaPrompts::new(&config, WIDTH, &device).unwrap()).orthonormal().unwrap();
    let expected = named([
        ("keys", &[3, 10, WIDTH]),
        ("attention", &[3, 10, WIDTH]),
        ("components", &[3, 10, 10, WIDTH]),
    ]);
    assert_eq!(names(&coda), expected);
    assert_eq!(learns(&coda, CodaPrompts::forward, &device), ["keys", "attention", "components"]);
}

/// Every sample gets its own prompts: what is computed for it does not depend on its neighbours.
#[test]
fn samples_do_not_mix() {
    let device = Device::default();
    let config = PoolConfig { entries: 6, length: 2, top_n: 2, ..PoolConfig::default() };
    let pool = drawn(PromptPool::new(&config, WIDTH, &device).unwrap());
    let values: Vec<f32> = (0..BATCH * WIDTH).map(|i| (i as f32 * 2.3).sin()).collect();
    let query = Tensor::<2>::from_data(TensorData::new(values, [BATCH, WIDTH]), &device);
    let together = pool.forward(query.clone()).unwrap();
    let Prompts::Tokens { tokens: together, .. } = &together.prompts[0] else { panic!() };
    for sample in 0..BATCH {
        let alone = pool.forward(query.clone().narrow(0, sample, 1)).unwrap();
        let Prompts::Tokens { tokens: alone, .. } = &alone.prompts[0] else { panic!() };
        assert_eq!(alone.to_data(), together.clone().narrow(0, sample, 1).to_data());
    }
}

#[test]
fn an_encoder_with_too_few_blocks_is_an_error() {
    let device = Device::default();
    let model = model(&device);
    let config = CodaConfig { first: 1, layers: 3, ..CodaConfig::default() };
    let coda = CodaPrompts::new(&config, WIDTH, &device).unwrap();
    let selection = coda.forward(Tensor::ones([BATCH, WIDTH], &device)).unwrap();
    let error = last(&model, &selection.prompts, &device).unwrap_err().to_string();
    assert!(error.contains("3 blocks from block 1 on"), "{error}");
}
