//! The part of a frame that is scored.

use std::ops::Range;

use multimae::modality::Size;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The size that crops of NYUv2 are given for.
const FULL: Size = Size { height: 480, width: 640 };
/// Rows of the Eigen crop at 480x640, 0-based, end excluded, as in public depth-estimation code.
const EIGEN_ROWS: Range<usize> = 45..471;
/// Columns of the Eigen crop at 480x640.
const EIGEN_COLUMNS: Range<usize> = 41..601;
/// The largest difference of the sides' ratio from 4:3, as a share.
const RATIO_TOLERANCE: f64 = 0.02;

/// The part of a frame that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// All of it.
    FullFrame,
    /// Rows 45 to 470 and columns 41 to 600 of 480x640, inside the white border of NYUv2's frames
    /// (Eigen et al., 2014). At another size, the pixels that stand for these.
    EigenCrop,
}

impl Region {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FullFrame => "full frame",
            Self::EigenCrop => "Eigen crop",
        }
    }

    /// Its rows and columns in a frame of that size.
    ///
    /// # Errors
    /// If the Eigen crop is asked for in a frame that is not 4:3, where it has no meaning.
    pub fn of(self, size: Size) -> Result<(Range<usize>, Range<usize>)> {
        match self {
            Self::FullFrame => Ok((0..size.height, 0..size.width)),
            Self::EigenCrop => {
                check_ratio(size)?;
                let rows = scaled(EIGEN_ROWS, FULL.height, size.height);
                Ok((rows, scaled(EIGEN_COLUMNS, FULL.width, size.width)))
            }
        }
    }

    /// Returns the mask of the region in a frame, row-major.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn mask(self, size: Size) -> Result<Vec<bool>> {
        let (rows, columns) = self.of(size)?;
        let row = |r: usize| (0..size.width).map(move |c| (r, c));
        let inside = |(r, c)| rows.contains(&r) && columns.contains(&c);
        Ok((0..size.height).flat_map(row).map(inside).collect())
    }
}

fn check_ratio(size: Size) -> Result<()> {
    let ratio = size.width as f64 / size.height.max(1) as f64;
    if size.area() > 0 && (ratio * 0.75 - 1.0).abs() <= RATIO_TOLERANCE {
        return Ok(());
    }
    Err(Error::Evaluation(format!(
        "the Eigen crop is defined for 4:3 frames and this one has {size}; use the protocol `depth` \
         for frames of other kinds"
    )))
}

/// The pixels of `n` whose nearest pixel of `full` lies in the range: pixel `i` stands for pixel
/// `floor((i + 1/2) full / n)`.
fn scaled(range: Range<usize>, full: usize, n: usize) -> Range<usize> {
    let stands_for = |i: usize| (2 * i + 1) * full / (2 * n);
    let first = |edge: usize| (0..n).find(|&i| stands_for(i) >= edge).unwrap_or(n);
    first(range.start)..first(range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crop_scales_with_the_frame() {
        let crop = |height, width| Region::EigenCrop.of(Size::new(height, width)).unwrap();
        assert_eq!(crop(480, 640), (45..471, 41..601));
        assert_eq!(crop(240, 320), (22..235, 20..300));
        // Doubled: both pixels that stand for row 45, and none beyond 470.
        assert_eq!(crop(960, 1280), (90..942, 82..1202));
        assert_eq!(crop(120, 160), (11..118, 10..150));
    }

    #[test]
    fn masks_hold_the_pixels_of_the_crop() {
        let mask = Region::EigenCrop.mask(Size::new(240, 320)).unwrap();
        assert_eq!(mask.iter().filter(|&&inside| inside).count(), 213 * 280);
        assert!(mask[22 * 320 + 20] && !mask[21 * 320 + 20] && !mask[22 * 320 + 19]);
        assert!(mask[234 * 320 + 299] && !mask[235 * 320 + 299] && !mask[234 * 320 + 300]);
        assert!(Region::FullFrame.mask(Size::new(3, 5)).unwrap().iter().all(|&inside| inside));
    }

    #[test]
    fn frames_that_are_not_four_to_three_have_no_eigen_crop() {
        for (height, width) in [(256, 256), (1080, 1920), (0, 0)] {
            let error = Region::EigenCrop.of(Size::new(height, width)).unwrap_err();
            assert!(error.to_string().contains("`depth`"), "{error}");
        }
        // Sides of a round number are near enough.
        assert!(Region::EigenCrop.of(Size::new(257, 341)).is_ok());
    }
}
