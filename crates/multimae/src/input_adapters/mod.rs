//! Input adapters: from one modality to tokens.

mod patched;
mod semseg;

pub use patched::PatchedInputAdapter;
pub use semseg::SemSegInputAdapter;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};

use crate::modality::{Modality, ModalityKind, Size};
use crate::positions::NonSquareTables;
use crate::{Error, Result};

/// The values of one modality for a batch.
#[derive(Debug, Clone)]
pub enum ModalityTensor {
    /// `(B, C, H, W)`, at the modality's own resolution.
    Continuous(Tensor<4>),
    /// Class indices `(B, H, W)`, at the modality's own resolution.
    Categorical(Tensor<3, Int>),
}

impl ModalityTensor {
    /// Batch size.
    #[must_use]
    pub fn batch(&self) -> usize {
        match self {
            Self::Continuous(values) => values.dims()[0],
            Self::Categorical(labels) => labels.dims()[0],
        }
    }

    /// Size of the maps.
    #[must_use]
    pub fn size(&self) -> Size {
        let (height, width) = match self {
            Self::Continuous(values) => (values.dims()[2], values.dims()[3]),
            Self::Categorical(labels) => (labels.dims()[1], labels.dims()[2]),
        };
        Size::new(height, width)
    }
}

/// The sizes that all adapters of a model share.
#[derive(Debug, Clone, Copy)]
pub struct InputAdapterConfig {
    /// Side of a patch at full resolution.
    pub patch_size: usize,
    /// Embedding dimension.
    pub width: usize,
    /// Image size that the position tables are built for.
    pub image_size: Size,
    /// The layout of position tables that are not square.
    pub tables: NonSquareTables,
}

/// The adapter of one modality.
#[derive(Module, Debug)]
pub enum InputAdapter {
    /// Of continuous modalities.
    Patched(PatchedInputAdapter),
    /// Of categorical modalities.
    SemSeg(SemSegInputAdapter),
}

impl InputAdapter {
    /// The adapter for a modality, of zeros but for its position table.
    ///
    /// # Errors
    /// If patch, stride and image size do not fit.
    pub fn new(modality: &Modality, config: InputAdapterConfig, device: &Device) -> Result<Self> {
        Ok(match &modality.kind {
            ModalityKind::Continuous { channels } => {
                Self::Patched(PatchedInputAdapter::new(modality, *channels, config, device)?)
            }
            ModalityKind::Categorical { classes, dim_class_emb, padding } => {
                Self::SemSeg(SemSegInputAdapter::new(
                    modality,
                    *classes,
                    *dim_class_emb,
                    *padding,
                    config,
                    device,
                )?)
            }
        })
    }

    /// The grid of the tokens of maps of this size.
    ///
    /// # Errors
    /// If the size is no multiple of the patch.
    pub fn grid(&self, name: &str, size: Size) -> Result<Size> {
        let patch = match self {
            Self::Patched(adapter) => adapter.patch(),
            Self::SemSeg(adapter) => adapter.proj.weight.dims()[2],
        };
        own_grid(name, size, patch)
    }

    /// Tokens in row-major patch order, positions added, and their grid.
    ///
    /// # Shapes
    /// `(B, C, H, W)` or `(B, H, W)` to `(B, N, width)`.
    ///
    /// # Errors
    /// If the kind of values, the channels or the size do not fit the modality.
    pub fn forward(&self, name: &str, input: ModalityTensor) -> Result<(Tensor<3>, Size)> {
        match (self, input) {
            (Self::Patched(adapter), ModalityTensor::Continuous(values)) => {
                adapter.forward(name, values)
            }
            (Self::SemSeg(adapter), ModalityTensor::Categorical(labels)) => {
                adapter.forward(name, labels)
            }
            (Self::Patched(_), _) => Err(Error::Input {
                modality: name.to_owned(),
                problem: "expects real values, got class indices".to_owned(),
            }),
            (Self::SemSeg(_), _) => Err(Error::Input {
                modality: name.to_owned(),
                problem: "expects class indices, got real values".to_owned(),
            }),
        }
    }
}

/// The token grid of maps of that size.
fn own_grid(name: &str, size: Size, patch: usize) -> Result<Size> {
    size.grid(patch).map_err(|_| Error::Input {
        modality: name.to_owned(),
        problem: format!("its size {size} is not a multiple of its patch {patch}"),
    })
}
