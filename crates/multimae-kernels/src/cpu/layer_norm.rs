//! Layer normalisation (Ba et al., 2016) and its gradients.

use multiversion::multiversion;

use super::lanes::{sum, sum_of_pairs};
use super::linear::add_rows;
use super::mlp::Norm;
use super::parallel;

/// The statistics that the forward pass leaves for the backward pass: of every row its mean and the
/// reciprocal of its standard deviation.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// `(rows)`.
    pub mean: Vec<f32>,
    /// `(rows)`.
    pub reciprocal: Vec<f32>,
}

/// Gradients of layer normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// `(rows, width)`.
    pub x: Vec<f32>,
    /// `(width)`.
    pub weight: Vec<f32>,
    /// `(width)`.
    pub bias: Vec<f32>,
}

/// `(x - mean) / sqrt(var + eps) * weight + bias` of every row, biased variance.
///
/// # Shapes
/// `x (rows, width)`, `weight` and `bias (width)`.
///
/// # Panics
/// If `weight` and `bias` differ in length.
#[must_use]
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> (Vec<f32>, Statistics) {
    assert_eq!(weight.len(), bias.len(), "weight and bias of a norm");
    let width = weight.len().max(1);
    let rows = x.len() / width;
    let (mut mean, mut reciprocal) = (vec![0.0; rows], vec![0.0; rows]);
    let part = parallel::rows_per_part(width);
    let parts = x[..rows * width]
        .chunks(part * width)
        .zip(mean.chunks_mut(part).zip(reciprocal.chunks_mut(part)))
        .map(|(x, statistics)| (x.len(), (x, statistics)));
    let (y, _) = parallel::produce(x.len(), parts, |(x, statistics), y| {
        normalize_rows(y, x, statistics, (weight, bias), eps);
    });
    (y, Statistics { mean, reciprocal })
}

/// [`forward`] by this thread alone, into `y`, of which nothing is kept.
#[multiversion(targets = "simd")]
pub(crate) fn normalized(x: &[f32], norm: Norm<'_>, y: &mut [f32]) {
    let Norm { scale, shift, eps } = norm;
    let width = scale.len().max(1);
    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        normalize(y, x, moments(x, eps), scale, shift);
    }
}

/// The output of [`forward`] once more, from its statistics.
///
/// # Panics
/// If the statistics are not those of `x`, or `weight` and `bias` differ in length.
#[must_use]
pub fn forward_again(x: &[f32], weight: &[f32], bias: &[f32], statistics: &Statistics) -> Vec<f32> {
    assert_eq!(weight.len(), bias.len(), "weight and bias of a norm");
    let width = weight.len().max(1);
    assert!(statistics.mean.len() * width == x.len(), "rows of a norm");
    let part = parallel::rows_per_part(width);
    let Statistics { mean, reciprocal } = statistics;
    let parts = x
        .chunks(part * width)
        .zip(mean.chunks(part).zip(reciprocal.chunks(part)))
        .map(|(x, statistics)| (x.len(), (x, statistics)));
    let again = |(x, statistics): (&[f32], _), y: &mut [f32]| {
        normalize_rows_again(y, x, statistics, (weight, bias));
    };
    parallel::produce(x.len(), parts, again).0
}

#[multiversion(targets = "simd")]
fn normalize_rows_again(
    y: &mut [f32],
    x: &[f32],
    (mean, reciprocal): (&[f32], &[f32]),
    (weight, bias): (&[f32], &[f32]),
) {
    let width = weight.len().max(1);
    let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((y, x), (&mean, &reciprocal)) in rows.zip(mean.iter().zip(reciprocal)) {
        normalize(y, x, (mean, reciprocal), weight, bias);
    }
}

#[multiversion(targets = "simd")]
fn normalize_rows(
    y: &mut [f32],
    x: &[f32],
    (mean, reciprocal): (&mut [f32], &mut [f32]),
    (weight, bias): (&[f32], &[f32]),
    eps: f32,
) {
    let width = weight.len().max(1);
    let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((y, x), (mean, reciprocal)) in rows.zip(mean.iter_mut().zip(reciprocal)) {
        (*mean, *reciprocal) = moments(x, eps);
        normalize(y, x, (*mean, *reciprocal), weight, bias);
    }
}

#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let share = 1.0 / x.len() as f32;
    let mean = sum(x) * share;
    let square = |sum: f32, x: f32, _| (x - mean).mul_add(x - mean, sum);
    let variance = sum_of_pairs(x, x, square) * share;
    (mean, 1.0 / (variance + eps).sqrt())
}

#[inline(always)]
fn normalize(y: &mut [f32], x: &[f32], (mean, reciprocal): (f32, f32), w: &[f32], b: &[f32]) {
    for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(w).zip(b) {
        *y = ((x - mean) * reciprocal).mul_add(w, b);
    }
}

/// The gradients of [`forward`].
///
/// # Panics
/// If the statistics are not those of `x`.
#[must_use]
pub fn gradients(dy: &[f32], x: &[f32], weight: &[f32], statistics: &Statistics) -> Gradients {
    let width = weight.len().max(1);
    assert!(dy.len() == x.len() && statistics.mean.len() * width == x.len(), "rows of a norm");
    let part = parallel::rows_per_part(width);
    let Statistics { mean, reciprocal } = statistics;
    let parts = dy
        .chunks(part * width)
        .zip(x.chunks(part * width))
        .zip(mean.chunks(part).zip(reciprocal.chunks(part)))
        .map(|(rows, statistics)| (rows.0.len(), (rows, statistics)));
    let (dx, sums) = parallel::produce(x.len(), parts, |((dy, x), (mean, reciprocal)), dx| {
        let (mut of_weight, mut of_bias) = (vec![0.0; width], vec![0.0; width]);
        let of_parameters = (of_weight.as_mut_slice(), of_bias.as_mut_slice());
        rows_gradients(dx, (dy, x), (mean, reciprocal), weight, of_parameters);
        (of_weight, of_bias)
    });
    let (mut of_weight, mut of_bias) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
    for (weight, bias) in &sums {
        add_rows(&mut of_weight, weight);
        add_rows(&mut of_bias, bias);
    }
    Gradients { x: dx, weight: of_weight, bias: of_bias }
}

#[multiversion(targets = "simd")]
fn rows_gradients(
    dx: &mut [f32],
    (dy, x): (&[f32], &[f32]),
    (mean, reciprocal): (&[f32], &[f32]),
    weight: &[f32],
    (of_weight, of_bias): (&mut [f32], &mut [f32]),
) {
    let width = weight.len().max(1);
    let rows = dy.chunks_exact(width).zip(x.chunks_exact(width));
    let statistics = mean.iter().copied().zip(reciprocal.iter().copied());
    for ((dx, (dy, x)), row) in dx.chunks_exact_mut(width).zip(rows).zip(statistics) {
        row_gradients(dx, (dy, x), row, weight, (of_weight, of_bias));
    }
}

/// With `h = (x - mean) r` and `g = dy w`: `dx = r (g - mean(g) - h mean(g h))`, `dw += dy h`,
/// `db += dy`.
#[inline(always)]
fn row_gradients(
    dx: &mut [f32],
    (dy, x): (&[f32], &[f32]),
    (mean, r): (f32, f32),
    weight: &[f32],
    (of_weight, of_bias): (&mut [f32], &mut [f32]),
) {
    for ((((dx, &dy), &x), &w), (of_weight, of_bias)) in
        dx.iter_mut().zip(dy).zip(x).zip(weight).zip(of_weight.iter_mut().zip(of_bias.iter_mut()))
    {
        let h = (x - mean) * r;
        *of_weight = dy.mul_add(h, *of_weight);
        *of_bias += dy;
        *dx = dy * w;
    }
    let share = 1.0 / x.len() as f32;
    let mean_g = sum(dx) * share;
    let mean_gh = sum_of_pairs(dx, x, |sum, g, x| g.mul_add((x - mean) * r, sum)) * share;
    for (dx, &x) in dx.iter_mut().zip(x) {
        *dx = r * (-(x - mean) * r).mul_add(mean_gh, *dx - mean_g);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, values};
    use super::*;

    #[test]
    fn rows_have_the_asked_moments() {
        for (rows, width) in [(1, 2), (5, 33), (700, 192)] {
            let x: Vec<f32> = values(5, rows * width).iter().map(|v| 3.0 * v + 1.0).collect();
            let (weight, bias) = (vec![2.0; width], vec![0.5; width]);
            let (y, _) = forward(&x, &weight, &bias, 0.0);
            for row in y.chunks(width) {
                let mean = row.iter().sum::<f32>() / width as f32;
                let variance = row.iter().map(|v| (v - 0.5).powi(2)).sum::<f32>() / width as f32;
                assert_close(&[mean, variance], &[0.5, 4.0], 1e-4);
            }
        }
    }

    #[test]
    fn gradients_do_not_depend_on_the_threads() {
        let (rows, width) = (801, 96);
        let (x, dy) = (values(1, rows * width), values(2, rows * width));
        let (weight, bias) = (values(3, width), values(4, width));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (y, statistics) = forward(&x, &weight, &bias, 1e-6);
                (y, gradients(&dy, &x, &weight, &statistics))
            })
        };
        assert!(run(1) == run(3));
    }

    #[test]
    fn no_rows() {
        let (y, statistics) = forward(&[], &[1.0, 1.0], &[0.0, 0.0], 1e-6);
        assert!(y.is_empty());
        let none = gradients(&[], &[], &[1.0, 1.0], &statistics);
        assert_eq!(none.weight, [0.0, 0.0]);
    }
}
