//! AdamW (Loshchilov and Hutter, 2019), in the order of operations of PyTorch's.

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::state::StateDict;
use multimae_kernels::cpu::adamw::AdamWStep;
use multimae_kernels::ops;
use serde::{Deserialize, Serialize};

/// The constants of AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamWConfig {
    /// Decay of the mean of the gradient.
    pub beta_1: f64,
    /// Decay of the mean of the squared gradient.
    pub beta_2: f64,
    /// Added to the denominator.
    pub eps: f64,
}

impl Default for AdamWConfig {
    /// The constants of the published pre-training.
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.95, eps: 1e-8 }
    }
}

/// The moments of one parameter.
#[derive(Debug, Clone)]
struct Moments {
    steps: u64,
    mean: Tensor<1>,
    square: Tensor<1>,
}

/// The optimiser's state, by parameter name. A parameter that has had no gradient has no state.
#[derive(Debug, Clone, Default)]
pub struct AdamW {
    config: AdamWConfig,
    moments: IndexMap<String, Moments>,
}

impl AdamW {
    /// A fresh optimiser.
    #[must_use]
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, moments: IndexMap::new() }
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
        let AdamWConfig { beta_1, beta_2, eps } = self.config;
        let Moments { steps, mean, square } = self.moments.swap_remove(name).unwrap_or_else(|| {
            Moments { steps: 0, mean: gradient.zeros_like(), square: gradient.zeros_like() }
        });
        let steps = steps + 1;
        let step = AdamWStep { beta_1, beta_2, eps, lr, weight_decay, step: steps };
        let (value, mean, square) = ops::adamw(step, value, gradient, mean, square);
        self.moments.insert(name.to_owned(), Moments { steps, mean, square });
        value
    }

    /// The whole state as tensors: `<parameter>.mean`, `.square` and `.steps`.
    #[must_use]
    pub fn state_dict(&self) -> StateDict {
        let mut names: Vec<&String> = self.moments.keys().collect();
        names.sort_unstable();
        let mut state = StateDict::new();
        for name in names {
            let moments = &self.moments[name];
            state.insert(format!("{name}.mean"), moments.mean.to_data());
            state.insert(format!("{name}.square"), moments.square.to_data());
            let steps = TensorData::new(vec![moments.steps as i64], [1]);
            state.insert(format!("{name}.steps"), steps);
        }
        state
    }

    /// The optimiser with the state that [`Self::state_dict`] gave. `None` if it is not one.
    #[must_use]
    pub fn from_state_dict(
        config: AdamWConfig,
        state: &StateDict,
        device: &Device,
    ) -> Option<Self> {
        let mut moments = IndexMap::new();
        for key in state.keys() {
            let Some(name) = key.strip_suffix(".steps") else {
                continue;
            };
            let tensor = |part: &str| {
                let data = state.get(&format!("{name}.{part}"))?.clone();
                Some(Tensor::<1>::from_data(data, device))
            };
            let steps = state[key].iter::<i64>().next()?;
            moments.insert(
                name.to_owned(),
                Moments {
                    steps: u64::try_from(steps).ok()?,
                    mean: tensor("mean")?,
                    square: tensor("square")?,
                },
            );
        }
        (moments.len() * 3 == state.len()).then_some(Self { config, moments })
    }
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
        assert!(AdamW::from_state_dict(AdamWConfig::default(), &broken, &device).is_none());
    }
}
