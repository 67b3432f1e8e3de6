//! A sample as its files have it.

use indexmap::IndexMap;

/// The decoded files of one sample, all of the same size, before any augmentation.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSample {
    /// The id of the sample.
    pub id: String,
    /// Its index in the data set.
    pub index: usize,
    /// Rows of every map.
    pub height: usize,
    /// Columns of every map.
    pub width: usize,
    /// The maps by the name of the modality, in the order of the data set's modalities.
    pub maps: IndexMap<String, RawMap>,
}

/// The decoded file of one modality.
#[derive(Debug, Clone, PartialEq)]
pub enum RawMap {
    /// 8-bit RGB, `(H, W, 3)`, row-major.
    Color(Vec<u8>),
    /// Real values as stored, `(C, H, W)`, row-major, counted from the stored zero; all channels of
    /// invalid pixels are NaN.
    Continuous {
        /// Channels.
        channels: usize,
        /// The values, not yet divided or normalised.
        data: Vec<f32>,
    },
    /// Class indices with the offset applied, `(H, W)`, row-major.
    Labels(Vec<i64>),
}
