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
    /// Real values, normalised; all channels of invalid pixels are NaN.
    Continuous {
        /// Channels.
        channels: usize,
        /// `(C, H, W)`, row-major: a whole plane per channel.
        data: Vec<f32>,
    },
    /// Class indices, `(H, W)`, row-major. The ignored label may lie outside the classes.
    Labels(Vec<i64>),
}

impl Values {
    /// Flags the pixels that are valid; `None` if all are, as those of labels and colours.
    ///
    /// # Shapes
    /// `(H, W)`.
    #[must_use]
    pub fn valid_pixels(&self) -> Option<Vec<bool>> {
        let Self::Continuous { channels, data } = self else { return None };
        // Invalid pixels are NaN in every channel.
        let plane = &data[..data.len() / (*channels).max(1)];
        let valid: Vec<bool> = plane.iter().map(|value| !value.is_nan()).collect();
        valid.contains(&false).then_some(valid)
    }
}
