//! Modalities as data: what the model knows of RGB, depth, labels or anything else.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Width of the class embedding of categorical modalities in the published models.
pub const DEFAULT_DIM_CLASS_EMB: usize = 64;

/// The kind of a modality's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModalityKind {
    /// Real values in channels: RGB, depth, surface normals, ...
    Continuous {
        /// Number of channels.
        channels: usize,
    },
    /// One class index per pixel.
    Categorical {
        /// Number of classes; labels are `0..classes`.
        classes: usize,
        /// Width of the learned embedding of a class.
        dim_class_emb: usize,
        /// Whether the embedding table has one more row, index `classes`, for padding pixels.
        /// Its gradient is always zero.
        padding: bool,
    },
}

/// One modality: its name, how it is stored, what its values are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modality {
    /// The name used in parameter names, inputs and predictions, e.g. `rgb`.
    pub name: String,
    /// The modality is stored at `1 / stride` of the image's resolution.
    pub stride: usize,
    /// The kind of its values.
    pub kind: ModalityKind,
}

impl Modality {
    /// A modality of real values at full resolution.
    #[must_use]
    pub fn continuous(name: &str, channels: usize) -> Self {
        Self { name: name.to_owned(), stride: 1, kind: ModalityKind::Continuous { channels } }
    }

    /// A modality of class indices, stored at `1 / stride` of the image's resolution.
    #[must_use]
    pub fn categorical(name: &str, classes: usize, stride: usize) -> Self {
        Self {
            name: name.to_owned(),
            stride,
            kind: ModalityKind::Categorical {
                classes,
                dim_class_emb: DEFAULT_DIM_CLASS_EMB,
                padding: false,
            },
        }
    }

    /// Channels of a prediction of this modality: its channels, or one logit per class.
    #[must_use]
    pub fn prediction_channels(&self) -> usize {
        match self.kind {
            ModalityKind::Continuous { channels } => channels,
            ModalityKind::Categorical { classes, .. } => classes,
        }
    }

    /// Side of this modality's own patch, in its own pixels: `max(1, patch_size / stride)`.
    ///
    /// # Errors
    /// If the stride does not divide the full-resolution patch, so that token grids would differ.
    pub fn patch(&self, patch_size: usize) -> Result<usize> {
        if self.stride == 0 || patch_size == 0 || !patch_size.is_multiple_of(self.stride) {
            return Err(Error::Config(format!(
                "modality `{}`: its stride {} must divide the patch size {patch_size}",
                self.name, self.stride
            )));
        }
        Ok(patch_size / self.stride)
    }
}

/// A size in rows and columns; of an image, a table or a token grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Size {
    /// `height` rows and `width` columns.
    #[must_use]
    pub fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// A square.
    #[must_use]
    pub fn square(side: usize) -> Self {
        Self::new(side, side)
    }

    /// Number of cells.
    #[must_use]
    pub fn area(self) -> usize {
        self.height * self.width
    }

    /// The token grid of an image of this size.
    ///
    /// # Errors
    /// If the patch size does not divide both sides.
    pub fn grid(self, patch_size: usize) -> Result<Size> {
        let divides = |side: usize| side > 0 && side.is_multiple_of(patch_size);
        if patch_size == 0 || !divides(self.height) || !divides(self.width) {
            return Err(Error::Config(format!(
                "image size {self} is not a multiple of the patch size {patch_size}"
            )));
        }
        Ok(Size::new(self.height / patch_size, self.width / patch_size))
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} (rows x columns)", self.height, self.width)
    }
}
