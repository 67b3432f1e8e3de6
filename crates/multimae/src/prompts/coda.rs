//! Prompts that are mixtures of all entries of a pool.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::orthonormal::orthonormalise;
use super::selection::{NORM_EPS, check_query, unit};
use super::{EntryChoice, PoolLosses, Prompts, Query, Selection, checks};
use crate::Result;
use crate::nn::parameter;
use crate::state::{AllowedKeys, StateDict, load, state_dict};

const WHAT: &str = "prompts of components";

/// The sizes and options of [`CodaPrompts`].
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodaConfig {
    /// Components per block, M.
    pub entries: usize,
    /// Prompts per component, P: an even number, the first half keys, the second half values.
    pub length: usize,
    /// The first block that gets prompts, counted from 0.
    pub first: usize,
    /// Blocks that get prompts, from `first` on.
    pub layers: usize,
    /// The query of the mixture.
    pub query: Query,
    /// Weight of [`PoolLosses::orthogonality`]; with 0 the term is not computed.
    pub orthogonality_weight: f64,
}

impl Default for CodaConfig {
    /// The published blocks and no weight on orthogonality, which the first values already have.
    fn default() -> Self {
        Self {
            entries: 10,
            length: 10,
            first: 0,
            layers: 5,
            query: Query::default(),
            orthogonality_weight: 0.0,
        }
    }
}

impl CodaConfig {
    /// Checks everything that does not depend on the encoder.
    ///
    /// # Errors
    /// Names the key that is wrong.
    pub fn check(&self) -> Result<()> {
        let sizes = [("entries", self.entries), ("length", self.length), ("layers", self.layers)];
        checks::sizes(WHAT, &sizes)?;
        if !self.length.is_multiple_of(2) {
            let problem = format!(
                "`length` is {}; it must be even: half of it are keys, half values",
                self.length
            );
            return Err(checks::error(WHAT, &problem));
        }
        checks::weights(WHAT, &[("orthogonality_weight", self.orthogonality_weight)])
    }
}

/// CODA-Prompt (Smith et al., 2023): in every block the sum of all components, component `m` with
/// the weight `cos(query * attention_m, key_m)`. Nothing is chosen, so everything learns from the
/// loss of the task.
#[derive(Module, Debug)]
pub struct CodaPrompts {
    /// `(layers, M, width)`.
    pub keys: Param<Tensor<3>>,
    /// The attention of each component over a query, `(layers, M, width)`.
    pub attention: Param<Tensor<3>>,
    /// `(layers, M, P, width)`; of P the first half are keys, the second half values, the heads side
    /// by side.
    pub components: Param<Tensor<4>>,
    #[module(skip)]
    config: CodaConfig,
}

impl CodaPrompts {
    /// Prompts of zeros for an encoder of this width; see [`crate::init::initialise`], and
    /// [`Self::orthonormal`] behind it.
    ///
    /// # Errors
    /// If the configuration describes no prompts.
    pub fn new(config: &CodaConfig, width: usize, device: &Device) -> Result<Self> {
        config.check()?;
        let CodaConfig { entries, length, layers, .. } = *config;
        Ok(Self {
            keys: parameter([layers, entries, width], device),
            attention: parameter([layers, entries, width], device),
            components: parameter([layers, entries, length, width], device),
            config: config.clone(),
        })
    }

    /// The configuration that the prompts were built from.
    #[must_use]
    pub fn config(&self) -> &CodaConfig {
        &self.config
    }

    /// In every layer, makes the keys, the attention vectors and the components (each as one long
    /// vector) orthonormal among themselves, by the method of Gram and Schmidt in double precision
    /// on the host: what begins orthogonal learns different things.
    ///
    /// # Errors
    /// If there are more entries than the width, or values are not linearly independent, as those of
    /// a fresh module are not before [`crate::init::initialise`].
    pub fn orthonormal(self) -> Result<Self> {
        let [layers, entries, width] = self.keys.dims();
        if entries > width {
            let problem = format!(
                "{entries} `entries` cannot be orthogonal in {width} dimensions; choose at most \
                 {width}"
            );
            return Err(checks::error(WHAT, &problem));
        }
        let mut values = StateDict::new();
        for (name, data) in state_dict(&self) {
            let shape = data.shape().as_slice().to_vec();
            let mut numbers: Vec<f64> = data.iter::<f64>().collect();
            let layer = numbers.len() / layers;
            let mut each = numbers.chunks_mut(layer);
            if !each.all(|rows| orthonormalise(rows, layer / entries)) {
                let problem = format!(
                    "`{name}` cannot be made orthogonal: its entries are not linearly \
                     independent; draw random values first"
                );
                return Err(checks::error(WHAT, &problem));
            }
            let numbers: Vec<f32> = numbers.into_iter().map(|number| number as f32).collect();
            values.insert(name, TensorData::new(numbers, shape));
        }
        load(self, values, &AllowedKeys::default())
    }

    /// Mixes the components for every sample.
    ///
    /// # Shapes
    /// `query (B, width)`, which gets no gradient. The prompts are keys and values
    /// `(B, layers, P / 2, width)`; the similarities `(B, layers, M)` are the weights.
    ///
    /// # Errors
    /// If the query has another width than the keys.
    pub fn forward(&self, query: Tensor<2>) -> Result<Selection> {
        check_query(&query, self.keys.dims()[2])?;
        let weights = self.weights(query);
        let orthogonality = (self.config.orthogonality_weight > 0.0).then(|| self.orthogonality());
        Ok(Selection {
            prompts: vec![self.mix(weights.clone())],
            similarity: weights,
            choice: EntryChoice::Mixture,
            losses: PoolLosses { orthogonality, ..PoolLosses::default() },
        })
    }

    /// `cos(query * attention, keys)`, `(B, layers, M)`: as two GEMMs, so that no query is repeated
    /// for every component.
    fn weights(&self, query: Tensor<2>) -> Tensor<3> {
        let [layers, entries, width] = self.keys.dims();
        let rows = |param: &Param<Tensor<3>>| param.val().reshape([layers * entries, width]);
        // The cosine does not depend on the query's length, the rounding does.
        let query = unit(query.detach());
        let (keys, attention) = (unit(rows(&self.keys)), rows(&self.attention));
        let along = query.clone().matmul((attention.clone() * keys).transpose());
        let squares = query.square().matmul(attention.square().transpose());
        let batch = along.dims()[0];
        (along / squares.clamp_min(NORM_EPS).sqrt()).reshape([batch, layers, entries])
    }

    fn mix(&self, weights: Tensor<3>) -> Prompts {
        let [layers, entries, length, width] = self.components.dims();
        let batch = weights.dims()[0];
        let components = self.components.val().reshape([layers, entries, length * width]);
        let mixed = weights
            .swap_dims(0, 1)
            .matmul(components)
            .swap_dims(0, 1)
            .reshape([batch, layers, length, width]);
        let half = length / 2;
        Prompts::Prefix {
            first: self.config.first,
            keys: mixed.clone().narrow(2, 0, half),
            values: mixed.narrow(2, half, half),
        }
    }

    /// Computes the distance of keys, attention vectors and components (each as one long vector)
    /// from orthonormal ones: per kind the mean over all pairs of `(<row_i, row_j> - [i = j])^2`,
    /// added up over the kinds and the layers. `(1)`.
    #[must_use]
    pub fn orthogonality(&self) -> Tensor<1> {
        let [layers, entries, length, width] = self.components.dims();
        let components = self.components.val().reshape([layers, entries, length * width]);
        [self.keys.val(), self.attention.val(), components]
            .into_iter()
            .map(from_orthonormal)
            .fold(Tensor::zeros([1], &self.keys.device()), |sum, term| sum + term)
    }
}

/// `(layers, M, columns)` to `(1)`.
fn from_orthonormal(rows: Tensor<3>) -> Tensor<1> {
    let [_, entries, _] = rows.dims();
    let identity = Tensor::<2>::eye(entries, &rows.device()).unsqueeze_dim(0);
    let products = rows.clone().matmul(rows.transpose());
    (products - identity).square().sum().div_scalar((entries * entries) as f64)
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::init::initialise;
    use crate::state::{parameters, take_gradients, update};

    const LAYERS: usize = 2;
    const ENTRIES: usize = 3;
    const LENGTH: usize = 4;
    const WIDTH: usize = 6;

    fn config() -> CodaConfig {
        CodaConfig {
            entries: ENTRIES,
            length: LENGTH,
            first: 1,
            layers: LAYERS,
            orthogonality_weight: 0.1,
            ..CodaConfig::default()
        }
    }

    /// Values without a pattern, of magnitude up to 1.
    fn coda(device: &Device) -> CodaPrompts {
        let coda = CodaPrompts::new(&config(), WIDTH, device).unwrap();
        update(coda, |name, value| {
            let wave = |i: usize| ((i * 7 + name.len() * 13) as f32 * 0.73).sin();
            let values: Vec<f32> = (0..value.dims()[0]).map(wave).collect();
            Some(Tensor::from_floats(values.as_slice(), &value.device()))
        })
    }

    fn queries(device: &Device) -> Tensor<2> {
        let values: Vec<f32> = (0..2 * WIDTH).map(|i| (i as f32 * 1.9).cos() * 30.0).collect();
        Tensor::<1>::from_floats(values.as_slice(), device).reshape([2, WIDTH])
    }

    fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
        tensor.clone().into_data().iter::<f64>().collect()
    }

    fn values(coda: &CodaPrompts) -> IndexMap<String, Vec<f64>> {
        let values = |(name, data): (String, TensorData)| (name, data.iter::<f64>().collect());
        state_dict(coda).into_iter().map(values).collect()
    }

    fn prefix(selection: &Selection) -> (Tensor<4>, Tensor<4>) {
        let [Prompts::Prefix { first: 1, keys, values }] = selection.prompts.as_slice() else {
            panic!("not one prefix")
        };
        (keys.clone(), values.clone())
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn mixtures_are_the_written_sums() {
        let device = Device::default();
        let coda = coda(&device);
        let selection = coda.forward(queries(&device)).unwrap();
        assert_eq!(selection.choice, EntryChoice::Mixture);
        assert_eq!(selection.similarity.dims(), [2, LAYERS, ENTRIES]);
        let (keys, values_of) = prefix(&selection);
        assert_eq!((keys.dims(), values_of.dims()), ([2, LAYERS, LENGTH / 2, WIDTH], keys.dims()));
        let (keys, values_of) = (numbers(&keys), numbers(&values_of));
        let weights = numbers(&selection.similarity);

        let own = values(&coda);
        let row = |name: &str, index: usize, len: usize| own[name][index * len..][..len].to_vec();
        for (sample, query) in numbers(&queries(&device)).chunks(WIDTH).enumerate() {
            for layer in 0..LAYERS {
                let mut mixed = [0.0; LENGTH * WIDTH];
                for entry in 0..ENTRIES {
                    let index = layer * ENTRIES + entry;
                    let (key, attention) =
                        (row("keys", index, WIDTH), row("attention", index, WIDTH));
                    let seen: Vec<f64> = query.iter().zip(&attention).map(|(q, a)| q * a).collect();
                    let cosine = dot(&seen, &key) / (dot(&seen, &seen) * dot(&key, &key)).sqrt();
                    let got = weights[sample * LAYERS * ENTRIES + index];
                    assert!((got - cosine).abs() < 1e-5, "{got} {cosine}");
                    let component = row("components", index, LENGTH * WIDTH);
                    mixed.iter_mut().zip(&component).for_each(|(sum, c)| *sum += cosine * c);
                }
                let half = LENGTH * WIDTH / 2;
                let start = (sample * LAYERS + layer) * half;
                for (slow, fast) in [(&mixed[..half], &keys), (&mixed[half..], &values_of)] {
                    let fast = &fast[start..start + half];
                    assert!(slow.iter().zip(fast).all(|(slow, fast)| (slow - fast).abs() < 1e-5));
                }
            }
        }
    }

    #[test]
    fn only_the_direction_of_a_query_counts() {
        let device = Device::default();
        let coda = coda(&device);
        let one = coda.forward(queries(&device)).unwrap().similarity;
        let other = coda.forward(queries(&device).mul_scalar(1e-4)).unwrap().similarity;
        assert!(numbers(&(one - other)).iter().all(|difference| difference.abs() < 1e-5));
    }

    #[test]
    fn orthogonality_is_the_written_sum() {
        let device = Device::default();
        let coda = coda(&device);
        let slow: f64 = values(&coda)
            .into_values()
            .map(|values| {
                let layer = values.len() / LAYERS;
                let square = |rows: &[f64]| -> f64 {
                    let rows: Vec<&[f64]> = rows.chunks(layer / ENTRIES).collect();
                    let pair = |i: usize, j: usize| {
                        (dot(rows[i], rows[j]) - f64::from(u8::from(i == j))).powi(2)
                    };
                    (0..ENTRIES).map(|i| (0..ENTRIES).map(|j| pair(i, j)).sum::<f64>()).sum()
                };
                values.chunks(layer).map(square).sum::<f64>() / (ENTRIES * ENTRIES) as f64
            })
            .sum();
        let fast = numbers(&coda.orthogonality())[0];
        assert!((slow - fast).abs() < 1e-4 * slow && slow > 1.0, "{slow} {fast}");
        let selection = coda.forward(queries(&device)).unwrap();
        let names: Vec<_> = selection.losses.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["orthogonality"]);
        let without = CodaConfig { orthogonality_weight: 0.0, ..config() };
        let without = CodaPrompts::new(&without, WIDTH, &device).unwrap();
        assert_eq!(without.forward(queries(&device)).unwrap().losses.iter().count(), 0);
    }

    #[test]
    fn first_values_can_be_made_orthonormal() {
        let device = Device::default().autodiff();
        let coda = CodaPrompts::new(&config(), WIDTH, &device).unwrap();
        let zeros = coda.clone().orthonormal().unwrap_err().to_string();
        assert!(zeros.contains("draw random values"), "{zeros}");
        let drawn = initialise(coda, |name| ChaCha8Rng::seed_from_u64(name.len() as u64));
        assert!(numbers(&drawn.orthogonality())[0] > 0.1);
        let orthonormal = drawn.clone().orthonormal().unwrap();
        assert!(numbers(&orthonormal.orthogonality())[0] < 1e-10);
        // The first entry of a layer keeps its direction.
        let (before, after) = (values(&drawn), values(&orthonormal));
        let key = &before["keys"][..WIDTH];
        let norm = dot(key, key).sqrt();
        let close = |(before, after): (&f64, &f64)| (before / norm - after).abs() < 1e-6;
        assert!(key.iter().zip(&after["keys"]).all(close));
        assert!(parameters(&orthonormal).iter().all(|parameter| parameter.trainable));

        let wide = CodaConfig { entries: WIDTH + 1, ..config() };
        let wide = CodaPrompts::new(&wide, WIDTH, &device).unwrap();
        assert!(wide.orthonormal().unwrap_err().to_string().contains("at most 6"));
    }

    /// A loss of everything that prompts are for.
    fn task(coda: &CodaPrompts, device: &Device) -> Tensor<1> {
        let (keys, values) = prefix(&coda.forward(queries(device)).unwrap());
        (keys.clone() * values + keys.mul_scalar(0.5)).sum()
    }

    #[test]
    fn everything_learns_from_the_task_but_the_query() {
        let device = Device::default().autodiff();
        let coda = coda(&device);
        let query = queries(&device).require_grad();
        let (keys, values) = prefix(&coda.forward(query.clone()).unwrap());
        let mut gradients = (keys * values).sum().backward();
        assert!(query.grad(&gradients).is_none());
        let gradients = take_gradients(&coda, &mut gradients);
        assert_eq!(gradients.keys().collect::<Vec<_>>(), ["keys", "attention", "components"]);
        for (name, gradient) in &gradients {
            let largest = numbers(gradient).into_iter().map(f64::abs).fold(0.0, f64::max);
            assert!(largest > 1e-3, "{name}");
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        const STEP: f32 = 1e-2;
        let device = Device::default().autodiff();
        let coda = coda(&device);
        let loss = |coda: &CodaPrompts| task(coda, &device) + coda.orthogonality();
        let mut gradients = loss(&coda).backward();
        let gradients = take_gradients(&coda, &mut gradients);
        for (name, gradient) in &gradients {
            let gradient = numbers(gradient);
            let scale = gradient.iter().copied().map(f64::abs).fold(0.0, f64::max);
            for (place, analytic) in gradient.iter().enumerate().step_by(5) {
                let moved = |step: f32| {
                    let moved = update(coda.clone(), |other, value| {
                        if other != name {
                            return None;
                        }
                        let mut values: Vec<f32> = value.into_data().iter::<f32>().collect();
                        values[place] += step;
                        Some(Tensor::from_floats(values.as_slice(), &Device::default()))
                    });
                    numbers(&loss(&moved))[0]
                };
                let numeric = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                let difference = (analytic - numeric).abs();
                assert!(difference < 5e-3 * scale, "{name}[{place}]: {analytic} {numeric}");
            }
        }
    }

    #[test]
    fn impossible_prompts_are_refused() {
        let device = Device::default();
        let refused =
            |config: CodaConfig| CodaPrompts::new(&config, WIDTH, &device).unwrap_err().to_string();
        assert!(refused(CodaConfig { length: 5, ..config() }).contains("must be even"));
        assert!(refused(CodaConfig { length: 0, ..config() }).contains("`length`"));
        assert!(refused(CodaConfig { entries: 0, ..config() }).contains("`entries`"));
        assert!(refused(CodaConfig { layers: 0, ..config() }).contains("`layers`"));
        let infinite = CodaConfig { orthogonality_weight: f64::INFINITY, ..config() };
        assert!(refused(infinite).contains("`orthogonality_weight`"));
        assert!(coda(&device).forward(Tensor::zeros([1, WIDTH + 1], &device)).is_err());
        assert!(serde_json::from_str::<CodaConfig>(r#"{"top_n": 4}"#).is_err());
        assert_eq!(serde_json::from_str::<CodaConfig>("{}").unwrap(), CodaConfig::default());
    }
}
