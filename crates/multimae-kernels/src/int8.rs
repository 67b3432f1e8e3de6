//! The layers that multiply in whole numbers of 8 bits, in [that precision](crate::precision).

/// Weights of a linear layer from which on it does; small layers are exact instead.
const LINEAR: usize = 1 << 12;
/// Channels of a 3x3 convolution from which on it does.
const CHANNELS: usize = 16;

/// Whether a linear layer of these sizes multiplies in 8 bits.
#[must_use]
pub fn linear_is_worth(outputs: usize, inputs: usize) -> bool {
    outputs.saturating_mul(inputs) >= LINEAR
}

/// Whether a dense convolution by kernels of side `kernel` does.
#[must_use]
pub fn conv_is_worth(outputs: usize, inputs: usize, kernel: usize) -> bool {
    kernel == 3 && outputs.min(inputs) >= CHANNELS
}
