//! The type of a folder's files in a pack.

use serde::{Deserialize, Serialize};

use crate::decode::{self, Frame, Problem};
use crate::folder_kind::Kind;
use crate::{Encoding, Interpolation};

/// The type of a folder's files in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// 8-bit RGB.
    Color,
    /// Real values: depth, normals and the like.
    Real,
    /// Class indices; also masks.
    Labels,
}

impl Content {
    /// Returns the type as which a modality reads its files.
    #[must_use]
    pub fn of(encoding: &Encoding) -> Self {
        match encoding {
            Encoding::Color { .. } => Self::Color,
            Encoding::Continuous { .. } => Self::Real,
            Encoding::Labels { .. } if encoding.is_of_color_labels() => Self::Color,
            Encoding::Labels { .. } => Self::Labels,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Color => "colours",
            Self::Real => "real values",
            Self::Labels => "labels",
        }
    }

    /// Whether frames of this content can be used as the other one: values as stored serve both as
    /// real values and as labels.
    pub(super) fn serves(self, other: Self) -> bool {
        (self == Self::Color) == (other == Self::Color)
    }

    /// The most liberal encoding: any number of channels, any class; negative labels are left to the modality that reads them.
    pub(super) fn liberal(self, frame: &Frame) -> Encoding {
        match self {
            Self::Color => Encoding::Color { mean: [0.0; 3], std: [1.0; 3] },
            Self::Real => Encoding::Continuous {
                channels: frame.info.channels,
                divisor: 1.0,
                mean: Vec::new(),
                std: Vec::new(),
                interpolation: Interpolation::Nearest,
                standardize: false,
                quantity: crate::Quantity::Plain,
            },
            Self::Labels => Encoding::labels(usize::MAX, None, 0),
        }
    }

    pub(super) fn decoder(self) -> fn(&[u8]) -> Result<Frame, Problem> {
        match self {
            Self::Color => decode::decode_colors,
            Self::Real | Self::Labels => decode::decode_values,
        }
    }
}

impl From<Kind> for Content {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Color => Self::Color,
            Kind::Depth | Kind::Other => Self::Real,
            Kind::Labels | Kind::Mask => Self::Labels,
        }
    }
}
