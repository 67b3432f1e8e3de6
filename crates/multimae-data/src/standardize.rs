//! Robust standardisation of one map (MultiMAE, section 3.1: depth).

/// Added to the variance before the square root.
const EPS: f64 = 1e-6;

/// Subtracts the mean and divides by the standard deviation of the middle of the values, in place.
///
/// The statistics leave out the smallest and the largest tenth: of `n` sorted values they use those
/// with index `floor(0.1 n)..floor(0.9 n)`; the variance is the unbiased one, plus 1e-6. The values
/// left out are transformed too. NaN counts in no statistic and stays NaN. The result does not
/// depend on the unit of the values.
pub fn robust_standardize(values: &mut [f32]) {
    let (mean, variance) = robust_statistics(values);
    let scale = (variance + EPS).sqrt();
    for value in values {
        *value = ((f64::from(*value) - mean) / scale) as f32;
    }
}

/// Mean and unbiased variance of the values that are no NaN, without the smallest and the largest
/// tenth of them; zeros without values.
#[must_use]
pub fn robust_statistics(values: &[f32]) -> (f64, f64) {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let low = (0.1 * sorted.len() as f64) as usize;
    let high = (0.9 * sorted.len() as f64) as usize;
    let middle = partition(&mut sorted, low, high);
    if middle.is_empty() {
        return (0.0, 0.0);
    }
    let n = middle.len() as f64;
    let mean = middle.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let squares = middle.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
    (mean, squares / (n - 1.0).max(1.0))
}

/// The values that would have the indices `low..high` if all were sorted, in any order. This is
/// several times faster than sorting.
fn partition(values: &mut [f32], low: usize, high: usize) -> &[f32] {
    if high < values.len() {
        values.select_nth_unstable_by(high, f32::total_cmp);
    }
    let values = &mut values[..high];
    if low > 0 && low < values.len() {
        values.select_nth_unstable_by(low, f32::total_cmp);
    }
    &values[low.min(high)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave() -> Vec<f32> {
        (0..4096).map(|j| (0.05 * f64::from(j)).cos() as f32).collect()
    }

    #[test]
    fn statistics_of_a_wave() {
        let (mean, variance) = robust_statistics(&wave());
        assert!((mean + 0.003_385_070_5).abs() < 1e-9, "{mean}");
        assert!((variance - 0.384_582_327_2).abs() < 1e-8, "{variance}");
        let shifted: Vec<f32> = wave().iter().map(|x| 3.0 * x + 1.0).collect();
        let (mean, variance) = robust_statistics(&shifted);
        assert!((mean - 0.989_844_788_5).abs() < 1e-7, "{mean}");
        assert!((variance - 3.461_240_944_9).abs() < 1e-6, "{variance}");
    }

    #[test]
    fn standardised_wave() {
        let mut values = wave();
        robust_standardize(&mut values);
        for (value, expected) in values.iter().zip([1.617_977_24, 1.615_962_01, 1.609_921_36]) {
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{value} {expected}");
        }
        let sum: f64 = values.iter().map(|x| f64::from(x.abs())).sum();
        assert!((sum - 4_210.793_107_90).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn invalid_values_count_in_no_statistic() {
        let mut holes = wave();
        for index in (0..holes.len()).rev().step_by(3) {
            holes.insert(index, f32::NAN);
        }
        assert_eq!(robust_statistics(&holes), robust_statistics(&wave()));
        robust_standardize(&mut holes);
        holes.retain(|value| !value.is_nan());
        let mut plain = wave();
        robust_standardize(&mut plain);
        assert_eq!(holes, plain);
        assert_eq!(robust_statistics(&[f32::NAN; 3]), (0.0, 0.0));
    }

    #[test]
    fn flat_and_tiny_maps_stay_finite() {
        for mut values in [vec![], vec![3.0], vec![2.0; 50], vec![1.0, 5.0]] {
            robust_standardize(&mut values);
            assert!(values.iter().all(|x| x.is_finite()));
        }
        let mut flat = vec![2.0; 50];
        robust_standardize(&mut flat);
        assert_eq!(flat, vec![0.0; 50]);
    }
}
