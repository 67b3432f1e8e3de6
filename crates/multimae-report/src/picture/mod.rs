//! RGB pictures: made from tensors, maps and labels, with patches hidden or pasted, set in figures.

mod bars;
mod grid;
mod legend;
mod patches;
mod text;

use std::io::Cursor;
use std::path::Path;

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use crate::colormap::{Colormap, ValueRange, depth_to_rgb};
use crate::palette::Palette;
use crate::{Error, Result};
use multimae_io::atomic::write_atomically;

pub use bars::{Bar, bars};
pub use grid::Grid;
pub use legend::{color_bar, palette_legend};
pub use text::{LINE_HEIGHT, TextStyle, text_width};

/// White, the colour of blank paper and of hidden patches.
pub const WHITE: [u8; 3] = [255; 3];

/// A middle grey, for hidden patches of pictures that are white themselves.
pub const GREY: [u8; 3] = [160; 3];

/// Black.
pub const BLACK: [u8; 3] = [0; 3];

/// Height and width in pixels, in the order of tensors.
pub type Size = (usize, usize);

/// An RGB picture of 8 bits per channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// From RGB bytes `(h, w, 3)`, row-major.
    ///
    /// # Errors
    /// If the size and the number of bytes do not fit.
    pub fn new((height, width): Size, rgb: Vec<u8>) -> Result<Self> {
        check_len("RGB bytes", rgb.len(), &[height, width, 3])?;
        Ok(Self { width, height, rgb })
    }

    /// A picture of one colour.
    #[must_use]
    pub fn filled((height, width): Size, color: [u8; 3]) -> Self {
        Self { width, height, rgb: color.repeat(height * width) }
    }

    /// From a normalised RGB tensor: `value * std + mean`, 0..1, per channel. Values beyond are
    /// clamped, NaN becomes white.
    ///
    /// # Shapes
    /// `values (3, h, w)`.
    ///
    /// # Errors
    /// If the size and the number of values do not fit.
    pub fn from_chw(
        values: &[f32],
        (height, width): Size,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> Result<Self> {
        check_len("RGB values", values.len(), &[3, height, width])?;
        let pixels = height * width;
        let rgb = (0..pixels)
            .flat_map(|pixel| [0, 1, 2].map(|c| values[c * pixels + pixel] * std[c] + mean[c]))
            .map(|value| if value.is_nan() { 255 } else { (value * 255.0).round() as u8 })
            .collect();
        Self::new((height, width), rgb)
    }

    /// From a map of single values such as depth. Values that are not finite become white.
    ///
    /// # Shapes
    /// `values (h, w)`.
    ///
    /// # Errors
    /// If the size and the number of values do not fit.
    pub fn from_map(
        values: &[f32],
        size: Size,
        colormap: Colormap,
        range: ValueRange,
    ) -> Result<Self> {
        check_len("values", values.len(), &[size.0, size.1])?;
        Self::new(size, depth_to_rgb(values, range, colormap))
    }

    /// From class labels, each pixel drawn `scale` times as wide and high.
    ///
    /// # Shapes
    /// `labels (h, w)`.
    ///
    /// # Errors
    /// If the size and the number of labels do not fit.
    pub fn from_labels(
        labels: &[i64],
        size: Size,
        palette: &Palette,
        scale: usize,
    ) -> Result<Self> {
        check_len("labels", labels.len(), &[size.0, size.1])?;
        let rgb = labels.iter().flat_map(|&label| palette.color(label)).collect();
        Ok(Self::new(size, rgb)?.upscale(scale))
    }

    /// From the bytes of a PNG.
    ///
    /// # Errors
    /// If they are no PNG.
    pub fn from_png(bytes: &[u8]) -> Result<Self> {
        let decoded = image::load_from_memory_with_format(bytes, image::ImageFormat::Png)?;
        let rgb = decoded.into_rgb8();
        let size = (rgb.height() as usize, rgb.width() as usize);
        Self::new(size, rgb.into_raw())
    }

    /// As the bytes of a PNG.
    ///
    /// # Errors
    /// If the picture has no pixel or is larger than PNG allows.
    pub fn png(&self) -> Result<Vec<u8>> {
        let side = |side: usize| {
            u32::try_from(side).map_err(|_| Error::Picture(format!("{side} pixels are too many")))
        };
        let (width, height) = (side(self.width)?, side(self.height)?);
        let mut bytes = Cursor::new(Vec::new());
        PngEncoder::new(&mut bytes).write_image(
            &self.rgb,
            width,
            height,
            ExtendedColorType::Rgb8,
        )?;
        Ok(bytes.into_inner())
    }

    /// Writes the picture as PNG, atomically.
    ///
    /// # Errors
    /// If the picture cannot be encoded or the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, &self.png()?)?)
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Height and width in pixels.
    #[must_use]
    pub fn size(&self) -> Size {
        (self.height, self.width)
    }

    /// RGB bytes `(h, w, 3)`, row-major.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The colour of a pixel, white outside of the picture.
    #[must_use]
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        if x >= self.width || y >= self.height {
            return WHITE;
        }
        let start = (y * self.width + x) * 3;
        [self.rgb[start], self.rgb[start + 1], self.rgb[start + 2]]
    }

    /// Sets the colour of a pixel; outside of the picture nothing happens.
    pub fn set_pixel(&mut self, x: usize, y: usize, color: [u8; 3]) {
        if x < self.width && y < self.height {
            let start = (y * self.width + x) * 3;
            self.rgb[start..start + 3].copy_from_slice(&color);
        }
    }

    /// Every pixel `n` times as wide and high.
    #[must_use]
    pub fn upscale(&self, n: usize) -> Self {
        if n == 1 {
            return self.clone();
        }
        let rgb = self
            .rgb
            .chunks_exact(3 * self.width.max(1))
            .flat_map(|row| {
                let row: Vec<u8> = row.chunks_exact(3).flat_map(|pixel| pixel.repeat(n)).collect();
                row.repeat(n)
            })
            .collect();
        Self { width: self.width * n, height: self.height * n, rgb }
    }

    /// Every `n`-th pixel of every `n`-th row, for overviews.
    #[must_use]
    pub fn subsample(&self, n: usize) -> Self {
        let n = n.max(1);
        let size = (self.height.div_ceil(n), self.width.div_ceil(n));
        let rows = (0..self.height).step_by(n);
        let row = |y: usize| (0..self.width).step_by(n).flat_map(move |x| self.pixel(x, y));
        Self { height: size.0, width: size.1, rgb: rows.flat_map(row).collect() }
    }

    /// Mixes another picture of the same size in: 0 leaves this one, 1 gives the other.
    ///
    /// # Errors
    /// If the sizes differ.
    pub fn blend(&mut self, over: &Self, opacity: f32) -> Result<()> {
        self.check_same_size(over)?;
        for (under, &over) in self.rgb.iter_mut().zip(&over.rgb) {
            let mixed = f32::from(*under) * (1.0 - opacity) + f32::from(over) * opacity;
            *under = mixed.round() as u8;
        }
        Ok(())
    }

    /// Copies a picture to the place whose upper left corner is `(x, y)`; what lies outside is cut.
    pub fn draw(&mut self, picture: &Self, x: usize, y: usize) {
        let width = picture.width.min(self.width.saturating_sub(x));
        let height = picture.height.min(self.height.saturating_sub(y));
        for row in 0..height {
            let to = ((y + row) * self.width + x) * 3;
            let from = row * picture.width * 3;
            self.rgb[to..to + width * 3].copy_from_slice(&picture.rgb[from..from + width * 3]);
        }
    }

    /// Paints a rectangle; what lies outside is cut.
    pub fn fill_rectangle(&mut self, (x, y): (usize, usize), size: Size, color: [u8; 3]) {
        let visible = (size.0.min(self.height), size.1.min(self.width));
        self.draw(&Self::filled(visible, color), x, y);
    }

    /// Pictures one below the other, aligned left, `gap` pixels of white between them.
    #[must_use]
    pub fn stack(pictures: &[Self], gap: usize) -> Self {
        let width = pictures.iter().map(Self::width).max().unwrap_or(0);
        let gaps = gap * pictures.len().saturating_sub(1);
        let height = pictures.iter().map(Self::height).sum::<usize>() + gaps;
        let mut stack = Self::filled((height, width), WHITE);
        let mut y = 0;
        for picture in pictures {
            stack.draw(picture, 0, y);
            y += picture.height + gap;
        }
        stack
    }

    fn check_same_size(&self, other: &Self) -> Result<()> {
        if self.size() == other.size() {
            return Ok(());
        }
        Err(Error::Picture(format!(
            "one is {} x {} pixels (width x height), the other {} x {}",
            self.width, self.height, other.width, other.height
        )))
    }
}

/// Values of a known shape must be as many as the shape says.
fn check_len(what: &str, len: usize, shape: &[usize]) -> Result<()> {
    if len == shape.iter().product::<usize>() {
        return Ok(());
    }
    Err(Error::Picture(format!("{len} {what} do not fill the shape {shape:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(size: Size) -> Picture {
        let rgb = (0..size.0 * size.1 * 3).map(|i| (i * 7 % 256) as u8).collect();
        Picture::new(size, rgb).unwrap()
    }

    #[test]
    fn png_round_trip() {
        let picture = numbered((5, 7));
        assert_eq!(Picture::from_png(&picture.png().unwrap()).unwrap(), picture);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        picture.write_png(&path).unwrap();
        assert_eq!(Picture::from_png(&fs_err::read(&path).unwrap()).unwrap(), picture);
        assert!(Picture::filled((0, 3), WHITE).png().is_err());
        assert!(Picture::from_png(b"no").is_err());
    }

    #[test]
    fn normalised_tensors_are_denormalised_and_clamped() {
        let values = [0.0, 2.0, 0.0, -9.0, 0.0, f32::NAN];
        let picture = Picture::from_chw(&values, (1, 2), [0.2, 0.4, 0.6], [0.1; 3]).unwrap();
        assert_eq!(picture.rgb(), [51, 102, 153, 102, 0, 255]);
        assert!(Picture::from_chw(&values, (2, 2), [0.0; 3], [1.0; 3]).is_err());
    }

    #[test]
    fn labels_get_their_colours() {
        let palette = Palette::nyu40();
        let picture = Picture::from_labels(&[0, 1, 2, 255], (2, 2), &palette, 2).unwrap();
        assert_eq!(picture.size(), (4, 4));
        assert_eq!(picture.pixel(3, 1), palette.color(1));
        assert_eq!(picture.pixel(1, 3), palette.color(2));
        assert_eq!(picture.pixel(3, 3), BLACK);
    }

    #[test]
    fn upscaling_repeats_pixels() {
        let picture = numbered((2, 3));
        let large = picture.upscale(3);
        for (x, y) in [(0, 0), (8, 5), (3, 2), (5, 3)] {
            assert_eq!(large.pixel(x, y), picture.pixel(x / 3, y / 3));
        }
        assert_eq!(Picture::filled((2, 0), WHITE).upscale(2).size(), (4, 0));
    }

    #[test]
    fn drawing_is_cut_at_the_border() {
        let mut picture = Picture::filled((2, 2), WHITE);
        picture.draw(&Picture::filled((5, 5), BLACK), 1, 1);
        picture.draw(&Picture::filled((5, 5), BLACK), 9, 9);
        assert_eq!(picture.rgb(), [255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0]);
    }

    #[test]
    fn blending_mixes() {
        let mut picture = Picture::filled((1, 1), [100, 0, 200]);
        picture.blend(&Picture::filled((1, 1), [200, 0, 0]), 0.25).unwrap();
        assert_eq!(picture.rgb(), [125, 0, 150]);
        assert!(picture.blend(&Picture::filled((2, 1), WHITE), 0.5).is_err());
    }
}
