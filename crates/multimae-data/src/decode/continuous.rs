//! Real values: depth, normals and the like.

use super::png_file::PngFile;
use super::{Decoded, Format, Problem, color, npy};
use crate::RawMap;

pub(super) fn decode(bytes: &[u8], format: Format, channels: usize) -> Result<Decoded, Problem> {
    match format {
        Format::Png => decode_png(bytes, channels),
        Format::Jpeg => decode_jpeg(bytes, channels),
        Format::Npy => decode_npy(bytes, channels),
    }
}

fn decode_png(bytes: &[u8], channels: usize) -> Result<Decoded, Problem> {
    let png = PngFile::decode(bytes)?;
    if png.palette || png.channels != channels || png.bits < 8 {
        return Err(wrong_kind(&png.describe(), channels));
    }
    let data = planes(&png.values, channels, f32::from);
    Ok(decoded(png.height, png.width, channels, data))
}

fn decode_jpeg(bytes: &[u8], channels: usize) -> Result<Decoded, Problem> {
    let (height, width, stored, values) = color::jpeg_channels(bytes)?;
    if stored != channels {
        let kind = if stored == 1 { "8-bit grey" } else { "8-bit RGB" };
        return Err(wrong_kind(kind, channels));
    }
    Ok(decoded(height, width, channels, planes(&values, channels, f32::from)))
}

fn decode_npy(bytes: &[u8], channels: usize) -> Result<Decoded, Problem> {
    let array = npy::floats(bytes)?;
    let (height, width) = match array.shape[..] {
        [height, width] if channels == 1 => (height, width),
        [stored, height, width] if stored == channels => (height, width),
        _ => {
            let plain = if channels == 1 { "(height, width) or " } else { "" };
            return Err(format!(
                "its shape is {:?}, expected {plain}({channels}, height, width)",
                array.shape
            ));
        }
    };
    let bad = array.values.iter().filter(|value| !value.is_finite()).count();
    if bad > 0 {
        return Err(format!(
            "{bad} of its {} values are infinite or not numbers; replace them, for example by 0",
            array.values.len()
        ));
    }
    Ok(decoded(height, width, channels, array.values))
}

fn decoded(height: usize, width: usize, channels: usize, data: Vec<f32>) -> Decoded {
    Decoded { height, width, map: RawMap::Continuous { channels, data } }
}

fn wrong_kind(found: &str, channels: usize) -> Problem {
    let expected = match channels {
        1 => "an 8-bit or 16-bit grey image; a coloured picture of depth is not depth".to_owned(),
        n => format!("an 8-bit or 16-bit image with {n} channels"),
    };
    format!("it is {found}, and this modality needs {expected}")
}

/// `(H, W, C)` to `(C, H, W)`.
fn planes<T: Copy>(values: &[T], channels: usize, convert: impl Fn(T) -> f32) -> Vec<f32> {
    let mut data = Vec::with_capacity(values.len());
    for channel in 0..channels {
        data.extend(values.iter().skip(channel).step_by(channels).map(|&value| convert(value)));
    }
    data
}
