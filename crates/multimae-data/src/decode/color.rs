//! 8-bit colour images.

use std::io::Cursor;

use image::{ColorType, DynamicImage, ImageFormat, ImageReader, Limits};

use super::frame::{Form, Frame, FrameInfo, Order, Pixels};
use super::{FileFormat, Problem, jp2, jpeg, pnm, tiff};
use crate::RawMap;
use crate::limits::MAX_BYTES;
use crate::resize::CropBox;

/// Reads an image as RGB.
pub(super) fn read(bytes: &[u8], format: FileFormat) -> Result<Frame, Problem> {
    let image = match format {
        FileFormat::Png => load(bytes, ImageFormat::Png)?,
        FileFormat::Jpeg => load_jpeg(bytes)?,
        FileFormat::Tiff => return of_values(tiff::read_colors(bytes)?),
        FileFormat::WebP => load(bytes, ImageFormat::WebP)?,
        FileFormat::Bmp => load(bytes, ImageFormat::Bmp)?,
        FileFormat::Pnm => return of_values(pnm::read(bytes)?),
        FileFormat::Jpeg2000 => return of_values(jp2::read(bytes)?),
        FileFormat::Npy => {
            return Err("it is an array, and a color modality needs an image; use a continuous \
                        modality for arrays"
                .to_owned());
        }
    };
    let bits = image.color().bits_per_pixel() / u16::from(image.color().channel_count());
    if bits != 8 {
        return Err(too_deep(bits.into()));
    }
    let (height, width) = (image.height() as usize, image.width() as usize);
    let (form, order) = (Form::Color, Order::Interleaved);
    let info = FrameInfo { height, width, channels: 3, form, order };
    Frame::new(info, Pixels::U8(image.into_rgb8().into_raw()))
}

fn too_deep(bits: usize) -> Problem {
    format!(
        "it has {bits} bits per channel, and a color modality needs 8; a file like this is usually \
         depth, so check the folder"
    )
}

/// The colours of an image that was read value by value: grey spread over three channels, no alpha.
fn of_values(frame: Frame) -> Result<Frame, Problem> {
    let Frame { info, pixels } = frame;
    let bits = match info.form {
        Form::Raster { bits, .. } => bits,
        _ => 8,
    };
    let Pixels::U8(values) = pixels else { return Err(too_deep(bits.into())) };
    // Small values are brought to 0..=255.
    let most = (1_u16 << bits.min(8)) - 1;
    let scaled = |value: u8| (u16::from(value) * 255 / most) as u8;
    let pixel = match info.order {
        Order::Interleaved => (info.channels, 1),
        Order::Planar => (1, info.height * info.width),
    };
    let channels: [usize; 3] = if info.channels < 3 { [0; 3] } else { [0, 1, 2] };
    let mut rgb = Vec::with_capacity(3 * info.height * info.width);
    for first in 0..info.height * info.width {
        rgb.extend(channels.map(|channel| scaled(values[first * pixel.0 + channel * pixel.1])));
    }
    let info = FrameInfo { channels: 3, form: Form::Color, order: Order::Interleaved, ..info };
    Frame::new(info, Pixels::U8(rgb))
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

/// A WebP image as it is, RGB or RGBA, for modalities with real values.
pub(super) fn read_webp(bytes: &[u8]) -> Result<Frame, Problem> {
    let image = load(bytes, ImageFormat::WebP)?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    let (channels, pixels) = match image.color() {
        ColorType::Rgba8 => (4, image.into_rgba8().into_raw()),
        _ => (3, image.into_rgb8().into_raw()),
    };
    let form = Form::Raster { format: FileFormat::WebP, bits: 8, palette: false };
    let order = Order::Interleaved;
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
    load(jpeg::image(bytes)?, ImageFormat::Jpeg)
}

fn load(bytes: &[u8], format: ImageFormat) -> Result<DynamicImage, Problem> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // The sizes of headers were checked; this also bounds what decoders need besides.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES as u64);
    reader.limits(limits);
    reader.decode().map_err(|error| error.to_string())
}
