//! Prompts that patches attend to apart from each other (CVPT; Huang et al., arXiv 2408.14961).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::Prompts;
use crate::encoder::Phase;
use crate::nn::{dropout, parameter};

/// Prompts of some blocks that every token attends to between attention and MLP, by the projections of the
/// block's own attention, with a softmax over the prompts alone.
///
/// Unlike prompts in the sequence, they take no attention from the patches, however many there are.
#[derive(Module, Debug)]
pub struct CrossPrompts {
    /// `(layers, P, width)`.
    pub tokens: Param<Tensor<3>>,
    dropout: f64,
    first: usize,
}

impl CrossPrompts {
    /// Prompts of zeros for `layers` blocks from block `first` on.
    #[must_use]
    pub fn new(first: usize, sizes: [usize; 3], device: &Device) -> Self {
        Self { tokens: parameter(sizes, device), dropout: 0.0, first }
    }

    /// The same with dropout of the prompts' values in training.
    #[must_use]
    pub fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// The block of the first layer.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// The prompts, which all samples share, dropout too.
    #[must_use]
    pub fn forward(&self, phase: &mut Phase<'_>) -> Prompts {
        let [layers, count, width] = self.tokens.dims();
        let tokens = self.tokens.val().reshape([1, layers, count, width]);
        let tokens = dropout(tokens, self.dropout, phase);
        Prompts::Cross { first: self.first, tokens: tokens.reshape([layers, count, width]) }
    }
}
