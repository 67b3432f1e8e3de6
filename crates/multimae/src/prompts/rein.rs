//! Tokens that every patch attends to behind the blocks (Rein; Wei et al., arXiv 2312.04265).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};
use multimae_kernels::ops;
use serde::{Deserialize, Serialize};

use super::{Prompts, checks};
use crate::Result;
use crate::nn::{Linear, parameter};

/// The sizes of Rein tokens.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReinConfig {
    /// Tokens of a block; a patch that attends to the first of them changes nothing.
    #[serde(default = "default_count")]
    pub count: usize,
    /// Rank of a block's tokens.
    #[serde(default = "default_rank")]
    pub rank: usize,
    /// Rank of the two linear maps that all blocks share; their full rank if absent, as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_rank: Option<usize>,
    /// Further tokens of each task in the blocks from `branch_at` on, beside `count` that all tasks share there, with
    /// the maps of these; if absent, tasks share none there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<usize>,
    /// The first block with tokens, counted from 0.
    #[serde(default)]
    pub first: usize,
    /// The number of blocks; all from the first on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
}

fn default_count() -> usize {
    100
}

fn default_rank() -> usize {
    16
}

impl ReinConfig {
    /// # Errors
    /// Names the size that is wrong.
    pub(super) fn check(&self) -> Result<()> {
        let map_rank = self.map_rank.unwrap_or(1);
        let own = self.own.unwrap_or(1);
        let sizes =
            [("count", self.count), ("rank", self.rank), ("map_rank", map_rank), ("own", own)];
        checks::sizes("rein", &sizes)
    }
}

/// A linear map of the encoder's width onto itself, of lower rank if it has two factors.
#[derive(Module, Debug)]
pub struct WidthMap {
    /// To the rank, without bias.
    pub down: Option<Linear>,
    /// To the width.
    pub up: Linear,
}

impl WidthMap {
    fn new(width: usize, rank: Option<usize>, device: &Device) -> Self {
        Self {
            down: rank.map(|rank| Linear::new(width, rank, device).without_bias()),
            up: Linear::new(rank.unwrap_or(width), width, device),
        }
    }

    /// # Shapes
    /// `(..., width)` to `(..., width)`.
    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match &self.down {
            Some(down) => self.up.forward(down.forward(x)),
            None => self.up.forward(x),
        }
    }
}

/// Tokens of low rank for some blocks, and the linear maps that the blocks share.
///
/// Behind a block, a patch `f` attends to the tokens `T` and is changed by what it finds:
/// `f + change(softmax(f T^T / sqrt(width)) V + f)`. Here `V = value(T)`, but for its first row, which is
/// zero, so that a patch can attend to nothing. `change` is zero at the beginning.
#[derive(Module, Debug)]
pub struct ReinPrompts {
    /// `(layers, P, rank)`.
    pub left: Param<Tensor<3>>,
    /// `(layers, rank, width)`.
    pub right: Param<Tensor<3>>,
    /// From tokens to what is found at them (`W_T`).
    pub value: WidthMap,
    /// From what a patch found to its change (`W_f`).
    pub change: WidthMap,
    first: usize,
}

impl ReinPrompts {
    /// Tokens of zeros for `layers` blocks from block `first` on.
    #[must_use]
    pub fn new(
        config: &ReinConfig,
        (first, layers): (usize, usize),
        width: usize,
        device: &Device,
    ) -> Self {
        Self {
            left: parameter([layers, config.count, config.rank], device),
            right: parameter([layers, config.rank, width], device),
            value: WidthMap::new(width, config.map_rank, device),
            change: WidthMap::new(width, config.map_rank, device),
            first,
        }
    }

    /// The block of the first layer.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// The same tokens for every sample.
    #[must_use]
    pub fn forward(&self, batch: usize) -> Prompts {
        self.regions(self.left.val().matmul(self.right.val()), batch)
    }

    /// The same with further tokens of the same blocks.
    #[must_use]
    pub fn forward_with(&self, own: &ReinEntries, batch: usize) -> Prompts {
        let tokens = self.left.val().matmul(self.right.val());
        let own = own.left.val().matmul(own.right.val());
        self.regions(Tensor::cat(vec![tokens, own], 1), batch)
    }

    /// `tokens (layers, P, width)`, the first of which stands for no change.
    fn regions(&self, tokens: Tensor<3>, batch: usize) -> Prompts {
        let [layers, count, width] = tokens.dims();
        let values = self.value.forward(tokens.clone());
        let values = if count == 1 {
            values.zeros_like()
        } else {
            let none = Tensor::zeros([layers, 1, width], &values.device());
            Tensor::cat(vec![none, values.narrow(1, 1, count - 1)], 1)
        };
        let keys_and_values = Tensor::cat(vec![tokens, values], 2)
            .reshape([1, layers, count, 2 * width])
            .expand([batch, layers, count, 2 * width]);
        let change = Box::new(self.change.clone());
        Prompts::Regions { first: self.first, keys_and_values, change }
    }
}

/// Tokens of low rank of one task, beside those of [`ReinPrompts`] that all tasks share, whose linear maps
/// they go through.
#[derive(Module, Debug)]
pub struct ReinEntries {
    /// `(layers, P, rank)`.
    pub left: Param<Tensor<3>>,
    /// `(layers, rank, width)`.
    pub right: Param<Tensor<3>>,
    first: usize,
}

impl ReinEntries {
    /// Tokens of zeros for `layers` blocks from block `first` on; none if tasks have none of their own.
    #[must_use]
    pub fn new(
        config: &ReinConfig,
        (first, layers): (usize, usize),
        width: usize,
        device: &Device,
    ) -> Option<Self> {
        let own = config.own?;
        let left = parameter([layers, own, config.rank], device);
        Some(Self { left, right: parameter([layers, config.rank, width], device), first })
    }

    /// The block of the first layer.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }
}

/// Patches changed by the tokens of a block, to which they attend.
///
/// # Shapes
/// `patches (B, S, width)`, `keys_and_values (B, P, 2 width)` to `(B, S, width)`.
pub(super) fn changed(
    patches: Tensor<3>,
    keys_and_values: Tensor<3>,
    change: &WidthMap,
) -> Tensor<3> {
    let found = ops::cross_attention(patches.clone(), keys_and_values, 1);
    patches.clone() + change.forward(found + patches)
}

/// The share of every token in what a patch finds: a soft selection per region.
///
/// # Shapes
/// `patches (B, S, width)`, `keys_and_values (B, P, 2 width)` to `(B, S, P)`; rows sum to 1.
pub(super) fn shares(patches: Tensor<3>, keys_and_values: Tensor<3>) -> Tensor<3> {
    let [_, _, width] = patches.dims();
    let keys = keys_and_values.narrow(2, 0, width);
    let scores = patches.matmul(keys.swap_dims(1, 2)).mul_scalar((width as f64).powf(-0.5));
    activation::softmax(scores, 2)
}
