//! From light to the numbers of a picture: exposure, tone curve, noise.

use rand::Rng;

use crate::draw::{Stream, between};
use crate::vec3::{Vec3, vec3};

/// The mean brightness of a picture, before the tone curve.
const MEAN: (f32, f32) = (0.26, 0.55);

/// Brighter pixels do not pull the exposure down further.
const GLARE: f32 = 4.0;

/// 8-bit sRGB of the light per pixel.
///
/// # Shapes
/// `(H, W)` to `(H, W, 3)`.
pub(crate) fn develop(light: &[Vec3], rng: &mut Stream) -> Vec<u8> {
    let gain = white_balance(rng) * (between(rng, MEAN.0, MEAN.1) / mean_brightness(light));
    let noise = between(rng, 0.6, 2.6);
    let mut bytes = Vec::with_capacity(3 * light.len());
    for &pixel in light {
        let noises = gaussian_triple(rng).map(|n| n * noise);
        let screen = (pixel * gain).map(tone);
        for (value, noise) in screen.to_array().into_iter().zip(noises) {
            bytes.push((255.0 * value + noise + 0.5).clamp(0.0, 255.0) as u8);
        }
    }
    bytes
}

/// A little warmer or colder than white.
fn white_balance(rng: &mut Stream) -> Vec3 {
    let warm = between(rng, -0.08, 0.08);
    vec3(1.0 + warm, 1.0, 1.0 - warm)
}

fn mean_brightness(light: &[Vec3]) -> f32 {
    let brightness = |p: &Vec3| 0.3 * p.x + 0.6 * p.y + 0.1 * p.z;
    let sum = |limit: f32| light.iter().map(|p| brightness(p).min(limit)).sum::<f32>();
    let count = light.len().max(1) as f32;
    let first = sum(f32::INFINITY) / count;
    (sum(GLARE * first) / count).max(1e-6)
}

/// Linear light to the value on a screen, with a soft shoulder where it is bright.
fn tone(light: f32) -> f32 {
    let bent = light * (1.0 + light * 0.16) / (1.0 + light * 0.85);
    bent.clamp(0.0, 1.0).powf(1.0 / 2.2)
}

/// Three numbers that are nearly Gaussian with variance 1: sums of uniform ones.
fn gaussian_triple(rng: &mut Stream) -> [f32; 3] {
    let bits = [rng.next_u64(), rng.next_u64()];
    let byte = |i: usize| ((bits[i / 8] >> (8 * (i % 8))) & 255) as f32;
    // The variance of four bytes is 4 (256^2 - 1) / 12.
    [0, 4, 8].map(|i| (byte(i) + byte(i + 1) + byte(i + 2) + byte(i + 3) - 510.0) / 147.8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::stream;

    #[test]
    fn noise_has_variance_one() {
        let rng = &mut stream(1, "noise", 0);
        let values: Vec<f32> = (0..20_000).flat_map(|_| gaussian_triple(rng)).collect();
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / count;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn exposure_does_not_depend_on_the_lamps() {
        let dim: Vec<Vec3> = (0..100).map(|i| Vec3::splat(1e-3 * i as f32)).collect();
        let bright: Vec<Vec3> = dim.iter().map(|&p| p * 64.0).collect();
        let develop = |light: &[Vec3]| super::develop(light, &mut stream(1, "sensor", 0));
        let mean = |bytes: &[u8]| bytes.iter().map(|&b| f32::from(b)).sum::<f32>() / 300.0;
        assert!((mean(&develop(&dim)) - mean(&develop(&bright))).abs() < 0.5);
    }
}
