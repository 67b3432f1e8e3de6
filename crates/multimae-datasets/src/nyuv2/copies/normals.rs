//! Surface normals of copies, in 8 bits.
//!
//! No published source fixes the axes and the signs of MTAN's normals. They are kept as they are, and
//! the manifest and a notice say so.

/// The folder of prepared normals.
pub(super) const FOLDER: &str = "normal";
/// The form of normals whose copy states no axes, in the manifest.
pub(super) const AS_STORED: &str = "(n + 1) / 2 * 255, in the order of the components and with the \
     signs of the copy, which does not state its axes; 128 in all three where there is no normal";
/// For people who would mix them with other normals.
pub(super) const NOTE: &str = "surface normals are those of the copy, in 8 bits; it does not state \
     its axes, so compare the signs of a floor and a wall before you mix them with other normals";

/// The greatest component beyond 1 that is rounding: that of floats of 16 bits.
const ROUNDING: f32 = 1e-3;

/// Converts normals `(H, W, 3)` of this width, components from -1 to 1, to `(n + 1) / 2 * 255`. A
/// vector of zeros, or one that is not finite, is no normal.
///
/// # Errors
/// The first component out of range, with its pixel.
pub(super) fn in_8_bits(values: &[f32], width: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(values.len());
    for (at, pixel) in values.as_chunks::<3>().0.iter().enumerate() {
        let normal = if pixel.iter().all(|value| value.is_finite()) { *pixel } else { [0.0; 3] };
        if let Some(value) = normal.iter().find(|value| value.abs() > 1.0 + ROUNDING) {
            return Err(format!(
                "row {}, column {}: component {value} of a normal; components are from -1 to 1, so \
                 these are not unit vectors: prepare a copy without normals",
                at / width,
                at % width
            ));
        }
        bytes.extend(normal.map(byte));
    }
    Ok(bytes)
}

fn byte(component: f32) -> u8 {
    ((component.clamp(-1.0, 1.0) + 1.0) / 2.0 * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_keep_their_order_and_signs() {
        let bytes = in_8_bits(&[1.0, 0.0, -1.0, 0.6, -0.28, 0.0], 2).unwrap();
        assert_eq!(bytes, [255, 128, 0, 204, 92, 128]);
        // Beyond 1 by rounding.
        assert_eq!(in_8_bits(&[1.0005, 0.0, 0.0], 1).unwrap(), [255, 128, 128]);
    }

    #[test]
    fn zeros_and_what_is_not_finite_are_no_normals() {
        let none = in_8_bits(&[0.0, 0.0, 0.0, f32::NAN, 1.0, 0.0, 0.0, 0.0, f32::INFINITY], 3);
        assert_eq!(none.unwrap(), [128; 9]);
    }

    #[test]
    fn other_encodings_are_refused_with_the_pixel() {
        let problem = in_8_bits(&[0.0, 0.0, 1.0, 0.0, 255.0, 0.0], 1).unwrap_err();
        assert!(problem.contains("row 1, column 0: component 255"), "{problem}");
    }
}
