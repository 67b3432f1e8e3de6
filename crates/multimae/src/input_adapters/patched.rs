//! Tokens of image-like modalities.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;
use multimae_kernels::precision::Precision;

use super::{InputAdapterConfig, own_grid};
use crate::interpolate::Interpolation;
use crate::modality::{Modality, Size};
use crate::nn::parameter;
use crate::patches::patchify;
use crate::positions::{frozen_table, table_tokens};
use crate::{Error, Result};

/// The weights of a convolution whose stride is its kernel.
#[derive(Module, Debug)]
pub struct PatchProjection {
    /// `(width, channels, patch, patch)`.
    pub weight: Param<Tensor<4>>,
    /// `(width)`.
    pub bias: Param<Tensor<1>>,
}

impl PatchProjection {
    pub(super) fn new(channels: usize, patch: usize, width: usize, device: &Device) -> Self {
        Self {
            weight: parameter([width, channels, patch, patch], device),
            bias: parameter([width], device),
        }
    }

    /// # Shapes
    /// Patches `(B, N, channels * patch * patch)`, channel-major, to `(B, N, width)`.
    pub(super) fn forward(&self, patches: Tensor<3>) -> Tensor<3> {
        let [width, channels, height, columns] = self.weight.dims();
        let weight = self.weight.val().reshape([width, channels * height * columns]);
        let project = || ops::linear(patches, weight, Some(self.bias.val()));
        Precision::current().of_pixels().scope(project)
    }
}

/// `proj(x)` plus the position table, for RGB, depth, normals, ... (MultiMAE, section 3.1).
#[derive(Module, Debug)]
pub struct PatchedInputAdapter {
    /// `(1, width, h, w)`, not trained.
    pub pos_emb: Param<Tensor<4>>,
    /// The patch embedding.
    pub proj: PatchProjection,
}

impl PatchedInputAdapter {
    pub(super) fn new(
        modality: &Modality,
        channels: usize,
        config: InputAdapterConfig,
        device: &Device,
    ) -> Result<Self> {
        let patch = modality.patch(config.patch_size)?;
        let table = config.image_size.grid(config.patch_size)?;
        Ok(Self {
            pos_emb: frozen_table(config.width, table, config.tables, device)?,
            proj: PatchProjection::new(channels, patch, config.width, device),
        })
    }

    /// Tokens without positions.
    ///
    /// # Shapes
    /// `(B, C, H, W)`, whose sides are multiples of the patch, to `(B, N, width)`.
    #[must_use]
    pub fn project(&self, x: Tensor<4>) -> Tensor<3> {
        self.proj.forward(patchify(x, self.patch()))
    }

    /// Side of its patches.
    #[must_use]
    pub fn patch(&self) -> usize {
        self.proj.weight.dims()[2]
    }

    /// The grid of the tokens of maps.
    ///
    /// # Shapes
    /// `(B, C, H, W)`.
    ///
    /// # Errors
    /// If the channels or the size do not fit.
    pub fn checked_grid(&self, name: &str, x: &Tensor<4>) -> Result<Size> {
        let [_, channels, height, width] = x.dims();
        let [_, expected, patch, _] = self.proj.weight.dims();
        if channels != expected {
            return Err(Error::Input {
                modality: name.to_owned(),
                problem: format!("expects {expected} channels, got {channels}"),
            });
        }
        own_grid(name, Size::new(height, width), patch)
    }

    pub(super) fn forward(&self, name: &str, x: Tensor<4>) -> Result<(Tensor<3>, Size)> {
        let grid = self.checked_grid(name, &x)?;
        let positions = table_tokens(self.pos_emb.val(), grid, Interpolation::Bicubic);
        Ok((self.project(x) + positions, grid))
    }
}
