//! Softmax cross-entropy of maps of logits, and its gradient.
//!
//! With label smoothing `s` (Szegedy et al., 2016) the loss of a pixel is
//! `(1 - s) nll + s mean over all classes`, which is `log sum exp x - (1 - s) x[label] - s mean x`.

use multiversion::multiversion;

use super::lanes::exp;
use super::parallel;

/// Pixels that are worked on together: a row of them for every class stays in the first cache.
const PIXELS: usize = 128;

/// Sizes of a map of logits.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropyShape {
    /// Samples.
    pub batch: usize,
    /// Classes.
    pub classes: usize,
    /// Pixels of a sample.
    pub pixels: usize,
}

impl CrossEntropyShape {
    fn check(self, logits: usize, labels: usize) {
        let Self { batch, classes, pixels } = self;
        assert!(
            classes > 0 && logits == batch * classes * pixels && labels == batch * pixels,
            "{logits} logits and {labels} labels of {self:?}"
        );
    }
}

/// The weights of labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// The share that all classes have together, `s`.
    pub share: f32,
    /// Pixels with this label have no loss and no gradient.
    pub ignore: Option<i64>,
}

/// The loss of every pixel, and the logarithm of the sum of the exponentials of its logits.
///
/// # Shapes
/// `logits (batch, classes, pixels)`, `labels (batch, pixels)` to `(batch, pixels)` both.
///
/// # Panics
/// If a slice does not have its shape, or a label is no class and not ignored.
#[must_use]
pub fn forward(
    shape: CrossEntropyShape,
    logits: &[f32],
    labels: &[i64],
    smoothing: Smoothing,
) -> (Vec<f32>, Vec<f32>) {
    shape.check(logits.len(), labels.len());
    let valid = |&label: &i64| {
        Some(label) == smoothing.ignore
            || usize::try_from(label).is_ok_and(|label| label < shape.classes)
    };
    assert!(labels.iter().all(valid), "a label beyond {} classes", shape.classes);
    let mut losses = vec![0.0; labels.len()];
    let mut log_sums = vec![0.0; labels.len()];
    let parts = parts(shape, labels)
        .zip(chunks(&mut losses, shape.pixels))
        .zip(chunks(&mut log_sums, shape.pixels));
    parallel::for_each(logits.len(), parts, |(((at, labels), losses), log_sums)| {
        let logits = at.logits(shape, logits);
        sums(logits, shape, log_sums, losses);
        for (pixel, (&label, loss)) in labels.iter().zip(losses).enumerate() {
            *loss = if Some(label) == smoothing.ignore {
                0.0
            } else {
                let own = logits[label as usize * shape.pixels + pixel];
                let mean = *loss / shape.classes as f32;
                log_sums[pixel] - (1.0 - smoothing.share) * own - smoothing.share * mean
            };
        }
    });
    (losses, log_sums)
}

/// The gradient of the logits from that of the losses and the results of [`forward`].
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn gradient(
    shape: CrossEntropyShape,
    (logits, labels): (&[f32], &[i64]),
    log_sums: &[f32],
    d_losses: &[f32],
    smoothing: Smoothing,
) -> Vec<f32> {
    shape.check(logits.len(), labels.len());
    assert!(log_sums.len() == labels.len() && d_losses.len() == labels.len(), "other pixels");
    let mut gradient = vec![0.0; logits.len()];
    // Threads write whole samples: a pixel's classes lie apart.
    let sample = (shape.classes * shape.pixels).max(1);
    parallel::for_each(logits.len(), gradient.chunks_mut(sample).enumerate(), |(index, to)| {
        let pixels = index * shape.pixels..(index + 1) * shape.pixels;
        let (labels, d_losses) = (&labels[pixels.clone()], &d_losses[pixels.clone()]);
        let scales: Vec<f32> = labels
            .iter()
            .zip(d_losses)
            .map(|(&label, &d)| if Some(label) == smoothing.ignore { 0.0 } else { d })
            .collect();
        let from = &logits[index * sample..][..to.len()];
        let even = smoothing.share / shape.classes as f32;
        for (from, to) in from.chunks(shape.pixels).zip(to.chunks_mut(shape.pixels)) {
            shares(from, &log_sums[pixels.clone()], &scales, even, to);
        }
        for (pixel, (&label, &scale)) in labels.iter().zip(&scales).enumerate() {
            if scale != 0.0 {
                to[label as usize * shape.pixels + pixel] -= (1.0 - smoothing.share) * scale;
            }
        }
    });
    gradient
}

/// The places of some pixels.
#[derive(Clone, Copy)]
struct Place {
    sample: usize,
    first: usize,
}

impl Place {
    /// The logits of the pixels from here on, those of the first class first.
    fn logits(self, shape: CrossEntropyShape, logits: &[f32]) -> &[f32] {
        &logits[self.sample * shape.classes * shape.pixels + self.first..]
    }
}

/// The labels in parts, with their places.
fn parts(shape: CrossEntropyShape, labels: &[i64]) -> impl Iterator<Item = (Place, &[i64])> {
    labels.chunks(shape.pixels.max(1)).enumerate().flat_map(|(sample, labels)| {
        labels
            .chunks(PIXELS)
            .enumerate()
            .map(move |(part, labels)| (Place { sample, first: part * PIXELS }, labels))
    })
}

/// Values of pixels in the same parts.
fn chunks(values: &mut [f32], pixels: usize) -> impl Iterator<Item = &mut [f32]> {
    values.chunks_mut(pixels.max(1)).flat_map(|sample| sample.chunks_mut(PIXELS))
}

/// Of every pixel the logarithm of the sum of the exponentials, and the sum of the logits.
#[multiversion(targets = "simd")]
fn sums(logits: &[f32], shape: CrossEntropyShape, log_sums: &mut [f32], totals: &mut [f32]) {
    let count = log_sums.len();
    let row = |class: usize| &logits[class * shape.pixels..][..count];
    let mut largest = [f32::NEG_INFINITY; PIXELS];
    totals.fill(0.0);
    for class in 0..shape.classes {
        for ((largest, total), &x) in largest.iter_mut().zip(totals.iter_mut()).zip(row(class)) {
            *largest = if x > *largest { x } else { *largest };
            *total += x;
        }
    }
    log_sums.fill(0.0);
    for class in 0..shape.classes {
        for ((sum, &largest), &x) in log_sums.iter_mut().zip(&largest).zip(row(class)) {
            *sum += exp(x - largest);
        }
    }
    for (sum, &largest) in log_sums.iter_mut().zip(&largest) {
        *sum = largest + sum.ln();
    }
}

/// `scale (softmax - even)` of the logits of one class.
#[multiversion(targets = "simd")]
fn shares(logits: &[f32], log_sums: &[f32], scales: &[f32], even: f32, to: &mut [f32]) {
    for (((to, &x), &log_sum), &scale) in to.iter_mut().zip(logits).zip(log_sums).zip(scales) {
        *to = scale * (exp(x - log_sum) - even);
    }
}
