//! AdamW (Loshchilov and Hutter, 2019), in the order of operations of PyTorch's.

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::state::StateDict;
use multimae_config::OptimiserStateChoice;
use multimae_data::stream;
use multimae_kernels::cpu::adamw::AdamWStep;
use rand::Rng;

use super::moments::Moments;
use crate::{Error, Result};

/// The ends of the names in a state dict.
const PARTS: [&str; 5] = ["steps", "mean", "square", "mean_absmax", "square_absmax"];

/// The constants of AdamW, and the storage of its moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the mean of the gradient.
    pub beta_1: f64,
    /// Decay of the mean of the squared gradient.
    pub beta_2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Storage of the moments.
    pub state: OptimiserStateChoice,
    /// Seed of the stochastic rounding of moments that are not stored in fp32.
    pub seed: u64,
}

impl Default for AdamWConfig {
    /// The constants of the published pre-training, and moments in fp32.
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.95, eps: 1e-8, state: OptimiserStateChoice::Fp32, seed: 0 }
    }
}

/// The state of one parameter.
#[derive(Debug, Clone)]
struct ParameterState {
    steps: u64,
    moments: Moments,
}

/// The optimiser's state, by parameter name. A parameter that has had no gradient has no state.
#[derive(Debug, Clone, Default)]
pub struct AdamW {
    config: AdamWConfig,
    states: IndexMap<String, ParameterState>,
}

impl AdamW {
    /// A fresh optimiser.
    #[must_use]
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, states: IndexMap::new() }
    }

    /// One parameter's new value.
    ///
    /// # Shapes
    /// `value` and `gradient (n)` to `(n)`.
    #[must_use]
    pub fn step(
        &mut self,
        name: &str,
        value: Tensor<1>,
        gradient: Tensor<1>,
        lr: f64,
        weight_decay: f64,
    ) -> Tensor<1> {
        let AdamWConfig { beta_1, beta_2, eps, state, seed } = self.config;
        let ParameterState { steps, moments } =
            self.states.swap_remove(name).unwrap_or_else(|| ParameterState {
                steps: 0,
                moments: Moments::zeros(state, &gradient),
            });
        let steps = steps + 1;
        let step = AdamWStep { beta_1, beta_2, eps, lr, weight_decay, step: steps };
        let key = || rounding_key(seed, name, steps);
        let (value, moments) = moments.step(step, key, value, gradient);
        self.states.insert(name.to_owned(), ParameterState { steps, moments });
        value
    }

    /// The whole state as tensors: `<parameter>.steps`, `.mean` and `.square`, these as they are
    /// stored, and for moments in 8 bits `.mean_absmax` and `.square_absmax`.
    #[must_use]
    pub fn state_dict(&self) -> StateDict {
        let mut names: Vec<&String> = self.states.keys().collect();
        names.sort_unstable();
        let mut state = StateDict::new();
        for name in names {
            let ParameterState { steps, moments } = &self.states[name];
            moments.write(name, &mut state);
            let steps = TensorData::new(vec![*steps as i64], [1]);
            state.insert(format!("{name}.steps"), steps);
        }
        state
    }

    /// The optimiser with the state that [`Self::state_dict`] gave.
    ///
    /// # Errors
    /// If the state is incomplete, or its moments are not stored as `config` says.
    pub fn from_state_dict(
        config: AdamWConfig,
        state: &StateDict,
        device: &Device,
    ) -> Result<Self> {
        let mut states = IndexMap::new();
        for (key, steps) in state {
            let Some(name) = key.strip_suffix(".steps") else {
                continue;
            };
            let steps = steps.iter::<i64>().next().and_then(|steps| u64::try_from(steps).ok());
            let steps = steps.ok_or_else(|| error(name, "`steps` is not a count"))?;
            let moments = Moments::read(config.state, name, state, device)?;
            states.insert(name.to_owned(), ParameterState { steps, moments });
        }
        let known = |key: &str| {
            key.rsplit_once('.')
                .is_some_and(|(name, part)| states.contains_key(name) && PARTS.contains(&part))
        };
        match state.keys().find(|key| !known(key)) {
            Some(key) => Err(error(key, "it is part of no parameter whose `steps` are known")),
            None => Ok(Self { config, states }),
        }
    }
}

/// Names the random bits of one step of a parameter. They depend on nothing else, so that a run that
/// is resumed rounds as one that was not interrupted.
fn rounding_key(seed: u64, name: &str, steps: u64) -> u64 {
    stream(seed, &format!("optimizer_state.{name}"), steps, 0).next_u64()
}

fn error(parameter: &str, problem: &str) -> Error {
    Error::OptimiserState { parameter: parameter.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn first_step_moves_by_the_learning_rate() {
        let device = Device::default();
        let mut optimiser = AdamW::new(AdamWConfig::default());
        let value = Tensor::<1>::from_floats([1.0, -2.0, 3.0], &device);
        let gradient = Tensor::<1>::from_floats([0.5, -4.0, 0.0], &device);
        let new = values(optimiser.step("w", value, gradient, 0.1, 0.5));
        // Decay by 1 - 0.1 * 0.5, then minus lr * sign(g).
        for (got, expected) in new.iter().zip([0.95 - 0.1, -1.9 + 0.1, 2.85]) {
            assert!((got - expected).abs() < 1e-6, "{new:?}");
        }
    }

    #[test]
    fn state_survives_the_round_trip() {
        let device = Device::default();
        let mut optimiser = AdamW::new(AdamWConfig::default());
        let gradient = || Tensor::<1>::from_floats([0.3, -0.1], &device);
        let start = Tensor::<1>::from_floats([1.0, 2.0], &device);
        let value = optimiser.step("a.w", start, gradient(), 0.01, 0.05);
        let state = optimiser.state_dict();
        let mut copy = AdamW::from_state_dict(AdamWConfig::default(), &state, &device).unwrap();
        let one = values(optimiser.step("a.w", value.clone(), gradient(), 0.01, 0.05));
        let two = values(copy.step("a.w", value, gradient(), 0.01, 0.05));
        assert_eq!(one, two);
        let mut broken = state;
        broken.shift_remove("a.w.mean");
        let error = AdamW::from_state_dict(AdamWConfig::default(), &broken, &device).unwrap_err();
        assert!(
            error.to_string().contains("`a.w`") && error.to_string().contains("`mean`"),
            "{error}"
        );
    }
}
