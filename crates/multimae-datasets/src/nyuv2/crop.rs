//! The part of a frame whose depth counts.

use serde::{Deserialize, Serialize};

use super::source::Shape;

/// The part of a 640 x 480 frame whose depth counts. The pictures have a white border, and depth
/// was made up behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crop {
    /// The whole frame.
    None,
    /// The field of view of the depth sensor: the projection mask of the NYUv2 toolbox, 427 x 561.
    Toolbox,
    /// The crop of Eigen et al., usual for depth scores, 426 x 560.
    Eigen,
    /// The crop of Gupta et al. (CVPR 2013), 425 x 560.
    Gupta,
}

impl Crop {
    /// Rows and columns, from the first to the one behind the last.
    fn bounds(self) -> Option<[(usize, usize); 2]> {
        match self {
            Self::None => None,
            Self::Toolbox => Some([(44, 471), (40, 601)]),
            Self::Eigen => Some([(45, 471), (41, 601)]),
            Self::Gupta => Some([(45, 470), (40, 600)]),
        }
    }

    pub(super) fn contains(self, row: usize, column: usize) -> bool {
        self.bounds().is_none_or(|[rows, columns]| {
            (rows.0..rows.1).contains(&row) && (columns.0..columns.1).contains(&column)
        })
    }

    /// The crops are those of full-size frames.
    pub(super) fn fits(self, shape: Shape) -> bool {
        self == Self::None || (shape.height, shape.width) == (480, 640)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_published_ones() {
        let size =
            |crop: Crop| (0..480 * 640).filter(|at| crop.contains(at / 640, at % 640)).count();
        let sizes = [Crop::None, Crop::Toolbox, Crop::Eigen, Crop::Gupta].map(size);
        assert_eq!(sizes, [480 * 640, 427 * 561, 426 * 560, 425 * 560]);
        assert!(!Crop::Eigen.fits(Shape { frames: 1, height: 240, width: 320 }));
    }
}
