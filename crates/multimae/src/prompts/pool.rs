//! A pool of prompts: every sample takes the top-k entries by key-query similarity.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::selection::{check_query, largest, unevenness, unit};
use super::{
    EntryChoice, PoolConfig, PoolForm, PoolKeySharing, PoolLosses, PoolUsage, Prompts, Selection,
};
use crate::nn::parameter;
use crate::{Error, Result};

/// The keys of a pool; a variant is no part of a parameter's name.
#[derive(Module, Debug)]
pub enum PoolKeys {
    /// `(M, width)`.
    Shared(Param<Tensor<2>>),
    /// `(layers, M, width)`.
    PerLayer(Param<Tensor<3>>),
}

impl PoolKeys {
    /// `(sets, M, width)`.
    fn sets(&self) -> Tensor<3> {
        match self {
            Self::Shared(keys) => keys.val().unsqueeze_dim(0),
            Self::PerLayer(keys) => keys.val(),
        }
    }
}

/// Learning to prompt (L2P; Wang et al., 2022), with a choice per sample and prompts for any range
/// of blocks.
///
/// Entries learn from the loss of the task, keys only from [`Selection::losses`]: the choice has no
/// gradient.
#[derive(Module, Debug)]
pub struct PromptPool {
    /// `(M, width)`, or `(layers, M, width)`.
    pub keys: PoolKeys,
    /// `(M, layers, P, width)`, of the token form.
    pub tokens: Option<Param<Tensor<4>>>,
    /// `(M, layers, P, width)`, of the prefix form, the heads side by side.
    pub key_prefix: Option<Param<Tensor<4>>>,
    /// As `key_prefix`.
    pub value_prefix: Option<Param<Tensor<4>>>,
    #[module(skip)]
    config: PoolConfig,
}

impl PromptPool {
    /// A pool of zeros for an encoder of this width; see [`crate::init::initialise`].
    ///
    /// # Errors
    /// If the configuration describes no pool.
    pub fn new(config: &PoolConfig, width: usize, device: &Device) -> Result<Self> {
        config.check()?;
        let PoolConfig { entries, layers, .. } = *config;
        let keys = match config.keys {
            PoolKeySharing::Shared => PoolKeys::Shared(parameter([entries, width], device)),
            PoolKeySharing::PerLayer => {
                PoolKeys::PerLayer(parameter([layers, entries, width], device))
            }
        };
        let pool = |form: PoolForm| {
            let shape = [entries, layers, config.length, width];
            (form == config.form).then(|| parameter(shape, device))
        };
        Ok(Self {
            keys,
            tokens: pool(PoolForm::Tokens),
            key_prefix: pool(PoolForm::Prefix),
            value_prefix: pool(PoolForm::Prefix),
            config: config.clone(),
        })
    }

    /// The configuration that the pool was built from.
    #[must_use]
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Takes for every sample the top-k entries by the cosine of key and query. Of equal ones the
    /// first counts.
    ///
    /// # Shapes
    /// `query (B, width)`, which gets no gradient. The prompts are `(B, layers, N * P, width)`, the
    /// most similar entry first.
    ///
    /// # Errors
    /// If the query has another width than the keys.
    pub fn forward(&self, query: Tensor<2>) -> Result<Selection> {
        self.select(query, |similarity, _| similarity)
    }

    /// [`Self::forward`] that takes rarely used entries more readily: those with the smallest
    /// `(1 - cosine) * frequency` (Wang et al., 2022), the frequencies as
    /// [`PoolUsage::frequencies`]. Only the choice changes, not the similarities or the losses.
    ///
    /// # Errors
    /// As [`Self::forward`]; also if the usage is of another pool.
    pub fn forward_penalised(&self, query: Tensor<2>, usage: &PoolUsage) -> Result<Selection> {
        let [sets, entries, _] = self.keys.sets().dims();
        let frequencies = usage.frequencies(sets, entries)?;
        self.select(query, |similarity, slot| (similarity - 1.0) * frequencies[slot])
    }

    /// `score` gets a similarity and its place among `sets * M`; the highest scores are taken.
    fn select(&self, query: Tensor<2>, score: impl Fn(f64, usize) -> f64) -> Result<Selection> {
        let similarity = self.similarity(query)?;
        let [batch, sets, entries] = similarity.dims();
        let rows: Vec<f64> = similarity.clone().into_data().iter::<f64>().collect();
        let slots = sets * entries;
        let scores: Vec<f64> =
            rows.iter().enumerate().map(|(i, &value)| score(value, i % slots)).collect();
        let top_n = self.config.top_n;
        let chosen: Vec<Vec<usize>> = scores
            .chunks(slots)
            .map(|sample| sample.chunks(entries).flat_map(|set| largest(set, top_n)).collect())
            .collect();
        let index = indices(chosen.iter().flatten().copied(), &similarity.device());
        let taken = similarity.clone().gather(2, index.reshape([batch, sets, top_n]));
        let losses = PoolLosses {
            pull: Some(taken.sum().neg().div_scalar((batch * sets).max(1) as f64)),
            diversity: Some(unevenness(similarity.clone(), self.config.diversity_temperature)),
            orthogonality: None,
        };
        let prompts = vec![self.take(&chosen)?];
        Ok(Selection { prompts, similarity, choice: EntryChoice::Entries(chosen), losses })
    }

    /// Cosines, `(B, sets, M)`.
    fn similarity(&self, query: Tensor<2>) -> Result<Tensor<3>> {
        let keys = self.keys.sets();
        let [sets, entries, width] = keys.dims();
        check_query(&query, width)?;
        let batch = query.dims()[0];
        let keys = unit(keys.reshape([sets * entries, width]));
        let cosines = unit(query.detach()).matmul(keys.transpose());
        Ok(cosines.reshape([batch, sets, entries]))
    }

    fn take(&self, chosen: &[Vec<usize>]) -> Result<Prompts> {
        let (first, top_n) = (self.config.first, self.config.top_n);
        match (&self.tokens, &self.key_prefix, &self.value_prefix) {
            (Some(tokens), None, None) => {
                Ok(Prompts::tokens(first, gather(&tokens.val(), chosen, top_n)))
            }
            (None, Some(keys), Some(values)) => Ok(Prompts::Prefix {
                first,
                keys: gather(&keys.val(), chosen, top_n),
                values: gather(&values.val(), chosen, top_n),
            }),
            _ => Err(Error::Config(
                "a prompt pool has either tokens or prefixes of keys and values".to_owned(),
            )),
        }
    }
}

/// The chosen entries of every sample side by side.
///
/// # Shapes
/// `(M, layers, P, width)` to `(B, layers, N * P, width)`.
fn gather(pool: &Tensor<4>, chosen: &[Vec<usize>], top_n: usize) -> Tensor<4> {
    let [entries, layers, count, width] = pool.dims();
    // One set of choices is every layer's; otherwise each layer has one.
    let rows = chosen.iter().flat_map(|sample| {
        let sets = sample.chunks(top_n).cycle().take(layers);
        sets.enumerate()
            .flat_map(move |(layer, set)| set.iter().map(move |&entry| entry * layers + layer))
    });
    pool.clone()
        .reshape([entries * layers, count * width])
        .select(0, indices(rows, &pool.device()))
        .reshape([chosen.len(), layers, top_n * count, width])
}

fn indices(places: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let places: Vec<i64> = places.map(|place| place as i64).collect();
    let len = places.len();
    Tensor::from_data(TensorData::new(places, [len]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::Query;
    use crate::state::{parameters, take_gradients, update};
    use proptest::prelude::*;

    const WIDTH: usize = 2;

    /// Three entries for two blocks with one prompt each. The values of a parameter of entries count
    /// up from 0; keys point along x, along y and between.
    fn pool(change: impl FnOnce(&mut PoolConfig), device: &Device) -> PromptPool {
        let mut config =
            PoolConfig { entries: 3, length: 1, top_n: 2, layers: 2, ..PoolConfig::default() };
        change(&mut config);
        let pool = PromptPool::new(&config, WIDTH, device).unwrap();
        update(pool, |name, value| {
            let len = value.dims()[0];
            let values: Vec<f32> = match name {
                "keys" => {
                    let set = [1.0, 0.0, 0.0, 2.0, 3.0, 3.0];
                    // The second layer's keys in another order.
                    let other = [0.0, 2.0, 3.0, 3.0, 1.0, 0.0];
                    set.into_iter().chain(other).take(len).collect()
                }
                _ => (0..len).map(|value| value as f32).collect(),
            };
            Some(Tensor::from_floats(values.as_slice(), &value.device()))
        })
    }

    fn queries(device: &Device) -> Tensor<2> {
        Tensor::from_floats([[5.0, 0.1], [-1.0, 4.0]], device)
    }

    fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
        tensor.clone().into_data().iter::<f32>().collect()
    }

    fn chosen(selection: &Selection) -> Vec<Vec<usize>> {
        let EntryChoice::Entries(chosen) = selection.choice.clone() else { panic!("a mixture") };
        chosen
    }

    #[test]
    fn every_sample_takes_its_own_entries() {
        let device = Device::default();
        let selection = pool(|_| {}, &device).forward(queries(&device)).unwrap();
        assert_eq!(chosen(&selection), [[0, 2], [1, 2]]);
        assert_eq!(selection.similarity.dims(), [2, 1, 3]);
        let [Prompts::Tokens { first: 0, tokens, gates: None }] = selection.prompts.as_slice()
        else {
            panic!("not tokens")
        };
        assert_eq!(tokens.dims(), [2, 2, 2, 2]);
        // Sample 0, layer 1: entry 0, then entry 2.
        assert_eq!(numbers(tokens)[4..8], [2.0, 3.0, 10.0, 11.0]);
    }

    #[test]
    fn the_pull_is_the_mean_of_the_chosen_cosines() {
        let device = Device::default();
        let cosine = |[a, b]: [f64; 2], [c, d]: [f64; 2]| (a * c + b * d) / a.hypot(b) / c.hypot(d);
        let between = [3.0, 3.0];
        let one = cosine([5.0, 0.1], [1.0, 0.0]) + cosine([5.0, 0.1], between);
        let two = cosine([-1.0, 4.0], [0.0, 2.0]) + cosine([-1.0, 4.0], between);
        for sharing in [PoolKeySharing::Shared, PoolKeySharing::PerLayer] {
            // Per layer the same keys in another order: the same sums.
            let pool = pool(|config| config.keys = sharing, &device);
            let selection = pool.forward(queries(&device)).unwrap();
            let reduce_sim = f64::from(numbers(&selection.reduce_sim().unwrap())[0]);
            assert!((reduce_sim - (one + two) / 2.0).abs() < 1e-6, "{reduce_sim}");
            let names: Vec<_> = selection.losses.iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["pull", "diversity"]);
        }
    }

    #[test]
    fn every_layer_may_choose_for_itself() {
        let device = Device::default();
        let pool = pool(|config| config.keys = PoolKeySharing::PerLayer, &device);
        let selection = pool.forward(queries(&device)).unwrap();
        assert_eq!(selection.similarity.dims(), [2, 2, 3]);
        // In the second layer entry 2 points along x, 0 along y, 1 between.
        assert_eq!(chosen(&selection), [[0, 2, 2, 1], [1, 2, 0, 1]]);
        let Prompts::Tokens { tokens, .. } = &selection.prompts[0] else { panic!("not tokens") };
        // Layer 0 of entries 0 and 2, layer 1 of entries 2 and 1; entry e, layer l begins at
        // 4 e + 2 l.
        assert_eq!(numbers(tokens)[..8], [0.0, 1.0, 8.0, 9.0, 10.0, 11.0, 6.0, 7.0]);
    }

    #[test]
    fn prefixes_are_taken_as_tokens_are() {
        let device = Device::default();
        let tokens = pool(|config| config.first = 1, &device).forward(queries(&device)).unwrap();
        let prefix = pool(
            |config| {
                config.first = 1;
                config.form = PoolForm::Prefix;
            },
            &device,
        );
        let names: Vec<String> = parameters(&prefix).into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["keys", "key_prefix", "value_prefix"]);
        let prefix = prefix.forward(queries(&device)).unwrap();
        let Prompts::Tokens { tokens, first: 1, .. } = &tokens.prompts[0] else { panic!() };
        let Prompts::Prefix { keys, values, first: 1 } = &prefix.prompts[0] else { panic!() };
        assert_eq!(numbers(tokens), numbers(keys));
        assert_eq!(numbers(tokens), numbers(values));
    }

    #[test]
    fn of_equal_keys_the_first_counts() {
        let device = Device::default();
        let config = PoolConfig { entries: 5, top_n: 3, ..PoolConfig::default() };
        let zeros = PromptPool::new(&config, WIDTH, &device).unwrap();
        assert_eq!(chosen(&zeros.forward(queries(&device)).unwrap()), [[0, 1, 2]; 2]);
    }

    #[test]
    fn keys_learn_from_the_extra_terms_and_entries_from_the_task() {
        let device = Device::default().autodiff();
        for form in [PoolForm::Tokens, PoolForm::Prefix] {
            let pool = pool(|config| config.form = form, &device);
            let query = queries(&device).require_grad();
            let selection = pool.forward(query.clone()).unwrap();
            let task = match &selection.prompts[0] {
                Prompts::Tokens { tokens, .. } => tokens.clone().square().sum(),
                Prompts::Prefix { keys, values, .. } => (keys.clone() * values.clone()).sum(),
                other => panic!("{other:?}"),
            };
            let mut gradients = task.backward();
            assert!(query.grad(&gradients).is_none());
            let of_task = take_gradients(&pool, &mut gradients);
            assert!(!of_task.contains_key("keys"));
            let expected: &[&str] = match form {
                PoolForm::Tokens => &["tokens"],
                PoolForm::Prefix => &["key_prefix", "value_prefix"],
            };
            assert_eq!(of_task.keys().collect::<Vec<_>>(), expected);
            // A backward pass uses up what was computed.
            for name in ["pull", "diversity"] {
                let losses = pool.forward(query.clone()).unwrap().losses;
                let (_, term) = losses.iter().find(|(other, _)| *other == name).unwrap();
                let mut gradients = term.clone().backward();
                assert!(query.grad(&gradients).is_none());
                let of_term = take_gradients(&pool, &mut gradients);
                assert_eq!(of_term.keys().collect::<Vec<_>>(), ["keys"]);
                assert!(numbers(&of_term["keys"]).iter().any(|value| value.abs() > 1e-4));
            }
        }
    }

    #[test]
    fn entries_that_nobody_took_have_no_gradient() {
        let device = Device::default().autodiff();
        let pool = pool(|config| config.top_n = 1, &device);
        let selection = pool.forward(queries(&device)).unwrap();
        assert_eq!(chosen(&selection), [[0], [1]]);
        let Prompts::Tokens { tokens, .. } = &selection.prompts[0] else { panic!("not tokens") };
        let mut gradients = tokens.clone().sum().backward();
        let gradients = take_gradients(&pool, &mut gradients);
        let expected = [[1.0; 4], [1.0; 4], [0.0; 4]].concat();
        assert_eq!(numbers(&gradients["tokens"]), expected);
    }

    /// Steps down the pull turn a key to the query that chose it.
    #[test]
    fn the_pull_turns_keys_to_their_queries() {
        let device = Device::default().autodiff();
        let mut pool = pool(|config| config.top_n = 1, &device);
        let pull = |pool: &PromptPool| pool.forward(queries(&device)).unwrap().losses.pull.unwrap();
        let before = numbers(&pull(&pool))[0];
        for _ in 0..100 {
            let mut gradients = pull(&pool).backward();
            let gradients = take_gradients(&pool, &mut gradients);
            pool = update(pool, |name, value| Some(value - gradients.get(name)?.clone() * 0.5));
        }
        let after = numbers(&pull(&pool))[0];
        assert!(after < before && after < -0.999, "{before} to {after}");
    }

    #[test]
    fn rarely_used_entries_are_preferred_if_asked() {
        let device = Device::default();
        let pool = pool(|config| config.top_n = 1, &device);
        let mut usage = PoolUsage::default();
        // Nothing recorded: the plain choice.
        let first = pool.forward_penalised(queries(&device), &usage).unwrap();
        assert_eq!(chosen(&first), [[0], [1]]);
        let near = || Tensor::<2>::from_floats([[3.0, 1.0]], &device);
        for _ in 0..50 {
            usage.record(&pool.forward(near()).unwrap()).unwrap();
        }
        // Cosines: 0.949 to entry 0 and 0.894 to entry 2, which was never taken.
        assert_eq!(chosen(&pool.forward(near()).unwrap()), [[0]]);
        let penalised = pool.forward_penalised(near(), &usage).unwrap();
        assert_eq!(chosen(&penalised), [[2]]);
        let plain = pool.forward(near()).unwrap();
        assert_eq!(numbers(&penalised.similarity), numbers(&plain.similarity));
    }

    #[test]
    fn impossible_pools_are_refused() {
        let device = Device::default();
        let refused =
            |config: PoolConfig| PromptPool::new(&config, WIDTH, &device).unwrap_err().to_string();
        let default = PoolConfig::default;
        assert!(refused(PoolConfig { top_n: 11, ..default() }).contains("choose 1 to 10"));
        assert!(refused(PoolConfig { top_n: 0, ..default() }).contains("`top_n`"));
        assert!(refused(PoolConfig { entries: 0, ..default() }).contains("`entries`"));
        assert!(refused(PoolConfig { length: 0, ..default() }).contains("`length`"));
        assert!(refused(PoolConfig { layers: 0, ..default() }).contains("`layers`"));
        let negative = PoolConfig { pull_weight: -1.0, ..default() };
        assert!(refused(negative).contains("`pull_weight`"));
        let unknown = PoolConfig { diversity_weight: f64::NAN, ..default() };
        assert!(refused(unknown).contains("`diversity_weight`"));
        let cold = PoolConfig { diversity_temperature: 0.0, ..default() };
        assert!(refused(cold).contains("`diversity_temperature`"));
        let pool = PromptPool::new(&default(), WIDTH, &device).unwrap();
        assert!(pool.forward(Tensor::zeros([1, 5], &device)).is_err());
    }

    #[test]
    fn configurations_are_read_strictly() {
        let read = |text: &str| serde_json::from_str::<PoolConfig>(text);
        assert_eq!(read("{}").unwrap(), PoolConfig::default());
        let config = read(r#"{"form": "prefix", "keys": "per_layer", "query": "global"}"#).unwrap();
        assert_eq!(config.form, PoolForm::Prefix);
        assert_eq!(config.keys, PoolKeySharing::PerLayer);
        assert_eq!(config.query, Query::Global);
        assert!(read(r#"{"topn": 3}"#).is_err());
    }

    proptest! {
        /// A slow reading of the definition.
        #[test]
        fn choices_are_the_highest_cosines(
            keys in prop::collection::vec(-1.0_f32..1.0, 5 * WIDTH),
            query in prop::array::uniform2(-1.0_f32..1.0),
            top_n in 1_usize..=5,
        ) {
            let device = Device::default();
            let config = PoolConfig { entries: 5, top_n, length: 1, ..PoolConfig::default() };
            let pool = PromptPool::new(&config, WIDTH, &device).unwrap();
            let pool = update(pool, |name, value| {
                (name == "keys").then(|| Tensor::from_floats(keys.as_slice(), &value.device()))
            });
            let selection = pool.forward(Tensor::from_floats([query], &device)).unwrap();
            let cosines: Vec<f32> = keys
                .chunks(WIDTH)
                .map(|key| {
                    let dot = key[0] * query[0] + key[1] * query[1];
                    dot / key[0].hypot(key[1]).max(1e-6) / query[0].hypot(query[1]).max(1e-6)
                })
                .collect();
            for (slow, fast) in cosines.iter().zip(numbers(&selection.similarity)) {
                prop_assert!((slow - fast).abs() < 1e-4);
            }
            let taken = chosen(&selection).remove(0);
            prop_assert_eq!(taken.len(), top_n);
            prop_assert!(taken.windows(2).all(|pair| cosines[pair[0]] >= cosines[pair[1]] - 1e-4));
            let last = cosines[taken[top_n - 1]];
            let left = (0..5).filter(|entry| !taken.contains(entry));
            prop_assert!(left.into_iter().all(|entry| cosines[entry] <= last + 1e-4));
        }
    }
}
