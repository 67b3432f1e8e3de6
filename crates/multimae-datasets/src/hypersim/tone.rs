//! From radiance to colours.

/// The percentile of brightness that is brought to [`BRIGHT`].
const PERCENTILE: f64 = 0.9;
/// The colour value of that percentile.
const BRIGHT: f64 = 0.8;
const GAMMA: f64 = 2.2;
/// Below this brightness there is nothing to see.
const DARK: f64 = 1e-4;
/// Share of red, green and blue in the brightness.
const BRIGHTNESS: [f64; 3] = [0.3, 0.59, 0.11];

/// Tone-mapped colours, as the previews of the data set are made: the radiance is scaled so that the
/// 90th percentile of the brightness of `valid` pixels becomes 0.8 after the gamma curve of 2.2.
/// Radiance that is not finite is black.
///
/// # Shapes
/// `radiance (H, W, 3)`, `valid (H, W)`; the result is `(H, W, 3)`.
pub(super) fn map(radiance: &[f32], valid: &[bool]) -> Vec<u8> {
    let scale = scale(radiance, valid);
    let value = |&radiance: &f32| {
        let linear = (scale * f64::from(radiance)).max(0.0);
        let value = if linear.is_finite() { linear.powf(1.0 / GAMMA).min(1.0) } else { 0.0 };
        (255.0 * value).round() as u8
    };
    radiance.iter().map(value).collect()
}

fn scale(radiance: &[f32], valid: &[bool]) -> f64 {
    let pixels = radiance.as_chunks::<3>().0.iter().zip(valid).filter(|(_, valid)| **valid);
    let brightness = pixels.map(|(pixel, _)| {
        pixel.iter().zip(BRIGHTNESS).map(|(&value, share)| share * f64::from(value)).sum::<f64>()
    });
    let mut brightness: Vec<f64> = brightness.filter(|value| value.is_finite()).collect();
    if brightness.is_empty() {
        return 1.0;
    }
    let bright = percentile(&mut brightness, PERCENTILE);
    if bright < DARK { 0.0 } else { BRIGHT.powf(GAMMA) / bright }
}

/// A percentile, linear between neighbouring values.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    let place = share * (values.len() - 1) as f64;
    let (below, rest) = (place.floor() as usize, place.fract());
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low + rest * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_linear_between_values() {
        let mut values = vec![4.0, 1.0, 3.0, 2.0];
        assert!((percentile(&mut values, 0.9) - 3.7).abs() < 1e-12);
        assert_eq!(percentile(&mut [5.0], 0.9), 5.0);
    }

    #[test]
    fn dark_and_empty_pictures_have_their_scales() {
        assert_eq!(map(&[1e-6; 3], &[true]), [0; 3]);
        assert_eq!(map(&[1.0, f32::NAN, -2.0], &[false]), [255, 0, 0]);
        let grey = map(&[7.0; 6], &[true; 2]);
        assert_eq!(grey, [204; 6], "the percentile becomes 0.8");
    }
}
