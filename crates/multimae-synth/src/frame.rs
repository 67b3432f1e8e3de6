//! One rendered view.

/// What the camera sees: aligned maps of the same height and width, all in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Colours as on a screen (sRGB). `(H, W, 3)`.
    pub rgb: Vec<u8>,
    /// Metres along the optical axis. Positive everywhere. `(H, W)`.
    pub depth: Vec<f32>,
    /// NYUv2-40 ids, see [`LABEL_NAMES`](crate::LABEL_NAMES). `(H, W)`.
    pub labels: Vec<u8>,
    /// Surface normals of length 1, towards the camera, in camera coordinates: x right, y down, z
    /// forward, as in the back-projection of the depth. `(3, H, W)`.
    pub normals: Vec<f32>,
}
