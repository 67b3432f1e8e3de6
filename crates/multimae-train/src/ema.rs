//! An exponential moving average of the weights.

use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::burn::tensor::{Device, Tensor};
use multimae::state::{StateDict, update};

/// `average <- decay * average + (1 - decay) * weights` after every step, for every trained
/// parameter.
#[derive(Debug, Clone)]
pub struct Ema {
    decay: f64,
    average: IndexMap<String, Tensor<1>>,
}

/// Calls `f` with every parameter, flattened.
fn each(module: &impl Module, mut f: impl FnMut(&str, Tensor<1>)) {
    let _same = update(module.clone(), |name, value| {
        f(name, value);
        None
    });
}

impl Ema {
    /// Starts from the weights as they are.
    #[must_use]
    pub fn new(module: &impl Module, decay: f64) -> Self {
        let mut average = IndexMap::new();
        each(module, |name, value| {
            average.insert(name.to_owned(), value);
        });
        Self { decay, average }
    }

    /// Takes the weights after a step.
    pub fn add(&mut self, module: &impl Module) {
        let decay = self.decay;
        let average = &mut self.average;
        each(module, |name, value| {
            let mean = match average.get(name) {
                Some(mean) => mean.clone().mul_scalar(decay) + value.mul_scalar(1.0 - decay),
                None => value,
            };
            average.insert(name.to_owned(), mean);
        });
    }

    /// A model with the averaged weights.
    #[must_use]
    pub fn apply<M: Module>(&self, module: M) -> M {
        update(module, |name, _| self.average.get(name).cloned())
    }

    /// The averages by parameter.
    #[must_use]
    pub fn state_dict(&self) -> StateDict {
        self.average.iter().map(|(name, mean)| (name.clone(), mean.to_data())).collect()
    }

    /// The average that [`Self::state_dict`] gave.
    #[must_use]
    pub fn from_state_dict(decay: f64, state: &StateDict, device: &Device) -> Self {
        let tensor = |data| Tensor::from_data(data, device);
        let average =
            state.iter().map(|(name, data)| (name.clone(), tensor(data.clone()))).collect();
        Self { decay, average }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use multimae::losses::TaskBalancer;

    #[test]
    fn follows_the_weights_and_survives_the_round_trip() {
        let device = Device::default();
        let weights = |value: f64| {
            update(TaskBalancer::new(vec!["a".into(), "b".into()], &device), |_, v| {
                Some(v.ones_like().mul_scalar(value))
            })
        };
        let mut ema = Ema::new(&weights(1.0), 0.9);
        ema.add(&weights(2.0));
        let mut copy = Ema::from_state_dict(0.9, &ema.state_dict(), &device);
        ema.add(&weights(2.0));
        copy.add(&weights(2.0));
        let value = |ema: &Ema| {
            let model = ema.apply(weights(0.0));
            model.log_vars.val().into_data().try_to_vec::<f32>().unwrap()[0]
        };
        assert!((value(&ema) - 1.19).abs() < 1e-6);
        assert_eq!(value(&ema).to_bits(), value(&copy).to_bits());
    }
}
