//! The storages of AdamW's moments beside each other.

use indexmap::IndexMap;
use multimae::burn::tensor::{DType, Device, Tensor, TensorData};
use multimae::state::StateDict;
use multimae::weights::{read_safetensors, write_safetensors};
use multimae_data::stream;
use rand::Rng;

use super::{AdamW, AdamWConfig, OptimiserStateChoice};
use crate::Error;

/// Inputs and outputs of the regression: as many weights as moments in 8 bits need.
const SIDE: usize = 64;

const STORAGES: [OptimiserStateChoice; 3] =
    [OptimiserStateChoice::Fp32, OptimiserStateChoice::Bf16, OptimiserStateChoice::EightBit];

fn config(state: OptimiserStateChoice) -> AdamWConfig {
    AdamWConfig { beta_1: 0.9, beta_2: 0.999, eps: 1e-8, state, seed: 3 }
}

/// Numbers in [-1, 1) of a purpose.
fn numbers(purpose: &str, index: u64, count: usize) -> Vec<f32> {
    let mut rng = stream(1, purpose, 0, index);
    (0..count).map(|_| (rng.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::default())
}

fn values(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// A linear map that is learnt from noisy samples: `SIDE` inputs, the last of which are small, to
/// `SIDE` outputs.
struct Regression {
    ground_truth: Vec<f32>,
}

impl Regression {
    fn new() -> Self {
        Self { ground_truth: numbers("map", 0, SIDE * SIDE) }
    }

    /// The gradient of the mean squared error over the samples of a step.
    fn gradient(&self, weights: &[f32], step: u64) -> Vec<f32> {
        let samples = 8;
        let inputs = numbers("inputs", step, samples * SIDE);
        let noise = numbers("noise", step, samples * SIDE);
        let mut gradient = vec![0.0; SIDE * SIDE];
        for (x, noise) in inputs.chunks(SIDE).zip(noise.chunks(SIDE)) {
            let x: Vec<f32> = x.iter().enumerate().map(|(i, x)| x * scale(i)).collect();
            let rows = weights.chunks(SIDE).zip(self.ground_truth.chunks(SIDE));
            for (((row, expected), noise), gradient) in
                rows.zip(noise).zip(gradient.chunks_mut(SIDE))
            {
                let error: f32 =
                    row.iter().zip(expected).zip(&x).map(|((w, t), x)| (w - t) * x).sum();
                let error = (error + 0.5 * noise) / samples as f32;
                gradient.iter_mut().zip(&x).for_each(|(g, x)| *g += error * x);
            }
        }
        gradient
    }

    /// The expected squared error without noise, per output.
    fn loss(&self, weights: &[f32]) -> f64 {
        let of = |(index, (w, t)): (usize, (&f32, &f32))| {
            f64::from((w - t) * scale(index % SIDE)).powi(2) / 3.0
        };
        weights.iter().zip(&self.ground_truth).enumerate().map(of).sum::<f64>() / SIDE as f64
    }

    /// The weights after these steps from 0, with a learning rate that falls to 0.
    fn train(&self, optimiser: &mut AdamW, steps: u64) -> Vec<f32> {
        let mut weights = vec![0.0; SIDE * SIDE];
        for step in 0..steps {
            let lr = 2e-2 * (1.0 - step as f64 / steps as f64);
            let gradient = tensor(&self.gradient(&weights, step));
            weights = values(optimiser.step("w", tensor(&weights), gradient, lr, 0.0));
        }
        weights
    }
}

/// Inputs over two orders of magnitude, so that moments are over four.
fn scale(input: usize) -> f32 {
    10f32.powf(-2.0 * input as f32 / SIDE as f32)
}

#[test]
fn all_storages_reach_the_loss_of_fp32() {
    let regression = Regression::new();
    let start = regression.loss(&[0.0; SIDE * SIDE]);
    let [exact, bf16, eight_bit] = STORAGES
        .map(|state| regression.loss(&regression.train(&mut AdamW::new(config(state)), 600)));
    assert!(exact < 0.02 * start, "{start} to {exact}");
    assert!((bf16 / exact - 1.0).abs() < 0.01, "{bf16}, and {exact} in fp32");
    assert!((eight_bit / exact - 1.0).abs() < 0.04, "{eight_bit}, and {exact} in fp32");
}

/// A step of two parameters, of which one is too small for 8 bits.
fn step(optimiser: &mut AdamW, parameters: &mut [Vec<f32>; 2], index: u64) {
    for (name, values) in ["encoder.0.weight", "encoder.0.bias"].into_iter().zip(parameters) {
        let gradient = tensor(&numbers(name, index, values.len()));
        let new = optimiser.step(name, tensor(values), gradient, 1e-3, 0.05);
        *values = self::values(new);
    }
}

fn parameters() -> [Vec<f32>; 2] {
    [numbers("weight", 0, 5000), numbers("bias", 0, 50)]
}

/// The state of an optimiser of either parameter after three steps.
fn state(choice: OptimiserStateChoice) -> StateDict {
    let mut optimiser = AdamW::new(config(choice));
    let mut parameters = parameters();
    (0..3).for_each(|index| step(&mut optimiser, &mut parameters, index));
    optimiser.state_dict()
}

fn read(choice: OptimiserStateChoice, state: &StateDict) -> crate::Result<AdamW> {
    AdamW::from_state_dict(config(choice), state, &Device::default())
}

/// Writes a state into a file, in the format of checkpoints, and reads it.
fn through_a_file(state: &StateDict) -> StateDict {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), write_safetensors(state, &IndexMap::new()).unwrap()).unwrap();
    read_safetensors(file.path()).unwrap().0
}

#[test]
fn a_resumed_optimiser_does_the_steps_of_one_that_was_not_interrupted() {
    for choice in STORAGES {
        let (mut optimiser, mut expected) = (AdamW::new(config(choice)), parameters());
        (0..9).for_each(|index| step(&mut optimiser, &mut expected, index));

        let (mut first, mut values) = (AdamW::new(config(choice)), parameters());
        (0..4).for_each(|index| step(&mut first, &mut values, index));
        let mut resumed = read(choice, &through_a_file(&first.state_dict())).unwrap();
        (4..9).for_each(|index| step(&mut resumed, &mut values, index));
        assert_eq!(values, expected, "{choice:?}");
        assert_eq!(resumed.state_dict(), optimiser.state_dict(), "{choice:?}");
    }
}

#[test]
fn the_seed_and_the_name_choose_the_rounding() {
    let rounded = |seed, name: &str| {
        let config = AdamWConfig { seed, ..config(OptimiserStateChoice::Bf16) };
        let mut optimiser = AdamW::new(config);
        let numbers = tensor(&numbers("weight", 0, 5000));
        let _ = optimiser.step(name, numbers.clone(), numbers, 1e-3, 0.0);
        optimiser.state_dict()[&format!("{name}.mean")].clone()
    };
    assert_eq!(rounded(3, "a"), rounded(3, "a"));
    assert_ne!(rounded(3, "a"), rounded(4, "a"));
    assert_ne!(rounded(3, "a"), rounded(3, "b"));
}

#[test]
fn moments_are_stored_in_the_bits_of_their_storage() {
    for (choice, weight, bias, bytes) in [
        (OptimiserStateChoice::Fp32, DType::F32, DType::F32, 8 * 5000),
        (OptimiserStateChoice::Bf16, DType::BF16, DType::BF16, 4 * 5000),
        // 20 blocks have a largest magnitude each.
        (OptimiserStateChoice::EightBit, DType::U8, DType::F32, 2 * 5000 + 8 * 20),
    ] {
        let state = state(choice);
        assert_eq!(state["encoder.0.weight.mean"].dtype(), weight);
        assert_eq!(state["encoder.0.weight.square"].dtype(), weight);
        assert_eq!(state["encoder.0.bias.square"].dtype(), bias);
        let moments = state
            .iter()
            .filter(|(key, _)| key.starts_with("encoder.0.weight.") && !key.ends_with(".steps"));
        assert_eq!(moments.map(|(_, data)| data.as_bytes().len()).sum::<usize>(), bytes);
    }
}

#[test]
fn a_copy_does_not_change_with_its_original() {
    for choice in STORAGES {
        let (mut optimiser, mut parameters) = (AdamW::new(config(choice)), parameters());
        step(&mut optimiser, &mut parameters, 0);
        let copy = optimiser.clone();
        let before = copy.state_dict();
        step(&mut optimiser, &mut parameters, 1);
        assert_eq!(copy.state_dict(), before, "{choice:?}");
        assert_ne!(optimiser.state_dict(), before, "{choice:?}");
    }
}

#[test]
fn another_storage_is_refused_with_the_remedy() {
    for stored in STORAGES {
        for choice in STORAGES {
            let result = read(choice, &state(stored));
            if stored == choice {
                assert!(result.is_ok());
                continue;
            }
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::OptimiserState { .. }), "{error:?}");
            let message = error.to_string();
            let remedy = format!(
                "`optimizer_state` is {}. Resume with `optimizer_state: {}`",
                choice.word(),
                stored.word()
            );
            assert!(message.contains(&remedy), "{message}");
        }
    }
}

#[test]
fn damaged_states_are_refused_with_the_parameter() {
    let problem = |change: &dyn Fn(&mut StateDict)| {
        let mut state = state(OptimiserStateChoice::EightBit);
        change(&mut state);
        read(OptimiserStateChoice::EightBit, &state).unwrap_err().to_string()
    };
    let weight = |part: &str| format!("encoder.0.weight.{part}");
    let set = |state: &mut StateDict, part: &str, data| {
        state.insert(weight(part), data);
    };
    for (message, part) in [
        (problem(&|state| drop(state.shift_remove(&weight("mean")))), "`mean` is missing"),
        (
            problem(&|state| drop(state.shift_remove(&weight("square_absmax")))),
            "`square_absmax` is missing",
        ),
        (
            problem(&|state| set(state, "mean_absmax", TensorData::new(vec![1f32; 19], [19]))),
            "`mean_absmax` does not hold one fp32 number per block",
        ),
        (
            problem(&|state| set(state, "mean_absmax", TensorData::new(vec![1i64; 20], [20]))),
            "`mean_absmax` does not hold one fp32 number per block",
        ),
        (
            problem(&|state| set(state, "square", TensorData::new(vec![1u8; 4999], [4999]))),
            "differ in length",
        ),
        (
            problem(&|state| set(state, "mean", TensorData::new(vec![1f32; 5000], [5000]))),
            "it is stored as F32, not as U8",
        ),
        (
            problem(&|state| set(state, "steps", TensorData::new(vec![-1i64], [1]))),
            "`steps` is not a count",
        ),
        (problem(&|state| drop(state.shift_remove(&weight("steps")))), "part of no parameter"),
        (
            problem(&|state| set(state, "other", TensorData::new(vec![1i64], [1]))),
            "part of no parameter",
        ),
    ] {
        assert!(message.contains("encoder.0.weight") && message.contains(part), "{message}");
    }
}
