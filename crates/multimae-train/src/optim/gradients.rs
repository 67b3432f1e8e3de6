//! Gradients by parameter name.

use indexmap::IndexMap;
use multimae::burn::tensor::Tensor;

/// Flattened gradients by parameter name.
pub type GradientMap = IndexMap<String, Tensor<1>>;

/// Adds gradients of a further part of the batch.
pub fn accumulate(sum: &mut GradientMap, gradients: GradientMap) {
    for (name, gradient) in gradients {
        let total = match sum.shift_remove(&name) {
            Some(total) => total + gradient,
            None => gradient,
        };
        sum.insert(name, total);
    }
}

/// The L2 norm over all gradients together.
#[must_use]
pub fn norm(gradients: &GradientMap) -> f64 {
    let squares: Vec<Tensor<1>> =
        gradients.values().map(|gradient| gradient.clone().square().sum()).collect();
    if squares.is_empty() {
        return 0.0;
    }
    let squares = Tensor::cat(squares, 0).into_data();
    squares.iter::<f64>().sum::<f64>().sqrt()
}

/// Scales gradients whose norm is `norm` down to `max_norm`, as PyTorch's `clip_grad_norm_` does.
#[must_use]
pub fn clip(gradients: GradientMap, norm: f64, max_norm: f64) -> GradientMap {
    let factor = max_norm / (norm + 1e-6);
    if factor >= 1.0 {
        return gradients;
    }
    gradients.into_iter().map(|(name, gradient)| (name, gradient.mul_scalar(factor))).collect()
}
