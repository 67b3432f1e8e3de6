//! Random colours of RGB images: brightness, contrast, saturation, hue, grey.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Weights of red, green and blue in grey (ITU-R BT.601).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// Random changes of the colours of an image, as the published fine-tuning makes them: first
/// brightness, contrast, saturation and hue in a random order, together with `probability`; then
/// grey. Every step rounds to 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorAugmentation {
    /// Probability of the first four.
    pub probability: f64,
    /// Smallest and largest factor of all values.
    pub brightness: (f64, f64),
    /// Smallest and largest factor of the distance from the mean grey.
    pub contrast: (f64, f64),
    /// Smallest and largest factor of the distance from each pixel's grey.
    pub saturation: (f64, f64),
    /// Smallest and largest shift of the hue, in turns of the colour circle.
    pub hue: (f64, f64),
    /// Probability of a grey image.
    pub grey: f64,
}

impl ColorAugmentation {
    /// Factors of `1 - x` to `1 + x`, and hue shifts of at most `hue`.
    #[must_use]
    pub fn around(brightness: f64, contrast: f64, saturation: f64, hue: f64) -> Self {
        let factors = |x: f64| ((1.0 - x).max(0.0), 1.0 + x);
        Self {
            probability: 0.5,
            brightness: factors(brightness),
            contrast: factors(contrast),
            saturation: factors(saturation),
            hue: (-hue, hue),
            grey: 0.0,
        }
    }

    /// Checks that the ranges make sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub(crate) fn check(&self) -> Result<()> {
        let factors = [self.brightness, self.contrast, self.saturation];
        let fits = factors.iter().all(|(low, high)| *low >= 0.0 && low <= high && high.is_finite())
            && self.hue.0 <= self.hue.1
            && (-0.5..=0.5).contains(&self.hue.0)
            && (-0.5..=0.5).contains(&self.hue.1)
            && (0.0..=1.0).contains(&self.probability)
            && (0.0..=1.0).contains(&self.grey);
        if fits { Ok(()) } else { Err(Error::Config(format!("{self:?} makes no sense"))) }
    }

    /// Changes an image `(H, W, 3)`. The number of random draws is always the same.
    pub fn apply(&self, rgb: &mut [u8], rng: &mut dyn Rng) {
        let jitter = rng.random::<f64>() < self.probability;
        let mut draw = |(low, high): (f64, f64)| rng.random_range(low..=high) as f32;
        let mut steps = [
            Step::Brightness(draw(self.brightness)),
            Step::Contrast(draw(self.contrast)),
            Step::Saturation(draw(self.saturation)),
            Step::Hue(draw(self.hue)),
        ];
        for i in (1..steps.len()).rev() {
            steps.swap(i, rng.random_range(0..=i));
        }
        if jitter {
            steps.iter().for_each(|step| step.apply(rgb));
        }
        if rng.random::<f64>() < self.grey {
            Step::Saturation(0.0).apply(rgb);
        }
    }
}

/// One change of all pixels.
#[derive(Debug, Clone, Copy)]
enum Step {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    Hue(f32),
}

impl Step {
    fn apply(self, rgb: &mut [u8]) {
        match self {
            Self::Brightness(factor) => {
                each_value(rgb, |value| value * factor);
            }
            Self::Contrast(factor) => {
                let pixels = rgb.as_chunks::<3>().0;
                let sum: f64 = pixels.iter().map(|&pixel| f64::from(grey(pixel))).sum();
                let mean = (sum / pixels.len().max(1) as f64).round() as f32;
                each_value(rgb, |value| mean + factor * (value - mean));
            }
            Self::Saturation(factor) => {
                for pixel in rgb.as_chunks_mut::<3>().0 {
                    let grey = grey(*pixel).round();
                    *pixel = pixel.map(|value| to_u8(grey + factor * (f32::from(value) - grey)));
                }
            }
            Self::Hue(turns) => {
                for pixel in rgb.as_chunks_mut::<3>().0 {
                    *pixel = shift_hue(*pixel, turns);
                }
            }
        }
    }
}

fn each_value(rgb: &mut [u8], change: impl Fn(f32) -> f32) {
    let table: [u8; 256] = std::array::from_fn(|value| to_u8(change(value as f32)));
    rgb.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

fn to_u8(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

fn grey(pixel: [u8; 3]) -> f32 {
    pixel.iter().zip(GREY).map(|(&value, weight)| f32::from(value) * weight).sum()
}

/// Turns the hue in the colour cone of hue, saturation and value.
fn shift_hue(pixel: [u8; 3], turns: f32) -> [u8; 3] {
    let [red, green, blue] = pixel.map(f32::from);
    let value = red.max(green).max(blue);
    let chroma = value - red.min(green).min(blue);
    if chroma == 0.0 {
        return pixel;
    }
    let sixths = if value == red {
        ((green - blue) / chroma).rem_euclid(6.0)
    } else if value == green {
        (blue - red) / chroma + 2.0
    } else {
        (red - green) / chroma + 4.0
    };
    let hue = (sixths + 6.0 * turns).rem_euclid(6.0);
    // Each channel is at its highest for a third of the circle around its own hue.
    let channel = |offset: f32| {
        let place = (hue + offset).rem_euclid(6.0);
        to_u8(value - chroma * place.min(4.0 - place).clamp(0.0, 1.0))
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream;

    #[test]
    fn hue_turns_around_the_circle() {
        assert_eq!(shift_hue([255, 0, 0], 1.0 / 3.0), [0, 255, 0]);
        assert_eq!(shift_hue([255, 0, 0], -1.0 / 3.0), [0, 0, 255]);
        assert_eq!(shift_hue([255, 0, 0], 0.5), [0, 255, 255]);
        for pixel in [[200, 30, 90], [10, 10, 10], [1, 250, 77], [0, 0, 0]] {
            let there_and_back = shift_hue(shift_hue(pixel, 0.25), -0.25);
            let worst = pixel.iter().zip(there_and_back).map(|(a, b)| a.abs_diff(b)).max();
            assert!(worst <= Some(2), "{pixel:?} {there_and_back:?}");
            assert_eq!(shift_hue(pixel, 0.0), pixel);
        }
    }

    #[test]
    fn each_step_does_what_it_says() {
        let image = || [200, 100, 0, 50, 50, 50];
        let mut rgb = image();
        Step::Brightness(0.5).apply(&mut rgb);
        assert_eq!(rgb, [100, 50, 0, 25, 25, 25]);
        let mut rgb = image();
        Step::Saturation(0.0).apply(&mut rgb);
        // 0.299 * 200 + 0.587 * 100 = 118.5.
        assert_eq!(rgb, [119, 119, 119, 50, 50, 50]);
        let mut rgb = image();
        Step::Contrast(0.0).apply(&mut rgb);
        assert!(rgb.iter().all(|&value| value == 84), "{rgb:?}");
        for step in [Step::Brightness(1.0), Step::Contrast(1.0), Step::Saturation(1.0)] {
            let mut rgb = image();
            step.apply(&mut rgb);
            assert_eq!(rgb, image(), "{step:?}");
        }
    }

    #[test]
    fn colours_change_as_often_as_asked_and_by_the_stream_alone() {
        let augmentation = ColorAugmentation::around(0.4, 0.4, 0.2, 0.1);
        augmentation.check().unwrap();
        let image: Vec<u8> = (0..48).map(|i| (i * 5) as u8).collect();
        let changed = |index| {
            let mut rgb = image.clone();
            augmentation.apply(&mut rgb, &mut stream(0, "color", 0, index));
            rgb
        };
        let share = (0..1000).filter(|&index| changed(index) != image).count();
        assert!((440..560).contains(&share), "{share}");
        assert_eq!(changed(7), changed(7));
        let bad = ColorAugmentation { hue: (-0.9, 0.9), ..augmentation };
        assert!(bad.check().is_err());
    }
}
