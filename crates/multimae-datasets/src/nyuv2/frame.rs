//! From the stored arrays of one frame to its maps, with checks of every value.

use super::classes::ClassMap;
use super::crop::Crop;
use super::source::{Shape, Stored};
use crate::frame::{DEPTH_PER_METRE, Frame};

/// The greatest depth of the set, metres. The range of the sensor ends before it.
pub(super) const MAX_DEPTH: f32 = 10.0;

/// Turns a frame upright and converts its values.
///
/// # Errors
/// The first value that NYUv2 does not have, with its pixel.
pub(super) fn convert(
    stored: Stored<'_>,
    shape: Shape,
    map: &ClassMap,
    crop: Crop,
) -> Result<Frame, String> {
    let Shape { height, width, .. } = shape;
    let depth = upright(stored.depth, shape, millimetres)?;
    let labels = upright(stored.label, shape, |id| {
        map.get(id).ok_or_else(|| format!("label {id}; labels end at 894"))
    })?;
    let measured = match stored.raw_depth {
        Some(raw) => Some(upright(raw, shape, |metres: f32| Ok(metres > 0.0))?),
        None => None,
    };
    let valid = (0..depth.len()).map(|at| {
        let inside = crop.contains(at / width, at % width);
        let known = depth[at] > 0 && measured.as_ref().is_none_or(|measured| measured[at]);
        if inside && known { 255 } else { 0 }
    });
    Ok(Frame {
        height,
        width,
        rgb: pixels(stored.image, shape),
        valid: Some(valid.collect()),
        depth: Some(depth),
        labels: Some(labels),
        ..Frame::default()
    })
}

/// Depth in metres as the nearest whole millimetres.
pub(super) fn millimetres(metres: f32) -> Result<u16, String> {
    // Also false for NaN.
    if (0.0..=MAX_DEPTH).contains(&metres) {
        return Ok((metres * DEPTH_PER_METRE).round() as u16);
    }
    Err(format!(
        "depth {metres}; depths are metres from 0 to {MAX_DEPTH}, so this is damaged or in other \
         units"
    ))
}

/// `(W, H)` to `(H, W)`.
fn upright<S: Copy, T>(
    stored: &[S],
    shape: Shape,
    convert: impl Fn(S) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let Shape { height, width, .. } = shape;
    let mut map = Vec::with_capacity(height * width);
    for row in 0..height {
        for column in 0..width {
            let value = convert(stored[column * height + row])
                .map_err(|problem| format!("row {row}, column {column}: {problem}"))?;
            map.push(value);
        }
    }
    Ok(map)
}

/// `(3, W, H)` to `(H, W, 3)`.
fn pixels(stored: &[u8], shape: Shape) -> Vec<u8> {
    let Shape { height, width, .. } = shape;
    let mut rgb = Vec::with_capacity(stored.len());
    for row in 0..height {
        for column in 0..width {
            rgb.extend([0, 1, 2].map(|channel| stored[(channel * width + column) * height + row]));
        }
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nyuv2::Classes;

    const SHAPE: Shape = Shape { frames: 1, height: 2, width: 3 };

    fn frame(depth: &[f32], label: &[u16], raw: Option<&[f32]>) -> Result<Frame, String> {
        let image: Vec<u8> = (0..18).collect();
        let map = ClassMap::new(Classes::Forty, None).unwrap();
        let stored = Stored { image: &image, depth, label, raw_depth: raw };
        convert(stored, SHAPE, &map, Crop::None)
    }

    #[test]
    fn axes_are_turned_and_values_converted() {
        let depth = [0.7132, 1.0, 2.0004, 2.0006, 10.0, 0.0];
        let raw = [1.0, 0.0, 2.0, 2.0, 2.0, 2.0];
        let frame = frame(&depth, &[0, 21, 11, 894, 8, 12], Some(&raw)).unwrap();
        // Stored column by column: (0,0) (1,0) (0,1) (1,1) (0,2) (1,2).
        assert_eq!(frame.depth.unwrap(), [713, 2000, 10000, 1000, 2001, 0]);
        assert_eq!(frame.labels.unwrap(), [0, 2, 38, 1, 40, 39]);
        assert_eq!(frame.valid.unwrap(), [255, 255, 255, 0, 255, 0]);
        assert_eq!(frame.rgb[..6], [0, 6, 12, 2, 8, 14]);
        assert_eq!(frame.rgb[15..], [5, 11, 17]);
    }

    #[test]
    fn impossible_values_are_named_with_their_pixel() {
        let good = ([1.0; 6], [0; 6]);
        for depth in [f32::NAN, f32::INFINITY, -0.1, 2500.0] {
            let mut depths = good.0;
            depths[3] = depth;
            let problem = frame(&depths, &good.1, None).unwrap_err();
            assert!(problem.contains("row 1, column 1: depth"), "{problem}");
        }
        let problem = frame(&good.0, &[0, 0, 895, 0, 0, 0], None).unwrap_err();
        assert!(problem.contains("row 0, column 1: label 895"), "{problem}");
    }
}
