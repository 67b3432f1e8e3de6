//! The exact GELU, `x Phi(x)` (Hendrycks and Gimpel, 2016), and its derivative.

use multiversion::multiversion;

use super::lanes::exp;
use super::parallel;

/// Elements that one thread takes at a time.
const PART: usize = 1 << 13;

/// Scale of the argument of [`ERFC`].
const ERFC_SCALE: f32 = 0.4;

/// `erfc(z) exp(z^2) = t P(t)` with `t = 1 / (1 + 0.4 z)`, for `z >= 0`: the minimax polynomial of
/// degree 8 by relative error, 6e-8.
const ERFC: [f32; 9] = [
    0.225_634_23,
    0.226_443_11,
    0.201_887_58,
    0.193_393_26,
    0.079_756_38,
    0.087_964_505,
    0.083_987_14,
    -0.140_319_17,
    0.041_253_03,
];

/// `x Phi(x)` and its derivative `Phi(x) + x phi(x)`.
#[inline(always)]
fn value_and_slope(x: f32) -> (f32, f32) {
    const INV_SQRT_TAU: f32 = 0.398_942_3;
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let bell = exp(-z * z);
    let t = 1.0 / z.mul_add(ERFC_SCALE, 1.0);
    let mut series = ERFC[8];
    for term in [ERFC[7], ERFC[6], ERFC[5], ERFC[4], ERFC[3], ERFC[2], ERFC[1], ERFC[0]] {
        series = series.mul_add(t, term);
    }
    let tail = 0.5 * t * series * bell;
    let phi = if x > 0.0 { 1.0 - tail } else { tail };
    (x * phi, (x * INV_SQRT_TAU).mul_add(bell, phi))
}

/// Coefficients of `(Phi(x) - 1/2) / x` in even powers of `x` up to 4, by absolute error of `Phi`, 5e-6,
/// and such that `Phi(4)` is 1.
const PHI: [f32; 9] = [
    0.398_942_34,
    -0.066_395_78,
    0.009_859_75,
    -0.001_126_158_7,
    9.716_173e-5,
    -6.075_217e-6,
    2.560_102_6e-7,
    -6.419_897e-9,
    7.170_359e-11,
];

/// Likewise of the derivative, up to 4.5; the error is 7e-5, and outside at most 3e-4.
const SLOPE: [f32; 10] = [
    0.797_454_1,
    -0.264_679_8,
    0.058_399_56,
    -0.008_727_651,
    0.000_920_322_4,
    -6.851_297e-5,
    3.504_008_7e-6,
    -1.164_522_6e-7,
    2.253_857_4e-9,
    -1.921_322_6e-11,
];

/// The accuracy of a GELU and of its derivative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Accuracy {
    /// To the digits of fp32.
    #[default]
    Fp32,
    /// As operands in bfloat16 need it, which are rounded to 4e-3: the quotient `gelu(x) / x` to 5e-5 and
    /// the derivative to 3e-4, in a third of the time.
    Bf16,
}

/// `1/2 + x P(x^2)`, with `x` in the range of the polynomial.
#[inline(always)]
fn sigmoid_like<const N: usize>(x: f32, limit: f32, terms: &[f32; N]) -> f32 {
    let x = x.clamp(-limit, limit);
    let square = x * x;
    let mut series = terms[N - 1];
    for &term in terms[..N - 1].iter().rev() {
        series = series.mul_add(square, term);
    }
    x.mul_add(series, 0.5)
}

/// `gelu(x)`.
#[inline(always)]
pub(super) fn value(x: f32, accuracy: Accuracy) -> f32 {
    match accuracy {
        Accuracy::Fp32 => value_and_slope(x).0,
        Accuracy::Bf16 => x * sigmoid_like(x, 4.0, &PHI),
    }
}

/// The derivative of the GELU.
#[inline(always)]
pub(super) fn slope(x: f32, accuracy: Accuracy) -> f32 {
    match accuracy {
        Accuracy::Fp32 => value_and_slope(x).1,
        Accuracy::Bf16 => sigmoid_like(x, 4.5, &SLOPE),
    }
}

/// `gelu(x)` of every element.
#[must_use]
pub fn forward(x: &[f32]) -> Vec<f32> {
    parallel::produce_evenly(x.len(), PART, |first, y| values(y, &x[first..]))
}

/// [`forward`] in the place of its input, on this thread.
pub(crate) fn in_place(x: &mut [f32]) {
    in_place_to(x, Accuracy::Fp32);
}

/// [`in_place`] to an accuracy.
#[multiversion(targets = "simd")]
pub(crate) fn in_place_to(x: &mut [f32], accuracy: Accuracy) {
    for x in x {
        *x = value(*x, accuracy);
    }
}

#[multiversion(targets = "simd")]
fn values(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = value_and_slope(x).0;
    }
}

/// `gelu(x)` and the derivative there: what the backward pass needs takes no more memory than `x`.
#[must_use]
pub fn forward_with_slope(x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut y, mut slope) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let parts = y.chunks_mut(PART).zip(slope.chunks_mut(PART)).zip(x.chunks(PART));
    parallel::for_each(x.len(), parts, |((y, slope), x)| values_and_slopes(y, slope, x));
    (y, slope)
}

#[multiversion(targets = "simd")]
fn values_and_slopes(y: &mut [f32], slope: &mut [f32], x: &[f32]) {
    for ((y, slope), &x) in y.iter_mut().zip(slope).zip(x) {
        (*y, *slope) = value_and_slope(x);
    }
}

/// The gradient of the input: `dy` times the derivative.
///
/// # Panics
/// If the slices differ in length.
#[must_use]
pub fn input_gradient(dy: &[f32], slope: &[f32]) -> Vec<f32> {
    assert_eq!(dy.len(), slope.len(), "gradients and derivatives");
    parallel::produce_evenly(dy.len(), PART, |first, dx| {
        products(dx, &dy[first..], &slope[first..]);
    })
}

/// [`input_gradient`] from the input itself, where the derivative was not kept.
///
/// # Panics
/// If the slices differ in length.
#[must_use]
pub fn input_gradient_again(dy: Vec<f32>, x: &[f32]) -> Vec<f32> {
    assert_eq!(dy.len(), x.len(), "gradients and inputs");
    let mut dx = dy;
    let parts = dx.chunks_mut(PART).zip(x.chunks(PART));
    parallel::for_each(x.len(), parts, |(dx, x)| times_slopes(dx, x));
    dx
}

/// [`input_gradient_again`] and [`forward`] in one pass over the input.
///
/// # Panics
/// If the slices differ in length.
#[must_use]
pub fn input_gradient_and_values(dy: Vec<f32>, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(dy.len(), x.len(), "gradients and inputs");
    let mut dx = dy;
    let parts = dx.chunks_mut(PART).zip(x.chunks(PART)).map(|(dx, x)| (x.len(), (dx, x)));
    let (y, _) = parallel::produce(x.len(), parts, |(dx, x), y| times_slopes_and_values(dx, y, x));
    (dx, y)
}

/// [`input_gradient_again`] on this thread.
#[multiversion(targets = "simd")]
fn times_slopes(dx: &mut [f32], x: &[f32]) {
    for (dx, &x) in dx.iter_mut().zip(x) {
        *dx *= value_and_slope(x).1;
    }
}

#[multiversion(targets = "simd")]
fn times_slopes_and_values(dx: &mut [f32], y: &mut [f32], x: &[f32]) {
    for ((dx, y), &x) in dx.iter_mut().zip(y).zip(x) {
        let (value, slope) = value_and_slope(x);
        *dx *= slope;
        *y = value;
    }
}

#[multiversion(targets = "simd")]
fn products(product: &mut [f32], a: &[f32], b: &[f32]) {
    for ((product, a), b) in product.iter_mut().zip(a).zip(b) {
        *product = a * b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `gelu(x)` to 10 digits, computed with 30.
    const EXACT: [(f32, f64); 8] = [
        (-6.0, -5.919_525_870e-9),
        (-3.0, -0.004_049_694_095),
        (-1.0, -0.158_655_253_9),
        (-0.125, -0.056_282_721_90),
        (0.0, 0.0),
        (0.5, 0.345_731_230_6),
        (1.0, 0.841_344_746_1),
        (4.0, 3.999_873_315),
    ];

    #[test]
    fn known_values() {
        for (x, exact) in EXACT {
            let got = f64::from(forward(&[x])[0]);
            assert!((got - exact).abs() < 3e-7 * exact.abs().max(1e-2), "gelu({x}) = {got}");
        }
    }

    #[test]
    fn slope_is_the_difference_quotient() {
        let x: Vec<f32> = (-500..500).map(|i| i as f32 * 0.01).collect();
        let step = 1.0 / 64.0;
        let beside = |step: f32| forward(&x.iter().map(|x| x + step).collect::<Vec<_>>());
        let (up, down) = (beside(step), beside(-step));
        let (values, slope) = forward_with_slope(&x);
        assert_eq!(values, forward(&x));
        for i in 0..x.len() {
            let quotient = (up[i] - down[i]) / (2.0 * step);
            assert!((slope[i] - quotient).abs() < 1e-4, "{} at {}", slope[i] - quotient, x[i]);
        }
    }

    #[test]
    fn no_number_stays_none() {
        assert!(forward(&[f32::NAN])[0].is_nan());
        assert_eq!(forward(&[]), Vec::<f32>::new());
    }

    #[test]
    fn many_elements_are_those_one_by_one() {
        let x: Vec<f32> = (0..100_003).map(|i| (i % 977) as f32 * 0.01 - 5.0).collect();
        let together = forward(&x);
        for (index, &x) in x.iter().enumerate().step_by(371) {
            assert_eq!(together[index].to_bits(), forward(&[x])[0].to_bits());
        }
    }

    #[test]
    fn short_polynomials_are_as_exact_as_they_say() {
        for step in -120_000..=120_000 {
            let x = step as f32 * 1e-4;
            let (value, slope) = value_and_slope(x);
            let quotient = if x == 0.0 { 0.5 } else { super::value(x, Accuracy::Bf16) / x };
            let exact = if x == 0.0 { 0.5 } else { value / x };
            assert!((quotient - exact).abs() < 5e-5, "gelu({x}) / {x}: {quotient}, {exact}");
            let short = super::slope(x, Accuracy::Bf16);
            assert!((short - slope).abs() < 3e-4, "gelu'({x}): {short}, {slope}");
        }
        for (x, value) in [(1e30, 1e30), (f32::INFINITY, f32::INFINITY), (-9.0, 0.0)] {
            assert!((super::value(x, Accuracy::Bf16) - value).abs() <= 1e-4 * x.abs() || x > 1e29);
        }
        assert!(super::value(f32::NAN, Accuracy::Bf16).is_nan());
        assert!(super::slope(f32::NAN, Accuracy::Bf16).is_nan());
    }
}
