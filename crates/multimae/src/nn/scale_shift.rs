//! Scale and shift of features.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::parameter;

/// A factor and a summand for every channel that an operation puts out (SSF; Lian et al., 2022).
#[derive(Module, Debug)]
pub struct ScaleShift {
    /// `(width)`; 1 at the beginning.
    pub scale: Param<Tensor<1>>,
    /// `(width)`; 0 at the beginning.
    pub shift: Param<Tensor<1>>,
}

impl ScaleShift {
    /// Zeros; [`crate::init`] sets the scale to one.
    #[must_use]
    pub fn new(width: usize, device: &Device) -> Self {
        Self { scale: parameter([width], device), shift: parameter([width], device) }
    }

    /// Returns the bias of the operation before, with scale and shift merged: `scale * bias +
    /// shift`.
    #[must_use]
    pub fn bias(&self, bias: Option<Tensor<1>>) -> Tensor<1> {
        match bias {
            Some(bias) => bias * self.scale.val() + self.shift.val(),
            None => self.shift.val(),
        }
    }
}
