//! Prompts made of each image's own patches and edges (explicit visual prompting; Liu et al., CVPR 2023).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use multimae_kernels::ops;
use serde::{Deserialize, Serialize};

use super::{Prompts, checks};
use crate::Result;
use crate::nn::{Linear, parameter};
use crate::patches::patchify;

/// The weights along an axis of the blur that is subtracted for [`details`]: the binomial filter.
pub const EVP_BLUR: [f32; 5] = [0.0625, 0.25, 0.375, 0.25, 0.0625];

/// The sizes of explicit prompts.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvpConfig {
    /// Width of the prompts before the map to the encoder's width.
    #[serde(default = "default_rank")]
    pub rank: usize,
    /// The input modality that they are made of and added to; of real values.
    #[serde(default = "default_modality")]
    pub modality: String,
    /// The first block with prompts, counted from 0.
    #[serde(default)]
    pub first: usize,
    /// The number of blocks; all from the first on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
}

fn default_rank() -> usize {
    32
}

fn default_modality() -> String {
    "rgb".to_owned()
}

impl EvpConfig {
    /// # Errors
    /// Names the size that is wrong.
    pub(super) fn check(&self) -> Result<()> {
        checks::sizes("evp", &[("rank", self.rank)])
    }
}

/// The parts of a batch that explicit prompts are made of.
#[derive(Debug, Clone)]
pub struct ImagePatches {
    /// `(B, N, width)`: the projected patches of the modality, without positions.
    pub projected: Tensor<3>,
    /// `(B, N, channels * patch * patch)`: the patches of its [`details`].
    pub details: Tensor<3>,
    /// The place of the modality's first token in the sequence.
    pub start: usize,
}

impl ImagePatches {
    /// The patches of maps, of which the projection is known.
    ///
    /// # Shapes
    /// `projected (B, N, width)`, `maps (B, C, h, w)`, whose sides are multiples of `patch`.
    #[must_use]
    pub fn new(projected: Tensor<3>, maps: Tensor<4>, patch: usize, start: usize) -> Self {
        Self { projected, details: patchify(details(maps), patch), start }
    }
}

/// Added in front of a block: `up(gelu(W s + b))`, with `s` the sum of two low-rank maps, of the frozen
/// projection of a patch and of the patch's details. `W` and `b` are of each block, `up` is of all, and zero
/// at the beginning.
#[derive(Module, Debug)]
pub struct EvpPrompts {
    /// From projected patches to the rank.
    pub embedding: Linear,
    /// From the details' patches to the rank.
    pub detail: Linear,
    /// `(layers, rank, rank)`, from the sum to each block's prompt, transposed.
    pub weight: Param<Tensor<3>>,
    /// `(layers, rank)`.
    pub bias: Param<Tensor<2>>,
    /// From the rank to the encoder's width.
    pub up: Linear,
    modality: String,
    first: usize,
}

impl EvpPrompts {
    /// Prompts of zeros for `layers` blocks from block `first` on, made of patches of this number of
    /// values.
    #[must_use]
    pub fn new(
        config: &EvpConfig,
        (first, layers): (usize, usize),
        (patch_values, width): (usize, usize),
        device: &Device,
    ) -> Self {
        let rank = config.rank;
        Self {
            embedding: Linear::new(width, rank, device),
            detail: Linear::new(patch_values, rank, device),
            weight: parameter([layers, rank, rank], device),
            bias: parameter([layers, rank], device),
            up: Linear::new(rank, width, device),
            modality: config.modality.clone(),
            first,
        }
    }

    /// The block of the first layer.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// The input modality that they are made of.
    #[must_use]
    pub fn modality(&self) -> &str {
        &self.modality
    }

    /// The prompts of a batch.
    #[must_use]
    pub fn forward(&self, patches: &ImagePatches) -> Prompts {
        let ImagePatches { projected, details, start } = patches;
        let sum = self.embedding.forward(projected.clone()) + self.detail.forward(details.clone());
        let [layers, rank, _] = self.weight.dims();
        let of_layer = |layer: usize| {
            let weight = self.weight.val().narrow(0, layer, 1).reshape([rank, rank]);
            let bias = self.bias.val().narrow(0, layer, 1).reshape([rank]);
            self.up.forward_gelu(ops::linear(sum.clone(), weight, Some(bias)))
        };
        let values = (0..layers).map(of_layer).collect();
        Prompts::Additive { first: self.first, start: *start, values }
    }
}

/// The magnitude of the high frequencies of maps: `|x - blur(x)|`, with the binomial filter of five by five
/// pixels. Along an axis half of the amplitude is left at 0.36 of the highest frequency; the published filter,
/// which removes a square of the spectrum, cuts at 0.5.
///
/// # Shapes
/// `(B, C, h, w)`, unchanged.
#[must_use]
pub fn details(maps: Tensor<4>) -> Tensor<4> {
    let [_, channels, height, width] = maps.dims();
    let device = maps.device();
    let filter: Vec<f32> =
        EVP_BLUR.iter().flat_map(|row| EVP_BLUR.map(|column| row * column)).collect();
    let filter = Tensor::<4>::from_data(TensorData::new(filter, [1, 1, 5, 5]), &device);
    // At the border, the mean of the pixels that there are.
    let ones = Tensor::ones([1, 1, height, width], &device);
    let shares = ops::conv2d(ones, filter.clone(), None, true);
    let sums = ops::conv2d(maps.clone(), filter.expand([channels, 1, 5, 5]), None, true);
    (maps - sums / shares).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_maps_have_no_details_and_edges_have() {
        let device = Device::default();
        let flat = Tensor::<4>::full([2, 3, 16, 16], 0.7, &device);
        let largest = details(flat).max().into_scalar::<f32>();
        assert!(largest < 1e-5, "{largest}");
        // A step between columns 7 and 8.
        let columns: Vec<f32> = (0..256).map(|at| if at % 16 < 8 { 0.0 } else { 1.0 }).collect();
        let step = Tensor::<4>::from_data(TensorData::new(columns, [1, 1, 16, 16]), &device);
        let got: Vec<f32> = details(step).into_data().iter().collect();
        for row in got.chunks(16) {
            // The filter's tail beyond the step: 5/16 beside it, 1/16 one further, nothing beyond.
            for (column, expected) in [(5, 0.0), (6, 1.0 / 16.0), (7, 5.0 / 16.0), (8, 5.0 / 16.0)]
            {
                assert!((row[column] - expected).abs() < 1e-5, "{column}: {}", row[column]);
            }
        }
    }
}
