//! Dropout.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

use crate::phase::Phase;

/// Sets each value to zero with probability `rate` and scales the others by `1 / (1 - rate)`
/// (Srivastava et al., 2014). The identity in evaluation.
///
/// # Shapes
/// Any, unchanged.
pub(crate) fn dropout<const D: usize>(x: Tensor<D>, rate: f64, phase: &mut Phase<'_>) -> Tensor<D> {
    let Phase::Training(rng) = phase else { return x };
    if rate <= 0.0 {
        return x;
    }
    let scale = (1.0 / (1.0 - rate)) as f32;
    let shape = x.dims();
    let mut factor = |_| if rng.random::<f64>() < rate { 0.0 } else { scale };
    let factors: Vec<f32> = (0..shape.iter().product::<usize>()).map(&mut factor).collect();
    let factors = Tensor::from_data(TensorData::new(factors, shape), &x.device());
    x * factors
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use rand::SeedableRng;

    #[test]
    fn keeps_the_mean_in_training_and_everything_in_evaluation() {
        let ones = Tensor::<2>::ones([100, 100], &Device::default());
        let same = dropout(ones.clone(), 0.2, &mut Phase::Evaluation);
        assert_eq!(same.to_data(), ones.to_data());
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let out = dropout(ones, 0.2, &mut Phase::Training(&mut rng));
        let values = out.into_data().try_to_vec::<f32>().unwrap();
        let zeros = values.iter().filter(|&&v| v == 0.0).count();
        assert!((1850..2150).contains(&zeros), "{zeros}");
        assert!(values.iter().all(|&v| v == 0.0 || v == 1.25));
    }
}
