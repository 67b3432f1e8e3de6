//! The heads' input from the encoder: the outputs of its layers and the places of each modality's
//! tokens.

use burn::tensor::Tensor;
use multimae_kernels::ops::swap_axes;

use crate::modality::Size;
use crate::tokens::TokenLayout;
use crate::{Error, Result};

/// The outputs of all blocks for one batch. Prompts are already removed.
#[derive(Debug, Clone)]
pub struct EncoderOutput {
    /// Per block `(B, S + G, width)`: the modalities' tokens in the order of the layout, then the
    /// global tokens. Not normalised.
    pub layers: Vec<Tensor<3>>,
    /// The places of the modalities' tokens.
    pub layout: TokenLayout,
    /// Global tokens at the end of every sequence.
    pub num_global_tokens: usize,
    /// Size of the image at full resolution, in pixels.
    pub image_size: Size,
}

impl EncoderOutput {
    /// Batch size.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.dims()[0])
    }
}

/// The tokens that a head reads, and the name of the head for its errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The head's name.
    pub(crate) head: String,
    /// The modalities whose tokens it reads, in the order of its channels.
    pub(crate) main_tasks: Vec<String>,
}

impl Source {
    /// An error of this head.
    pub(crate) fn error(&self, problem: String) -> Error {
        Error::Head { head: self.head.clone(), problem }
    }

    /// The output of a block, all tokens.
    ///
    /// # Shapes
    /// `(B, S + G, width)`.
    ///
    /// # Errors
    /// If there is no such block.
    pub(crate) fn layer(&self, output: &EncoderOutput, index: usize) -> Result<Tensor<3>> {
        output.layers.get(index).cloned().ok_or_else(|| {
            let layers = output.layers.len();
            self.error(format!("reads block {index}, the encoder has {layers} (counted from 0)"))
        })
    }

    /// The output of the last block, all tokens.
    ///
    /// # Errors
    /// If there is no block.
    pub(crate) fn last(&self, output: &EncoderOutput) -> Result<Tensor<3>> {
        self.layer(output, output.layers.len().saturating_sub(1))
    }

    /// The tokens of the main modalities side by side in the channels; global tokens left out.
    ///
    /// # Shapes
    /// `(B, S + G, width)` to `(B, N, width * main modalities)`.
    ///
    /// # Errors
    /// If a main modality is not among the inputs.
    pub(crate) fn tokens(&self, output: &EncoderOutput, layer: Tensor<3>) -> Result<Tensor<3>> {
        let parts = self
            .main_tasks
            .iter()
            .map(|name| {
                let task = output.layout.task(name).ok_or_else(|| {
                    self.error(format!("reads the tokens of `{name}`, which is not in the batch"))
                })?;
                Ok(layer.clone().narrow(1, task.start, output.layout.grid.area()))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(parts, 2))
    }

    /// [`Self::tokens`] of a block as maps.
    ///
    /// # Shapes
    /// `(B, width * main modalities, grid height, grid width)`.
    ///
    /// # Errors
    /// As [`Self::layer`] and [`Self::tokens`].
    pub(crate) fn maps(&self, output: &EncoderOutput, index: usize) -> Result<Tensor<4>> {
        let tokens = self.tokens(output, self.layer(output, index)?)?;
        Ok(tokens_to_maps(tokens, output.layout.grid))
    }
}

/// Tokens in row-major order as maps.
///
/// # Shapes
/// `(B, h * w, C)` to `(B, C, h, w)`.
pub(crate) fn tokens_to_maps(tokens: Tensor<3>, grid: Size) -> Tensor<4> {
    let [batch, _, channels] = tokens.dims();
    let tokens = tokens.reshape([batch, grid.area(), channels, 1]);
    swap_axes(tokens).reshape([batch, channels, grid.height, grid.width])
}

/// Maps as tokens in row-major order.
///
/// # Shapes
/// `(B, C, h, w)` to `(B, h * w, C)`.
pub(crate) fn maps_to_tokens(maps: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = maps.dims();
    let area = height * width;
    swap_axes(maps.reshape([batch, channels, area, 1])).reshape([batch, area, channels])
}
