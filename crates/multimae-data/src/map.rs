//! The values of one modality in one sample, ready for the model.

/// One modality of one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// The values of the pixels.
    pub values: Values,
}

/// The values of a [`Map`].
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Real values, normalised.
    Continuous {
        /// Channels.
        channels: usize,
        /// `(C, H, W)`, row-major: a whole plane per channel.
        data: Vec<f32>,
    },
    /// Class indices, `(H, W)`, row-major. The ignored label may lie outside the classes.
    Labels(Vec<i64>),
}
