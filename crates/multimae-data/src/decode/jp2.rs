//! JPEG 2000 images value by value.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::frame::{Form, Frame, FrameInfo, Order, Pixels};
use super::{FileFormat, Problem};

/// Reads an image of up to 16 bits per value.
pub(super) fn read(bytes: &[u8]) -> Result<Frame, Problem> {
    let image = open(bytes)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|error| damaged(&error))?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    let planes = decoded.components();
    let bits = planes.first().map_or(0, hayro_jpeg2000::ComponentData::bit_depth);
    if bits > 16 || planes.iter().any(|plane| plane.bit_depth() != bits) {
        return Err(format!(
            "it is a jpeg 2000 of {bits} bits, or of several depths; up to 16 bits are read"
        ));
    }
    // Rounded: lossless files hold whole numbers, others are close to them.
    let most = ((1_u32 << bits) - 1) as f32;
    let values = || planes.iter().flat_map(|plane| plane.samples());
    let pixels = if bits <= 8 {
        Pixels::U8(values().map(|value| value.round().clamp(0.0, most) as u8).collect())
    } else {
        Pixels::U16(values().map(|value| value.round().clamp(0.0, most) as u16).collect())
    };
    let form = Form::Raster { format: FileFormat::Jpeg2000, bits, palette: false };
    let channels = planes.len();
    Frame::new(FrameInfo { height, width, channels, form, order: Order::Planar }, pixels)
}

/// Height and width by the header.
pub(super) fn claimed_size(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    let image = open(bytes)?;
    Ok((image.height().into(), image.width().into()))
}

fn open(bytes: &[u8]) -> Result<Image<'_>, Problem> {
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    Image::new(bytes, &settings).map_err(|error| damaged(&error))
}

fn damaged(error: &dyn std::fmt::Display) -> Problem {
    format!("the jpeg 2000 image is damaged or of an unknown kind: {error}")
}
