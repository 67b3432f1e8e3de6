//! The kind of a folder's files.

use std::str::FromStr;

use serde::Serialize;

use crate::decode::{FileFormat, Stored};

/// The kind of a folder's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Pictures.
    Color,
    /// Distances.
    Depth,
    /// Class indices.
    Labels,
    /// 255 where something holds, 0 elsewhere.
    Mask,
    /// Something else, for example surface normals.
    Other,
}

/// Prefixes of folder names.
const NAMES: [(&str, Kind); 16] = [
    ("rgb", Kind::Color),
    ("color", Kind::Color),
    ("colour", Kind::Color),
    ("image", Kind::Color),
    ("img", Kind::Color),
    ("depth", Kind::Depth),
    ("label", Kind::Labels),
    ("semseg", Kind::Labels),
    ("semantic", Kind::Labels),
    ("seg", Kind::Labels),
    ("annotation", Kind::Labels),
    ("mask", Kind::Mask),
    ("valid", Kind::Mask),
    ("normal", Kind::Other),
    ("edge", Kind::Other),
    ("keypoint", Kind::Other),
];

impl Kind {
    /// By the name of the folder.
    pub(crate) fn of_name(folder: &str) -> Option<Self> {
        let folder = folder.to_ascii_lowercase();
        NAMES.iter().find(|(name, _)| folder.starts_with(name)).map(|&(_, kind)| kind)
    }

    /// By a file.
    pub(crate) fn of_file(stored: &Stored) -> Self {
        match stored.channels {
            1 if stored.palette => Self::Labels,
            1 if stored.bits == 1 => Self::Mask,
            1 if stored.format == FileFormat::Npy || stored.bits >= 16 => Self::Depth,
            1 if stored.values.iter().all(|&value| value == 0.0 || value == 255.0) => Self::Mask,
            1 => Self::Labels,
            3 | 4 if stored.format != FileFormat::Npy => Self::Color,
            _ => Self::Other,
        }
    }

    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Color => "color",
            Self::Depth => "depth",
            Self::Labels => "labels",
            Self::Mask => "mask",
            Self::Other => "other",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Color, Self::Depth, Self::Labels, Self::Mask, Self::Other]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| format!("`{word}` is not one of color, depth, labels, mask, other"))
    }
}
