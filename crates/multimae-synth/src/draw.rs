//! Random choices, all from named streams.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::vec3::{Vec3, vec3};

/// A random stream.
pub(crate) type Stream = ChaCha8Rng;

/// The stream of `purpose` for the frame `index`.
pub(crate) fn stream(seed: u64, purpose: &str, index: u64) -> Stream {
    multimae_data::stream(seed, purpose, 0, index)
}

/// Uniform between `low` and `high`.
pub(crate) fn between(rng: &mut Stream, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// True with probability `share`.
pub(crate) fn chance(rng: &mut Stream, share: f32) -> bool {
    rng.random::<f32>() < share
}

/// A whole number from `low` to `high`, both included.
pub(crate) fn count(rng: &mut Stream, low: usize, high: usize) -> usize {
    rng.random_range(low..=high)
}

/// One of `choices`.
pub(crate) fn pick<T: Copy, const N: usize>(rng: &mut Stream, choices: [T; N]) -> T {
    const { assert!(N > 0) };
    choices[rng.random_range(0..N)]
}

/// Mixes `items`.
pub(crate) fn shuffle<T>(rng: &mut Stream, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

/// A colour from hue, saturation and value, all 0 to 1, as linear RGB.
pub(crate) fn hsv(hue: f32, saturation: f32, value: f32) -> Vec3 {
    let channel = |shift: f32| {
        let k = (shift + hue.rem_euclid(1.0) * 6.0) % 6.0;
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    // People choose colours on screens: squaring undoes their tone curve, about.
    vec3(channel(5.0), channel(3.0), channel(1.0)).map(|c| c * c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_are_where_they_should_be() {
        assert_eq!(hsv(0.0, 1.0, 1.0), vec3(1.0, 0.0, 0.0));
        assert_eq!(hsv(0.0, 0.0, 0.5), Vec3::splat(0.25));
        assert!((hsv(1.0 / 3.0, 1.0, 1.0) - vec3(0.0, 1.0, 0.0)).length() < 1e-5);
    }
}
