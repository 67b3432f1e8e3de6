//! Prompts that all samples share.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::Prompts;
use crate::nn::parameter;

/// Prompt tokens of some blocks: deep prompts, or a shallow one (Jia et al., 2022).
#[derive(Module, Debug)]
pub struct PromptTokens {
    /// `(layers, P, width)`.
    pub tokens: Param<Tensor<3>>,
    first: usize,
}

impl PromptTokens {
    /// Prompts of zeros for `layers` blocks from block `first` on.
    #[must_use]
    pub fn new(first: usize, [layers, count, width]: [usize; 3], device: &Device) -> Self {
        Self { tokens: parameter([layers, count, width], device), first }
    }

    /// The same prompts for every sample.
    #[must_use]
    pub fn forward(&self, batch: usize) -> Prompts {
        Prompts::tokens(self.first, for_each_sample(self.tokens.val(), batch))
    }
}

/// Prefix keys and values of some blocks (Li and Liang, 2021).
#[derive(Module, Debug)]
pub struct PrefixPrompts {
    /// `(layers, P, width)`, the heads side by side.
    pub key: Param<Tensor<3>>,
    /// As `key`.
    pub value: Param<Tensor<3>>,
    first: usize,
}

impl PrefixPrompts {
    /// Prefixes of zeros for `layers` blocks from block `first` on.
    #[must_use]
    pub fn new(first: usize, [layers, count, width]: [usize; 3], device: &Device) -> Self {
        Self {
            key: parameter([layers, count, width], device),
            value: parameter([layers, count, width], device),
            first,
        }
    }

    /// The same prefixes for every sample.
    #[must_use]
    pub fn forward(&self, batch: usize) -> Prompts {
        Prompts::Prefix {
            first: self.first,
            keys: for_each_sample(self.key.val(), batch),
            values: for_each_sample(self.value.val(), batch),
        }
    }
}

/// `(layers, P, width)` to `(B, layers, P, width)`.
fn for_each_sample(prompts: Tensor<3>, batch: usize) -> Tensor<4> {
    let [layers, count, width] = prompts.dims();
    prompts.reshape([1, layers, count, width]).expand([batch, layers, count, width])
}
