//! The valid mask of annotated pixels.

use multimae_data::valid_label;

/// Converts a mask to flags, valid at its [`valid_label`].
#[must_use]
pub fn mask_values(mask: &[i64]) -> Vec<bool> {
    let valid = valid_label(mask.iter().copied());
    mask.iter().map(|&value| value == valid).collect()
}

/// Flags the real values that count: finite, in the range, and valid by the mask where there is one.
///
/// # Shapes
/// Planes of `pixels` values each; the same number of flags.
#[must_use]
pub fn valid_values(
    data: &[f32],
    pixels: usize,
    (min, max): (f64, f64),
    mask: Option<&[bool]>,
) -> Vec<bool> {
    let inside = |value: f32| value.is_finite() && (min..=max).contains(&f64::from(value));
    let allowed =
        |index: usize| mask.is_none_or(|mask| mask.get(index % pixels.max(1)) == Some(&true));
    data.iter().enumerate().map(|(index, &value)| inside(value) && allowed(index)).collect()
}
