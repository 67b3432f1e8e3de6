//! The two-layer MLP of a transformer block.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;

use super::{LayerNorm, Linear, Rows};

/// `fc2(gelu(fc1(x)))` with the exact (erf) GELU.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Embedding dimension to hidden dimension.
    pub fc1: Linear,
    /// Hidden dimension to embedding dimension.
    pub fc2: Linear,
}

impl Mlp {
    /// Creates an MLP of zeros.
    #[must_use]
    pub fn new(width: usize, hidden: usize, device: &Device) -> Self {
        Self { fc1: Linear::new(width, hidden, device), fc2: Linear::new(hidden, width, device) }
    }

    /// # Shapes
    /// `(B, N, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward_gelu(self.fc1.forward(x))
    }

    /// [`Self::forward`] behind a norm.
    ///
    /// # Shapes
    /// `(B, N, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward_normed(&self, norm: &LayerNorm, x: Tensor<3>) -> Tensor<3> {
        Linear::norm_mlp(norm, (&self.fc1, &self.fc2), x)
    }

    /// Runs MLPs of the same weights in one batch; see [`Linear::forward_batched`].
    pub(super) fn forward_batched(mlps: &[&Self], x: &Rows) -> Rows {
        let layers = |of: fn(&Self) -> &Linear| -> Vec<&Linear> {
            mlps.iter().map(|&mlp| of(mlp)).collect()
        };
        let hidden = Linear::forward_batched(&layers(|mlp| &mlp.fc1), x);
        Linear::forward_batched(&layers(|mlp| &mlp.fc2), &hidden.map(ops::gelu))
    }
}
