//! The steps from a head's output to values in the unit of a task.

use multimae::burn::tensor::Tensor;

use crate::tensors::per_channel;

/// One step of [`Task::decode`](crate::Task::decode) for maps, as data: what other programs need to do the
/// same.
#[derive(Debug, Clone, PartialEq)]
pub enum DecodingStep {
    /// Keeps the first channels, or all if there are fewer.
    Channels(usize),
    /// `x * scale + shift`, by channel; one value is for all channels.
    Affine {
        /// Multiplier.
        scale: Vec<f32>,
        /// Summand.
        shift: Vec<f32>,
    },
    /// `exp(x)`.
    Exp,
    /// Values outside the range become its ends.
    Clamp {
        /// Smallest value.
        min: f64,
        /// Largest value.
        max: f64,
    },
    /// The vector of a pixel's channels, divided by `sqrt(|x|^2 + eps)`.
    UnitLength {
        /// Keeps vectors of zeros finite.
        eps: f64,
    },
}

impl DecodingStep {
    /// # Shapes
    /// `(B, C, H, W)`; [`Self::Channels`] changes the number of channels.
    #[must_use]
    pub fn apply(&self, maps: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Channels(count) => {
                let [_, channels, _, _] = maps.dims();
                maps.narrow(1, 0, channels.min(*count))
            }
            Self::Affine { scale, shift } => match (scale.as_slice(), shift.as_slice()) {
                ([scale], [shift]) => maps.mul_scalar(*scale).add_scalar(*shift),
                _ => {
                    let (scale, shift) = (per_channel(scale, &maps), per_channel(shift, &maps));
                    maps * scale + shift
                }
            },
            Self::Exp => maps.exp(),
            Self::Clamp { min, max } => maps.clamp(*min, *max),
            Self::UnitLength { eps } => {
                let length = maps.clone().square().sum_dim(1).add_scalar(*eps).sqrt();
                maps / length
            }
        }
    }
}
