//! Layer normalisation.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;

use super::parameter;

/// The epsilon of every LayerNorm of MultiMAE.
pub(crate) const LAYER_NORM_EPS: f64 = 1e-6;

/// Affine LayerNorm over the last axis (Ba et al., 2016), epsilon 1e-6.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `(width)`.
    pub weight: Param<Tensor<1>>,
    /// `(width)`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// A layer of zeros; [`crate::init`] sets the weight to one.
    #[must_use]
    pub fn new(width: usize, device: &Device) -> Self {
        Self { weight: parameter([width], device), bias: parameter([width], device) }
    }

    /// Normalises the last axis.
    ///
    /// # Shapes
    /// `(..., width)` to `(..., width)`.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), LAYER_NORM_EPS)
    }
}
