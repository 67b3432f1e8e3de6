//! 8-bit colour images.

use std::io::Cursor;

use image::{ColorType, DynamicImage, ImageFormat, ImageReader};

use super::frame::{Form, Frame, FrameInfo, Order, Pixels};
use super::{FileFormat, Problem};
use crate::RawMap;
use crate::resize::CropBox;

/// Reads an image as RGB.
pub(super) fn read(bytes: &[u8], format: FileFormat) -> Result<Frame, Problem> {
    let image = match format {
        FileFormat::Png => load(bytes, ImageFormat::Png)?,
        FileFormat::Jpeg => load_jpeg(bytes)?,
        FileFormat::Npy => {
            return Err("it is an array, and a color modality needs png or jpeg images; use a \
                        continuous modality for arrays"
                .to_owned());
        }
    };
    let bits = image.color().bits_per_pixel() / u16::from(image.color().channel_count());
    if bits != 8 {
        return Err(format!(
            "it has {bits} bits per channel, and a color modality needs 8; a file like this is \
             usually depth, so check the folder"
        ));
    }
    let (height, width) = (image.height() as usize, image.width() as usize);
    let (form, order) = (Form::Color, Order::Interleaved);
    let info = FrameInfo { height, width, channels: 3, form, order };
    Frame::new(info, Pixels::U8(image.into_rgb8().into_raw()))
}

/// A jpeg as it is, grey or RGB, for modalities with real values.
pub(super) fn read_jpeg(bytes: &[u8]) -> Result<Frame, Problem> {
    let image = load_jpeg(bytes)?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    let (channels, pixels) = match image.color() {
        ColorType::L8 => (1, image.into_luma8().into_raw()),
        _ => (3, image.into_rgb8().into_raw()),
    };
    let (form, order) = (Form::Jpeg, Order::Interleaved);
    Frame::new(FrameInfo { height, width, channels, form, order }, Pixels::U8(pixels))
}

/// Height and width by the header of an image.
pub(super) fn claimed_size(bytes: &[u8], format: ImageFormat) -> Result<(u64, u64), Problem> {
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let (width, height) = reader.into_dimensions().map_err(|error| error.to_string())?;
    Ok((height.into(), width.into()))
}

/// The colours of a window.
pub(super) fn convert(frame: Frame, window: CropBox) -> Result<RawMap, Problem> {
    let (info, Pixels::U8(rgb)) = (frame.info, frame.pixels) else {
        return Err(NO_COLORS.to_owned());
    };
    if info.form != Form::Color {
        return Err(NO_COLORS.to_owned());
    }
    if window == CropBox::whole((info.height, info.width)) {
        return Ok(RawMap::Color(rgb));
    }
    let mut picked = Vec::with_capacity(3 * window.height * window.width);
    for row in rgb.chunks_exact(3 * info.width).skip(window.top).take(window.height) {
        picked.extend_from_slice(&row[3 * window.left..3 * (window.left + window.width)]);
    }
    Ok(RawMap::Color(picked))
}

/// Of a frame that was read as values.
pub(super) const NO_COLORS: &str = "it holds values, and a color modality needs colours";

fn load_jpeg(bytes: &[u8]) -> Result<DynamicImage, Problem> {
    if !jpeg_is_complete(bytes) {
        return Err("the jpeg ends early; copy or download it again".to_owned());
    }
    load(bytes, ImageFormat::Jpeg)
}

fn load(bytes: &[u8], format: ImageFormat) -> Result<DynamicImage, Problem> {
    image::load_from_memory_with_format(bytes, format).map_err(|error| error.to_string())
}

/// Does the end-of-image marker follow the last scan? The decoder would fill up a truncated image
/// with grey and say nothing. Inside a scan neither marker can occur: there, 0xff is followed by 0
/// or by a restart marker.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    let (scan, end) = (last([0xff, 0xda]), last([0xff, 0xd9]));
    scan.is_some() && end > scan
}
