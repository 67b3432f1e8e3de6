//! Layer normalisation.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;

use super::linear::changed;
use super::{ScaleShift, parameter};

/// The epsilon of every LayerNorm of MultiMAE.
pub(crate) const LAYER_NORM_EPS: f64 = 1e-6;

/// Affine LayerNorm over the last axis (Ba et al., 2016), epsilon 1e-6.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `(width)`.
    pub weight: Param<Tensor<1>>,
    /// `(width)`.
    pub bias: Param<Tensor<1>>,
    /// Scale and shift of the output, which tuning may add.
    pub ssf: Option<ScaleShift>,
}

impl LayerNorm {
    /// A layer of zeros; [`crate::init`] sets the weight to one.
    #[must_use]
    pub fn new(width: usize, device: &Device) -> Self {
        Self { weight: parameter([width], device), bias: parameter([width], device), ssf: None }
    }

    /// The same with scale and shift.
    #[must_use]
    pub fn with_ssf(self, device: &Device) -> Self {
        let [width] = self.weight.dims();
        Self { ssf: Some(ScaleShift::new(width, device)), ..self }
    }

    /// Normalises the last axis.
    ///
    /// # Shapes
    /// `(..., width)` to `(..., width)`.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (weight, bias, eps) = self.affine();
        ops::layer_norm(x, weight, bias, eps)
    }

    /// Factor and summand with what is added to them, and the epsilon.
    pub(super) fn affine(&self) -> (Tensor<1>, Tensor<1>, f64) {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let (weight, bias) = match &self.ssf {
            Some(ssf) => (weight * ssf.scale.val(), ssf.bias(Some(bias))),
            None => (weight, bias),
        };
        (weight, bias, LAYER_NORM_EPS)
    }

    /// The same map without scale and shift: they are in its weight and bias.
    #[must_use]
    pub fn merged(self) -> Self {
        let Self { weight, bias, ssf } = self;
        let (weight, bias) = match ssf {
            Some(ssf) => (
                changed(weight, |weight| weight * ssf.scale.val()),
                changed(bias, |bias| ssf.bias(Some(bias))),
            ),
            None => (weight, bias),
        };
        Self { weight, bias, ssf: None }
    }
}
