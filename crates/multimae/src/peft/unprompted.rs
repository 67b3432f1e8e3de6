//! The outputs of an encoder's blocks without prompts, beside those with prompts.

use burn::tensor::Tensor;

use crate::nn::Block;

/// A batch between two blocks that no prompt has reached, without gradients.
#[derive(Debug)]
pub(super) struct UnpromptedPass {
    tokens: Tensor<3>,
    layers: Vec<Tensor<3>>,
}

impl UnpromptedPass {
    /// A batch behind blocks with these outputs.
    ///
    /// # Shapes
    /// `(B, N, width)` each.
    pub(super) fn new(tokens: Tensor<3>, layers: Vec<Tensor<3>>) -> Self {
        Self { tokens: tokens.detach(), layers }
    }

    /// Takes the batch through the next block.
    pub(super) fn step(&mut self, block: &Block) {
        self.tokens = block.forward(self.tokens.clone()).detach();
        self.layers.push(self.tokens.clone());
    }

    /// The outputs of the blocks so far, `(B, N, width)` each.
    pub(super) fn layers(&self) -> &[Tensor<3>] {
        &self.layers
    }
}
