//! From the stored arrays of one frame to its maps, with checks of every value.

use super::Camera;
use super::arrays::Stored;
use crate::frame::DEPTH_PER_METRE;

/// The classes of the labels.
pub(super) const CLASSES: i32 = 40;

/// Distances along rays in metres as depth along the axis in whole millimetres. 0 is background (NaN)
/// or beyond what 16 bits hold, 65.535 m.
pub(super) fn depth(stored: &Stored, camera: &Camera) -> Vec<u16> {
    let Stored { height, width, .. } = *stored;
    let millimetres = |(at, &distance): (usize, &f32)| {
        let share = camera.depth_share(at / width, at % width, height, width);
        let depth = (f64::from(distance) * share * f64::from(DEPTH_PER_METRE)).round();
        // Also false for NaN.
        if (1.0..=f64::from(u16::MAX)).contains(&depth) { depth as u16 } else { 0 }
    };
    stored.values.iter().enumerate().map(millimetres).collect()
}

/// Class ids; -1 becomes 0, which is unlabelled.
///
/// # Errors
/// The first id that is no class, with its pixel.
pub(super) fn labels(stored: &Stored) -> Result<Vec<u8>, String> {
    let label = |(at, &value): (usize, &f32)| match value as i32 {
        -1 => Ok(0),
        id @ 0..=CLASSES => Ok(id as u8),
        id => {
            let (row, column) = (at / stored.width, at % stored.width);
            Err(format!(
                "row {row}, column {column}: class {id}; classes are 1 to {CLASSES}, -1 is none"
            ))
        }
    };
    stored.values.iter().enumerate().map(label).collect()
}

/// Normals in 8 bits, `(n + 1) / 2 * 255`, with x to the right, y down and z forward: in the files, y
/// points up and z towards the viewer. Pixels without a normal become its zero.
pub(super) fn normals(stored: &Stored) -> Vec<u8> {
    let byte = |value: f32| ((value.clamp(-1.0, 1.0) + 1.0) / 2.0 * 255.0).round() as u8;
    let pixel = |pixel: &[f32; 3]| match *pixel {
        [x, y, z] if pixel.iter().all(|value| value.is_finite()) => [byte(x), byte(-y), byte(-z)],
        _ => [byte(0.0); 3],
    };
    stored.values.as_chunks::<3>().0.iter().flat_map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(channels: usize, values: &[f32]) -> Stored {
        let width = values.len() / channels;
        Stored { height: 1, width, channels, values: values.to_vec() }
    }

    #[test]
    fn background_and_far_depth_are_unknown() {
        let distances = stored(1, &[f32::NAN, f32::INFINITY, -1.0, 0.0, 100.0]);
        assert_eq!(depth(&distances, &Camera::one_focal(1, 5)), [0; 5]);
        assert_eq!(depth(&stored(1, &[2.0]), &Camera::one_focal(1, 1)), [2000]);
        // 65.535 m is the last; one more does not wrap.
        assert_eq!(depth(&stored(1, &[65.535]), &Camera::one_focal(1, 1)), [65535]);
        assert_eq!(depth(&stored(1, &[65.536]), &Camera::one_focal(1, 1)), [0]);
    }

    #[test]
    fn labels_end_at_forty() {
        assert_eq!(labels(&stored(1, &[-1.0, 1.0, 40.0])).unwrap(), [0, 1, 40]);
        let problem = labels(&stored(1, &[1.0, 41.0])).unwrap_err();
        assert!(problem.contains("column 1: class 41"), "{problem}");
        assert!(labels(&stored(1, &[-2.0])).is_err());
    }

    #[test]
    fn normals_are_turned_to_y_down_and_z_forward() {
        let up_and_towards = stored(3, &[0.0, 1.0, 0.0, 0.0, 0.0, 1.0, f32::NAN, 0.0, 0.0]);
        assert_eq!(normals(&up_and_towards), [128, 0, 128, 128, 128, 0, 128, 128, 128]);
    }
}
