//! Frames as packs store them.

use std::collections::BTreeSet;

use crate::decode::{Form, Frame, FrameInfo, Order, Pixels, of_any_type};

/// A frame as packs have it: planes one after the other, but for colours; no 64-bit floats, which
/// would be rounded to 32 bits anyway.
pub(super) fn as_stored(frame: Frame) -> Frame {
    let Frame { info, pixels } = frame;
    let pixels = match pixels {
        Pixels::F64(values) => Pixels::F32(values.into_iter().map(|value| value as f32).collect()),
        other => other,
    };
    if info.form == Form::Color || info.order == Order::Planar {
        return Frame { info, pixels };
    }
    let pixels = match pixels {
        Pixels::U8(values) => Pixels::U8(planes(values, info.channels)),
        Pixels::U16(values) => Pixels::U16(planes(values, info.channels)),
        // Only images are interleaved.
        other => return Frame { info, pixels: other },
    };
    Frame { info: FrameInfo { order: Order::Planar, ..info }, pixels }
}

/// `(H, W, C)` to `(C, H, W)`.
fn planes<T: Copy>(values: Vec<T>, channels: usize) -> Vec<T> {
    if channels == 1 {
        return values;
    }
    (0..channels)
        .flat_map(|channel| values.iter().skip(channel).step_by(channels).copied())
        .collect()
}

/// Adds the different values of labels.
pub(super) fn collect_labels(pixels: &Pixels, labels: &mut BTreeSet<i64>) {
    of_any_type!(pixels, values => {
        let mut last = None;
        for &value in values {
            // Neighbours are mostly alike.
            if last != Some(value) {
                labels.insert(value as i64);
                last = Some(value);
            }
        }
    });
}
