//! Prompts that all samples share.

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};

use super::Prompts;
use crate::encoder::Phase;
use crate::nn::{Linear, dropout, parameter};

/// Prompt tokens of some blocks: deep prompts, or a shallow one (Jia et al., 2022).
#[derive(Module, Debug)]
pub struct PromptTokens {
    /// `(layers, P, width)`, or `(layers, P, rank)` before a projection.
    pub tokens: Param<Tensor<3>>,
    /// From a lower rank to the width of the encoder, the same for all layers.
    pub projection: Option<Linear>,
    /// `(layers, rank, width)`: likewise, of each layer its own, without bias (BPT; arXiv 2506.22908).
    pub bilinear: Option<Param<Tensor<3>>>,
    /// `(blocks)`: logits of the gates of the blocks from the first on (Yoo et al., 2023).
    pub gate: Option<Param<Tensor<1>>>,
    dropout: f64,
    first: usize,
}

impl PromptTokens {
    /// Prompts of zeros for `layers` blocks from block `first` on.
    #[must_use]
    pub fn new(first: usize, [layers, count, width]: [usize; 3], device: &Device) -> Self {
        Self {
            tokens: parameter([layers, count, width], device),
            projection: None,
            bilinear: None,
            gate: None,
            dropout: 0.0,
            first,
        }
    }

    /// The same with tokens of a lower rank and a projection to the encoder's width.
    #[must_use]
    pub fn with_rank(self, rank: usize, device: &Device) -> Self {
        let [layers, count, width] = self.tokens.dims();
        let tokens = parameter([layers, count, rank], device);
        Self { tokens, projection: Some(Linear::new(rank, width, device)), ..self }
    }

    /// The same as products of tokens of a lower rank and a matrix of each layer.
    #[must_use]
    pub fn with_bilinear(self, rank: usize, device: &Device) -> Self {
        let [layers, count, width] = self.tokens.dims();
        let tokens = parameter([layers, count, rank], device);
        Self { tokens, bilinear: Some(parameter([layers, rank, width], device)), ..self }
    }

    /// Returns the same prompts with gates for `blocks` blocks.
    #[must_use]
    pub fn with_gates(self, blocks: usize, device: &Device) -> Self {
        Self { gate: Some(parameter([blocks], device)), ..self }
    }

    /// The same with dropout of the tokens' values in training.
    #[must_use]
    pub fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// The block of the first layer.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// The same prompts for every sample, but for dropout.
    #[must_use]
    pub fn forward(&self, batch: usize, phase: &mut Phase<'_>) -> Prompts {
        let tokens = match (&self.projection, &self.bilinear) {
            (Some(projection), _) => projection.forward(self.tokens.val()),
            (None, Some(right)) => self.tokens.val().matmul(right.val()),
            (None, None) => self.tokens.val(),
        };
        let gates = self.gate.as_ref().map(|gate| {
            let [blocks] = gate.dims();
            sigmoid(gate.val()).reshape([1, blocks]).expand([batch, blocks])
        });
        let tokens = dropout(for_each_sample(tokens, batch), self.dropout, phase);
        Prompts::Tokens { first: self.first, tokens, gates }
    }
}

/// Prefix keys and values of some blocks (Li and Liang, 2021).
#[derive(Module, Debug)]
pub struct PrefixPrompts {
    /// `(layers, P, width)`, the heads side by side.
    pub key: Param<Tensor<3>>,
    /// As `key`.
    pub value: Param<Tensor<3>>,
    dropout: f64,
    first: usize,
}

impl PrefixPrompts {
    /// Prefixes of zeros for `layers` blocks from block `first` on.
    #[must_use]
    pub fn new(first: usize, [layers, count, width]: [usize; 3], device: &Device) -> Self {
        Self {
            key: parameter([layers, count, width], device),
            value: parameter([layers, count, width], device),
            dropout: 0.0,
            first,
        }
    }

    /// The same with dropout of keys and values in training.
    #[must_use]
    pub fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// The block of the first layer.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// The same prefixes for every sample, but for dropout.
    #[must_use]
    pub fn forward(&self, batch: usize, phase: &mut Phase<'_>) -> Prompts {
        let mut of = |prompts: &Param<Tensor<3>>| {
            dropout(for_each_sample(prompts.val(), batch), self.dropout, phase)
        };
        Prompts::Prefix { first: self.first, keys: of(&self.key), values: of(&self.value) }
    }
}

/// `(layers, P, width)` to `(B, layers, P, width)`.
fn for_each_sample(prompts: Tensor<3>, batch: usize) -> Tensor<4> {
    let [layers, count, width] = prompts.dims();
    prompts.reshape([1, layers, count, width]).expand([batch, layers, count, width])
}
