//! Real values: depth, normals and the like.

use super::frame::{Form, Frame, FrameInfo, Order, Pixels, of_any_type};
use super::png_file::describe;
use super::{Problem, READ_AS_COLORS};
use crate::modality::{InvalidNumbers, selected};
use crate::resize::CropBox;
use crate::{DataModality, Encoding, RawMap, ValueRules};

/// Returns whether this is a file with this number of channels of real values, or with more of which
/// the rules select as many.
pub(super) fn check_kind(
    frame: &Frame,
    channels: usize,
    rules: &ValueRules,
) -> Result<(), Problem> {
    let info = &frame.info;
    let takes = rules.takes(info.channels, channels);
    match info.form {
        Form::Color => Err(READ_AS_COLORS.to_owned()),
        Form::Png { bits, palette } | Form::Raster { bits, palette, .. } => {
            if palette || !takes || bits < 8 {
                return Err(wrong_kind(&describe(bits, palette, info.channels), channels));
            }
            Ok(())
        }
        Form::Jpeg if !takes => {
            let kind = if info.channels == 1 { "8-bit grey" } else { "8-bit RGB" };
            Err(wrong_kind(kind, channels))
        }
        Form::Jpeg => Ok(()),
        Form::Npy { axes } if takes && (axes == 3 || channels == 1) => Ok(()),
        Form::Npy { axes } => Err(wrong_array(info, axes, channels)),
    }
}

/// The reason why an array is refused.
fn wrong_array(info: &FrameInfo, axes: u8, channels: usize) -> Problem {
    let FrameInfo { height, width, channels: stored, .. } = *info;
    let plain = if channels == 1 { "(height, width) or " } else { "" };
    let shape = if axes == 2 { vec![height, width] } else { vec![stored, height, width] };
    format!("its shape is {shape:?}, expected {plain}({channels}, height, width)")
}

/// The values of a window, plane by plane, counted from the stored zero; invalid pixels are NaN.
pub(super) fn convert(frame: Frame, modality: &DataModality, window: CropBox) -> RawMap {
    let info = frame.info;
    let (rules, range) = (&modality.rules, frame.pixels.range());
    let whole = window == CropBox::whole((info.height, info.width));
    let mut data = match frame.pixels {
        Pixels::F32(values) if whole && (info.order == Order::Planar || info.channels == 1) => {
            values
        }
        pixels => of_any_type!(&pixels, values => info.window(values, window, |v| v as f32)),
    };
    let (channels, divisor) = match &modality.encoding {
        Encoding::Continuous { channels, divisor, .. } => (*channels, *divisor),
        _ => (info.channels, 1.0),
    };
    data = selected(rules, data, (info.channels, channels));
    InvalidNumbers::of(rules, &modality.encoding, range).mark(&mut data, channels);
    rules.stored.convert(&mut data, range);
    rules.limit(&mut data, divisor);
    RawMap::Continuous { channels, data }
}

fn wrong_kind(found: &str, channels: usize) -> Problem {
    let expected = match channels {
        1 => "an 8-bit or 16-bit grey image; a coloured picture of depth is not depth".to_owned(),
        n => format!("an 8-bit or 16-bit image with {n} channels"),
    };
    format!("it is {found}, and this modality needs {expected}")
}
