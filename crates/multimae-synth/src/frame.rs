//! One rendered view, and its maps as pictures.

use multimae_data::encode::encoded_png;
use png::{BitDepth, ColorType, Compression, EncodingError};

/// A rendered frame: aligned maps of the same height and width, all in row-major order.
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

/// One of the maps of a [`Frame`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameMap {
    /// Colours.
    Rgb,
    /// Metric depth.
    Depth,
    /// Classes.
    Labels,
    /// Surface normals.
    Normals,
}

impl Frame {
    /// A map as a png: colours in 8 bits; depth in 16 bits, millimetres; labels in 8 bits, the ids;
    /// normals in 8 bits, `(n + 1) / 2 * 255`.
    ///
    /// # Errors
    /// If a map has not as many values as the frame has pixels.
    pub fn png(&self, map: FrameMap) -> std::result::Result<Vec<u8>, EncodingError> {
        let (rgb, grey) = (ColorType::Rgb, ColorType::Grayscale);
        let (bytes, color, depth) = match map {
            FrameMap::Rgb => (self.rgb.clone(), rgb, BitDepth::Eight),
            FrameMap::Depth => (millimetres(&self.depth), grey, BitDepth::Sixteen),
            FrameMap::Labels => (self.labels.clone(), grey, BitDepth::Eight),
            FrameMap::Normals => (normal_bytes(&self.normals), rgb, BitDepth::Eight),
        };
        encoded_png(&bytes, (self.height, self.width), (color, depth), Compression::Fast, None)
    }
}

/// Depth as 16-bit millimetres, big-endian as PNG wants it. Depth beyond the range gets the largest
/// number, and no pixel gets 0, which would mean that the depth is not known.
fn millimetres(depth: &[f32]) -> Vec<u8> {
    let number = |metres: f32| (metres * 1000.0).round().clamp(1.0, 65535.0) as u16;
    depth.iter().flat_map(|&metres| number(metres).to_be_bytes()).collect()
}

/// `(3, H, W)` from -1 to 1, to `(H, W, 3)` from 0 to 255.
fn normal_bytes(normals: &[f32]) -> Vec<u8> {
    let pixels = normals.len() / 3;
    let byte = |n: f32| ((n + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
    (0..pixels).flat_map(|i| [0, 1, 2].map(|c| byte(normals[c * pixels + i]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_files() {
        assert_eq!(millimetres(&[1.2344, 99.0, 0.0]), [4, 210, 255, 255, 0, 1]);
        assert_eq!(normal_bytes(&[-1.0, 0.0, 1.0]), [0, 128, 255]);
        assert_eq!(normal_bytes(&[-1.0, 1.0, 0.0, 0.0, 1.0, -1.0]), [0, 128, 255, 255, 128, 0]);
    }
}
