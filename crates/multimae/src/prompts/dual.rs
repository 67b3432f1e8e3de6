//! General prefixes that all samples share beside expert ones that every sample chooses.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    PoolConfig, PoolForm, PoolKeySharing, PoolUsage, PrefixPrompts, PromptPool, Query, Selection,
    checks,
};
use crate::Result;
use crate::encoder::Phase;

/// The sizes and options of a [`DualPrompt`].
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DualConfig {
    /// The first block of the general prefix, counted from 0.
    pub general_first: usize,
    /// Blocks with a general prefix.
    pub general_layers: usize,
    /// Keys, and as many values, of the general prefix per block.
    pub general_length: usize,
    /// The first block of the expert prefixes, counted from 0.
    pub expert_first: usize,
    /// Blocks with an expert prefix.
    pub expert_layers: usize,
    /// Keys, and as many values, of an expert prefix per block.
    pub expert_length: usize,
    /// Expert prefixes, M.
    pub entries: usize,
    /// Expert prefixes that a sample takes, N.
    pub top_n: usize,
    /// The query that is compared with the keys.
    pub query: Query,
    /// Weight of [`PoolLosses::pull`](super::PoolLosses::pull).
    pub pull_weight: f64,
    /// Weight of [`PoolLosses::diversity`](super::PoolLosses::diversity).
    pub diversity_weight: f64,
    /// As [`PoolConfig::diversity_temperature`].
    pub diversity_temperature: f64,
    /// Whether training chooses by [`DualPrompt::forward_penalised`].
    pub frequency_penalty: bool,
}

impl Default for DualConfig {
    /// The published blocks: general in the first two, expert in the next three.
    fn default() -> Self {
        let pool = PoolConfig::default();
        Self {
            general_first: 0,
            general_layers: 2,
            general_length: 5,
            expert_first: 2,
            expert_layers: 3,
            expert_length: pool.length,
            entries: pool.entries,
            top_n: 1,
            query: pool.query,
            pull_weight: pool.pull_weight,
            diversity_weight: pool.diversity_weight,
            diversity_temperature: pool.diversity_temperature,
            frequency_penalty: pool.frequency_penalty,
        }
    }
}

impl DualConfig {
    /// Checks everything that does not depend on the encoder.
    ///
    /// # Errors
    /// Names the key that is wrong.
    pub fn check(&self) -> Result<()> {
        const WHAT: &str = "dual prompt";
        let sizes = [
            ("general_layers", self.general_layers),
            ("general_length", self.general_length),
            ("expert_layers", self.expert_layers),
            ("expert_length", self.expert_length),
            ("entries", self.entries),
        ];
        checks::sizes(WHAT, &sizes)?;
        checks::top_n(WHAT, self.top_n, self.entries)?;
        let weights =
            [("pull_weight", self.pull_weight), ("diversity_weight", self.diversity_weight)];
        checks::weights(WHAT, &weights)?;
        checks::temperature(WHAT, "diversity_temperature", self.diversity_temperature)
    }

    pub(super) fn expert(&self) -> PoolConfig {
        PoolConfig {
            entries: self.entries,
            length: self.expert_length,
            top_n: self.top_n,
            form: PoolForm::Prefix,
            first: self.expert_first,
            layers: self.expert_layers,
            keys: PoolKeySharing::Shared,
            query: self.query,
            pull_weight: self.pull_weight,
            diversity_weight: self.diversity_weight,
            diversity_temperature: self.diversity_temperature,
            frequency_penalty: self.frequency_penalty,
        }
    }
}

/// DualPrompt (Wang et al., 2022b): keys and values that all samples share in some blocks, and in
/// some blocks those that every sample takes from a pool. The ranges may overlap.
#[derive(Module, Debug)]
pub struct DualPrompt {
    /// `key` and `value (layers, P, width)`, each.
    pub general: PrefixPrompts,
    /// `keys (M, width)`, which its layers share; `key_prefix` and `value_prefix
    /// (M, layers, P, width)`, each.
    pub expert: PromptPool,
    #[module(skip)]
    config: DualConfig,
}

impl DualPrompt {
    /// Prompts of zeros for an encoder of this width; see [`crate::init::initialise`].
    ///
    /// # Errors
    /// If the configuration describes no prompts.
    pub fn new(config: &DualConfig, width: usize, device: &Device) -> Result<Self> {
        config.check()?;
        let general = [config.general_layers, config.general_length, width];
        Ok(Self {
            general: PrefixPrompts::new(config.general_first, general, device),
            expert: PromptPool::new(&config.expert(), width, device)?,
            config: config.clone(),
        })
    }

    /// The configuration that the prompts were built from.
    #[must_use]
    pub fn config(&self) -> &DualConfig {
        &self.config
    }

    /// The general prefix, then the expert one of every sample: the top-k by key-query similarity.
    ///
    /// # Shapes
    /// `query (B, width)`, which gets no gradient.
    ///
    /// # Errors
    /// If the query has another width than the keys.
    pub fn forward(&self, query: Tensor<2>) -> Result<Selection> {
        let batch = query.dims()[0];
        Ok(self.with_general(self.expert.forward(query)?, batch))
    }

    /// [`Self::forward`] that takes rarely used entries more readily; see
    /// [`PromptPool::forward_penalised`].
    ///
    /// # Errors
    /// As [`Self::forward`]; also if the usage is of another pool.
    pub fn forward_penalised(&self, query: Tensor<2>, usage: &PoolUsage) -> Result<Selection> {
        let batch = query.dims()[0];
        Ok(self.with_general(self.expert.forward_penalised(query, usage)?, batch))
    }

    fn with_general(&self, mut selection: Selection, batch: usize) -> Selection {
        selection.prompts.insert(0, self.general.forward(batch, &mut Phase::Evaluation));
        selection
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::prompts::{EntryChoice, Prompts};
    use crate::state::{parameters, take_gradients, update};

    /// Two general layers of one key and value, two expert layers of two, three entries.
    fn dual(top_n: usize, device: &Device) -> DualPrompt {
        let config = DualConfig {
            general_length: 1,
            expert_layers: 2,
            expert_length: 2,
            entries: 3,
            top_n,
            ..DualConfig::default()
        };
        let dual = DualPrompt::new(&config, 2, device).unwrap();
        update(dual, |name, value| {
            let len = value.dims()[0];
            let values: Vec<f32> = match name {
                "expert.keys" => vec![1.0, 0.0, 0.0, 2.0, 3.0, 3.0],
                "general.key" => vec![0.25; len],
                "general.value" => vec![0.75; len],
                "expert.key_prefix" => (0..len).map(|i| i as f32).collect(),
                "expert.value_prefix" => (0..len).map(|i| 100.0 + i as f32).collect(),
                other => panic!("`{other}`?"),
            };
            Some(Tensor::from_data(TensorData::new(values, [len]), &value.device()))
        })
    }

    fn queries(device: &Device) -> Tensor<2> {
        Tensor::from_floats([[-1.0, 4.0], [2.0, 2.5]], device)
    }

    fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
        tensor.clone().into_data().iter::<f32>().collect()
    }

    #[test]
    fn all_samples_share_one_prefix_and_choose_another() {
        let device = Device::default();
        let selection = dual(1, &device).forward(queries(&device)).unwrap();
        assert_eq!(selection.choice, EntryChoice::Entries(vec![vec![1], vec![2]]));
        let [general, expert] = selection.prompts.as_slice() else { panic!("two sources") };
        let Prompts::Prefix { first: 0, keys, values } = general else { panic!("{general:?}") };
        assert_eq!(keys.dims(), [2, 2, 1, 2]);
        assert!(numbers(keys).iter().all(|&value| value == 0.25));
        assert!(numbers(values).iter().all(|&value| value == 0.75));
        let Prompts::Prefix { first: 2, keys, values } = expert else { panic!("{expert:?}") };
        assert_eq!(keys.dims(), [2, 2, 2, 2]);
        // An entry has 2 layers x 2 keys x 2 values: entry 1 for sample 0, entry 2 for sample 1.
        let expected: Vec<f32> = (8..24).map(|value| value as f32).collect();
        assert_eq!(numbers(keys), expected);
        assert_eq!(numbers(values), expected.iter().map(|v| v + 100.0).collect::<Vec<_>>());
    }

    #[test]
    fn gradients_reach_what_was_used() {
        let device = Device::default().autodiff();
        let dual = dual(1, &device);
        let selection = dual.forward(queries(&device)).unwrap();
        let task = selection
            .prompts
            .iter()
            .map(|prompts| match prompts {
                Prompts::Prefix { keys, values, .. } => (keys.clone() * values.clone()).sum(),
                _ => panic!("not prefixes"),
            })
            .reduce(|sum, term| sum + term)
            .unwrap();
        let mut gradients = task.backward();
        let gradients = take_gradients(&dual, &mut gradients);
        let mut all: Vec<String> = parameters(&dual).into_iter().map(|p| p.name).collect();
        all.retain(|name| name != "expert.keys");
        assert_eq!(gradients.keys().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
        // Entry 0 was not taken.
        assert_eq!(numbers(&gradients["expert.key_prefix"])[..8], [0.0; 8]);
        assert!(numbers(&gradients["expert.key_prefix"])[8..].iter().all(|&value| value > 0.0));
        let mut gradients = selection.losses.pull.unwrap().backward();
        let gradients = take_gradients(&dual, &mut gradients);
        assert_eq!(gradients.keys().collect::<Vec<_>>(), ["expert.keys"]);
    }

    #[test]
    fn usage_counts_for_experts() {
        let device = Device::default();
        let dual = dual(2, &device);
        let mut usage = PoolUsage::default();
        usage.record(&dual.forward(queries(&device)).unwrap()).unwrap();
        assert_eq!(usage.overall().dead(), [(0, 0)]);
        // Entry 0 is so rare now that sample 1 takes it, too.
        for _ in 0..100 {
            usage.record(&dual.forward(queries(&device)).unwrap()).unwrap();
        }
        let penalised = dual.forward_penalised(queries(&device), &usage).unwrap();
        let EntryChoice::Entries(chosen) = &penalised.choice else { panic!("a mixture") };
        assert!(chosen[1].contains(&0), "{chosen:?}");
        assert_eq!(penalised.prompts.len(), 2);
    }

    #[test]
    fn impossible_prompts_are_refused() {
        let device = Device::default();
        let refused =
            |config: DualConfig| DualPrompt::new(&config, 2, &device).unwrap_err().to_string();
        let default = DualConfig::default;
        let message = refused(DualConfig { general_layers: 0, ..default() });
        assert!(message.contains("`general_layers`"), "{message}");
        assert!(refused(DualConfig { general_length: 0, ..default() }).contains("general_length"));
        assert!(refused(DualConfig { expert_layers: 0, ..default() }).contains("expert_layers"));
        assert!(refused(DualConfig { expert_length: 0, ..default() }).contains("expert_length"));
        assert!(refused(DualConfig { top_n: 11, ..default() }).contains("dual prompt: `top_n`"));
        assert!(refused(DualConfig { pull_weight: -0.1, ..default() }).contains("pull_weight"));
        let dual = DualPrompt::new(&default(), 2, &device).unwrap();
        assert!(dual.forward(Tensor::zeros([1, 3], &device)).is_err());
        assert!(serde_json::from_str::<DualConfig>(r#"{"form": "tokens"}"#).is_err());
        assert_eq!(serde_json::from_str::<DualConfig>("{}").unwrap(), default());
    }
}
