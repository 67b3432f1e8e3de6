//! The pixels of targets that count.

use burn::tensor::{Device, Tensor, TensorData};
use indexmap::IndexMap;

use crate::model::Inputs;
use crate::{Error, Result};

/// The valid pixels of one modality in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidMask {
    flags: Vec<bool>,
    /// Batch, rows and columns.
    shape: [usize; 3],
}

/// The valid masks of a batch by modality. All pixels of modalities without one are valid.
pub type ValidMasks = IndexMap<String, ValidMask>;

/// The targets of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// The values; those of invalid pixels are finite and mean nothing.
    pub values: &'a Inputs,
    /// The pixels that count.
    pub valid: Option<&'a ValidMasks>,
}

impl<'a> From<&'a Inputs> for Targets<'a> {
    fn from(values: &'a Inputs) -> Self {
        Self { values, valid: None }
    }
}

impl ValidMask {
    /// A mask of flags `(B, h, w)`, row-major.
    ///
    /// # Errors
    /// If there are more or fewer flags.
    pub fn new(flags: Vec<bool>, shape: [usize; 3]) -> Result<Self> {
        if flags.len() != shape.iter().product::<usize>() {
            return Err(Error::Config(format!("{} flags of validity for {shape:?}", flags.len())));
        }
        Ok(Self { flags, shape })
    }

    /// Batch, rows and columns.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The number of samples with a valid pixel.
    #[must_use]
    pub fn samples(&self) -> usize {
        let pixels = (self.shape[1] * self.shape[2]).max(1);
        self.flags.chunks(pixels).filter(|pixels| pixels.contains(&true)).count()
    }

    /// Flags the patches that have a valid pixel.
    ///
    /// # Shapes
    /// `(B, N)`, row-major.
    #[must_use]
    pub fn patches(&self, patch: usize) -> Vec<bool> {
        let [batch, height, width] = self.shape;
        let (rows, columns) = (height / patch.max(1), width / patch.max(1));
        let mut flags = vec![false; batch * rows * columns];
        let valid = self.flags.iter().enumerate().filter(|(_, valid)| **valid);
        for (index, _) in valid {
            let (sample, pixel) = (index / (height * width), index % (height * width));
            let (row, column) = (pixel / width / patch, pixel % width / patch);
            if row < rows && column < columns {
                flags[(sample * rows + row) * columns + column] = true;
            }
        }
        flags
    }

    /// As numbers, 1 = valid.
    ///
    /// # Shapes
    /// `(B, h, w)`.
    #[must_use]
    pub fn tensor(&self, device: &Device) -> Tensor<3> {
        let values: Vec<f32> = self.flags.iter().map(|&valid| f32::from(u8::from(valid))).collect();
        Tensor::from_data(TensorData::new(values, self.shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_counts_with_one_valid_pixel() {
        let mut flags = vec![false; 2 * 2 * 4];
        flags[3] = true;
        flags[12] = true;
        let mask = ValidMask::new(flags, [2, 2, 4]).unwrap();
        assert_eq!(mask.patches(2), [false, true, true, false]);
        assert_eq!(mask.samples(), 2);
        assert!(ValidMask::new(vec![true; 3], [1, 2, 2]).is_err());
    }
}
