//! Decoded frames as files from which they are decoded again.

use png::{BitDepth, ColorType, Compression};

use crate::decode::{Form, Frame, FrameInfo, Order, Pixels, Problem, of_any_type};
use crate::encode::{encoded_png, npy};

/// The extension of the file of a frame: images stay images where a png holds their values.
pub(crate) fn extension(info: &FrameInfo, pixels: &Pixels) -> &'static str {
    if png_type(info, pixels).is_some() { "png" } else { "npy" }
}

/// The bytes of a file that decodes to the values of a frame, and, of images, to the same kind of
/// image.
///
/// # Errors
/// If a side is longer than that of a file can be.
pub(crate) fn encode(frame: &Frame) -> Result<Vec<u8>, Problem> {
    let Frame { info, pixels } = frame;
    match png_type(info, pixels) {
        Some((color, palette)) => {
            let (bytes, depth) = match pixels {
                Pixels::U16(values) => {
                    let values = interleaved(values, info).into_iter().flat_map(u16::to_be_bytes);
                    (values.collect(), BitDepth::Sixteen)
                }
                Pixels::U8(values) => (interleaved(values, info), BitDepth::Eight),
                other => return Err(format!("a png holds no values of {}", other.descr())),
            };
            // Only the indices count.
            let palette = palette.then(|| (0..=u8::MAX).flat_map(|grey| [grey; 3]).collect());
            encoded_png(&bytes, frame.size(), (color, depth), Compression::default(), palette)
                .map_err(|error| format!("writing a png: {error}"))
        }
        None => {
            let FrameInfo { height, width, channels, .. } = *info;
            let shape = match channels {
                1 => vec![height, width],
                _ => vec![channels, height, width],
            };
            array(pixels, &shape)
        }
    }
}

/// The bytes of an npy of some values.
///
/// # Errors
/// If the shape and the number of values do not fit.
pub(crate) fn array(pixels: &Pixels, shape: &[usize]) -> Result<Vec<u8>, Problem> {
    of_any_type!(pixels, values => npy(values, shape)).map_err(|error| error.to_string())
}

/// The type of the png that holds a frame, and whether its values are indices into a palette.
fn png_type(info: &FrameInfo, pixels: &Pixels) -> Option<(ColorType, bool)> {
    let palette = match info.form {
        Form::Color | Form::Jpeg => false,
        Form::Png { palette, .. } | Form::Raster { palette, .. } => palette,
        Form::Npy { .. } => return None,
    };
    let color = match (info.channels, palette, pixels) {
        (1, true, Pixels::U8(_)) => ColorType::Indexed,
        (_, true, _) => return None,
        (channels, false, Pixels::U8(_) | Pixels::U16(_)) => match channels {
            1 => ColorType::Grayscale,
            2 => ColorType::GrayscaleAlpha,
            3 => ColorType::Rgb,
            4 => ColorType::Rgba,
            _ => return None,
        },
        _ => return None,
    };
    Some((color, palette))
}

/// Values as `(H, W, C)`.
fn interleaved<T: Copy>(values: &[T], info: &FrameInfo) -> Vec<T> {
    if info.order == Order::Interleaved || info.channels == 1 {
        return values.to_vec();
    }
    let area = info.height * info.width;
    (0..area).flat_map(|at| values.iter().skip(at).step_by(area).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{decode_colors, decode_values};

    fn frame(channels: usize, form: Form, order: Order, pixels: Pixels) -> Frame {
        Frame::new(FrameInfo { height: 2, width: 3, channels, form, order }, pixels).unwrap()
    }

    /// The values of all channels, plane by plane.
    fn planes(frame: &Frame) -> Vec<f32> {
        let values = frame.pixels.to_f32();
        match frame.info.order {
            Order::Planar => values,
            Order::Interleaved => {
                let channels = frame.info.channels;
                let plane = |channel| values.iter().skip(channel).step_by(channels).copied();
                (0..channels).flat_map(plane).collect()
            }
        }
    }

    #[test]
    fn values_and_kinds_of_images_come_back() {
        let png = |bits, palette| Form::Png { bits, palette };
        let bytes = |count: u8| Pixels::U8((0..count).map(|value| value * 11).collect());
        let words = |count: u16| Pixels::U16((0..count).map(|value| value * 3000).collect());
        for frame in [
            frame(1, png(8, false), Order::Planar, bytes(6)),
            frame(1, png(8, true), Order::Planar, bytes(6)),
            frame(1, png(16, false), Order::Planar, words(6)),
            frame(3, png(8, false), Order::Planar, bytes(18)),
            frame(3, png(16, false), Order::Interleaved, words(18)),
            frame(2, png(8, false), Order::Planar, bytes(12)),
        ] {
            let decoded = decode_values(&encode(&frame).unwrap()).unwrap();
            assert_eq!(extension(&frame.info, &frame.pixels), "png");
            assert_eq!(planes(&decoded), planes(&frame));
            assert_eq!(decoded.info.form, frame.info.form);
        }
        let color = frame(3, Form::Color, Order::Interleaved, bytes(18));
        assert_eq!(decode_colors(&encode(&color).unwrap()).unwrap(), color);
    }

    #[test]
    fn arrays_come_back_in_their_type() {
        for pixels in [
            Pixels::F32(vec![0.1, f32::MAX, -2.0, 0.0, 1e-30, 5.0]),
            Pixels::I64(vec![-1, 1 << 40, 0, 3, 4, 5]),
            Pixels::U8(vec![0, 1, 2, 3, 4, 255]),
        ] {
            let plane = frame(1, Form::Npy { axes: 2 }, Order::Planar, pixels.clone());
            assert_eq!(extension(&plane.info, &pixels), "npy");
            assert_eq!(decode_values(&encode(&plane).unwrap()).unwrap(), plane);
        }
        let three = Pixels::I16((0..18).collect());
        let three = frame(3, Form::Npy { axes: 3 }, Order::Planar, three);
        assert_eq!(decode_values(&encode(&three).unwrap()).unwrap(), three);
    }
}
