//! Low-rank adaptation of linear layers.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;
use serde::{Deserialize, Serialize};

use super::parameter;

/// The linear layers of a block that low-rank adaptation adds to.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoraTarget {
    /// The fused projection to queries, keys and values.
    Qkv,
    /// The projection of attention's output.
    Proj,
    /// The MLP's first layer.
    Fc1,
    /// The MLP's second layer.
    Fc2,
}

/// The sizes of low-rank adaptation.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of every layer's change.
    #[serde(default = "default_rank")]
    pub rank: usize,
    /// The change is multiplied by `alpha / rank`; `alpha` is the rank if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The layers of every block with an update.
    #[serde(default = "default_targets")]
    pub targets: Vec<LoraTarget>,
}

fn default_rank() -> usize {
    8
}

fn default_targets() -> Vec<LoraTarget> {
    vec![LoraTarget::Qkv, LoraTarget::Proj]
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: default_rank(), alpha: None, targets: default_targets() }
    }
}

/// `x -> scale * (x A^T) B^T`, added to a linear layer's output (Hu et al., 2022).
#[derive(Module, Debug)]
pub struct Lora {
    /// `(rank, inputs)`.
    pub a: Param<Tensor<2>>,
    /// `(outputs, rank)`; zero at the beginning, so that nothing changes.
    pub b: Param<Tensor<2>>,
    scale: f64,
}

impl Lora {
    /// Matrices of zeros; [`crate::init`] draws `a`.
    #[must_use]
    pub fn new([outputs, inputs]: [usize; 2], config: &LoraConfig, device: &Device) -> Self {
        let rank = config.rank;
        Self {
            a: parameter([rank, inputs], device),
            b: parameter([outputs, rank], device),
            scale: config.alpha.unwrap_or(rank as f64) / rank.max(1) as f64,
        }
    }

    /// # Shapes
    /// `(..., inputs)` to `(..., outputs)`.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let narrow = ops::linear(x, self.a.val(), None);
        ops::linear(narrow, self.b.val().mul_scalar(self.scale), None)
    }

    /// Returns the update of the layer's weight: `scale * B A`, `(outputs, inputs)`.
    #[must_use]
    pub fn weight(&self) -> Tensor<2> {
        self.b.val().matmul(self.a.val()).mul_scalar(self.scale)
    }
}
