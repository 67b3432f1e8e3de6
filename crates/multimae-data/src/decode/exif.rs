//! The EXIF orientation of images: how a viewer turns the stored pixels.
//!
//! Source: the tag Orientation (274) of TIFF 6.0 and EXIF 2.3.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, Order, Pixels, map_pixels};
use super::png_file::chunks;
use super::tiff::Directory;
use super::{FileFormat, jpeg};
use crate::Orientation;

/// The tag Orientation.
const ORIENTATION: u16 = 274;

/// The EXIF orientation of stored pixels, 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ExifOrientation(u8);

impl ExifOrientation {
    /// Stored as they are shown.
    pub(crate) const UPRIGHT: Self = Self(1);

    /// Reads the orientation of a file; upright if it has none, or one that does not exist.
    pub(crate) fn of(bytes: &[u8], format: FileFormat) -> Self {
        let found = match format {
            FileFormat::Jpeg => jpeg::exif(bytes).and_then(in_tiff),
            FileFormat::Png => png_chunk(bytes).and_then(in_tiff),
            FileFormat::WebP => webp_chunk(bytes).and_then(in_tiff),
            FileFormat::Tiff => in_tiff(bytes),
            FileFormat::Npy | FileFormat::Bmp | FileFormat::Pnm | FileFormat::Jpeg2000 => None,
        };
        found
            .filter(|value| (1..=8).contains(value))
            .map_or(Self::UPRIGHT, |value| Self(value as u8))
    }

    pub(crate) fn is_upright(self) -> bool {
        self == Self::UPRIGHT
    }

    /// The number of the tag.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The remedy if the file of a modality has this orientation and does not fit the other files of
    /// its sample; empty if it is upright.
    pub(crate) fn advice(self, modality: &str, rule: Orientation) -> String {
        let other = match rule {
            Orientation::Apply => Orientation::Ignore,
            Orientation::Ignore => Orientation::Apply,
        };
        self.advise(modality, rule, &format!("modalities.{modality}.orientation: {}", other.word()))
    }

    /// As [`Self::advice`], where folders are packed.
    pub(crate) fn advice_for_folder(self, folder: &str, rule: Orientation) -> String {
        self.advise(
            folder,
            rule,
            match rule {
                Orientation::Apply => "--ignore-orientation with this folder",
                Orientation::Ignore => "no --ignore-orientation for this folder",
            },
        )
    }

    fn advise(self, place: &str, rule: Orientation, remedy: &str) -> String {
        if self.is_upright() {
            return String::new();
        }
        let done = if rule.is_applied() { "applied" } else { "ignored" };
        format!(
            "; the EXIF orientation {} of its `{place}` is {done}; if the other files fit the \
             opposite, set {remedy}",
            self.0
        )
    }

    /// The size as shown of pixels that are stored in this size.
    pub(crate) fn size(self, (height, width): (usize, usize)) -> (usize, usize) {
        if self.swaps() { (width, height) } else { (height, width) }
    }

    fn swaps(self) -> bool {
        self.0 >= 5
    }

    /// The pixels as a viewer shows them.
    pub(crate) fn turned(self, frame: Frame) -> Frame {
        if self.is_upright() {
            return frame;
        }
        let Frame { mut info, pixels } = frame;
        let (stored, run, planes) = match info.order {
            Order::Interleaved => (info, info.channels, 1),
            Order::Planar => (info, 1, info.channels),
        };
        (info.height, info.width) = self.size((stored.height, stored.width));
        let plane = stored.height * stored.width;
        let from =
            |row: usize, column: usize| self.source((stored.height, stored.width), row, column);
        let pixels = map_pixels!(pixels, values => {
            let mut turned = Vec::with_capacity(values.len());
            for plane in values.chunks_exact((plane * run).max(1)).take(planes) {
                for row in 0..info.height {
                    for column in 0..info.width {
                        let (row, column) = from(row, column);
                        let first = (row * stored.width + column) * run;
                        turned.extend_from_slice(&plane[first..first + run]);
                    }
                }
            }
            turned
        });
        Frame { info, pixels }
    }

    /// The stored pixel that is shown at a row and column, of an image stored in `(height, width)`.
    fn source(self, (height, width): (usize, usize), row: usize, column: usize) -> (usize, usize) {
        let (y, x) = if self.swaps() { (column, row) } else { (row, column) };
        let (down, right) = (height - 1 - y.min(height - 1), width - 1 - x.min(width - 1));
        match self.0 {
            2 => (y, right),
            3 => (down, right),
            4 => (down, x),
            6 => (down, x),
            7 => (down, right),
            8 => (y, right),
            _ => (y, x),
        }
    }
}

/// The tag's value in the first directory of TIFF data.
fn in_tiff(data: &[u8]) -> Option<u64> {
    Directory::first(data)?.number(ORIENTATION)
}

/// The EXIF data of a png.
fn png_chunk(bytes: &[u8]) -> Option<&[u8]> {
    let mut whole = chunks(bytes).take_while(|chunk| chunk.data.len() == chunk.length);
    whole.find(|chunk| chunk.kind == *b"eXIf").map(|chunk| chunk.data)
}

/// The EXIF data of a WebP image.
fn webp_chunk(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    loop {
        let length = u32::from_le_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        let data = bytes.get(at + 8..at.checked_add(8)?.checked_add(length)?)?;
        if bytes.get(at..at + 4)? == b"EXIF" {
            return Some(data.strip_prefix(b"Exif\0\0").unwrap_or(data));
        }
        // Chunks begin at even positions.
        at += 8 + length.next_multiple_of(2);
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GenericImageView as _, RgbImage};

    use super::super::frame::{Form, FrameInfo};
    use super::*;

    fn scene() -> RgbImage {
        RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 9]))
    }

    #[test]
    fn pixels_are_turned_as_the_image_crate_turns_them() {
        for number in 1..=8 {
            let mut expected = DynamicImage::from(scene());
            let orientation = image::metadata::Orientation::from_exif(number).unwrap();
            expected.apply_orientation(orientation);
            let info = FrameInfo {
                height: 3,
                width: 5,
                channels: 3,
                form: Form::Color,
                order: Order::Interleaved,
            };
            let interleaved = Frame { info, pixels: Pixels::U8(scene().into_raw()) };
            let turned = ExifOrientation(number).turned(interleaved);
            let (width, height) = expected.dimensions();
            assert_eq!(turned.size(), (height as usize, width as usize));
            assert_eq!(turned.pixels, Pixels::U8(expected.to_rgb8().into_raw()), "{number}");
            // Planes one after the other, and values of another type.
            let plane = |c: usize| scene().pixels().map(|p| u16::from(p.0[c])).collect::<Vec<_>>();
            let info = FrameInfo { order: Order::Planar, channels: 2, ..info };
            let planes = [plane(0), plane(1)].concat();
            let turned =
                ExifOrientation(number).turned(Frame { info, pixels: Pixels::U16(planes) });
            let expected = expected.to_rgb8();
            let channel = |c: usize| expected.pixels().map(move |p| u16::from(p.0[c]));
            let expected: Vec<u16> = channel(0).chain(channel(1)).collect();
            assert_eq!(turned.pixels, Pixels::U16(expected), "{number}");
        }
    }

    #[test]
    fn the_tag_is_read_in_both_byte_orders_and_types() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0";
        let long = b"II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x05\0\0\0\0\0\0\0";
        assert_eq!((in_tiff(little), in_tiff(big), in_tiff(long)), (Some(6), Some(8), Some(5)));
        for cut in 0..little.len() - 6 {
            // Cut off anywhere, it is no tag, and no panic.
            assert_eq!(in_tiff(&little[..cut]).filter(|value| *value > 8), None);
        }
        assert_eq!(in_tiff(b"II*\0\xff\xff\xff\xff\x01\0"), None);
    }
}
