//! Softmax cross-entropy with label smoothing.

use burn::tensor::{Int, Tensor, activation};
use multimae_kernels::ops;

/// Softmax cross-entropy per pixel, and the pixels that count where one label is ignored.
///
/// # Shapes
/// `logits (B, classes, h, w)`, `labels (B, h, w)` to `(B, h, w)` both.
pub(super) fn pixel_cross_entropy(
    logits: Tensor<4>,
    labels: Tensor<3, Int>,
    smoothing: f64,
    ignore: Option<i64>,
) -> (Tensor<3>, Option<Tensor<3>>) {
    let [batch, classes, height, width] = logits.dims();
    let counted = ignore.map(|label| labels.clone().not_equal_elem(label).float());
    let pixels = height * width;
    let loss = ops::cross_entropy(
        logits.reshape([batch, classes, pixels]),
        labels.reshape([batch, pixels]),
        smoothing,
        ignore,
    );
    (loss.reshape([batch, height, width]), counted)
}

/// Softmax cross-entropy per row: `(1 - s) nll + s mean over all classes` (Szegedy et al., 2016).
///
/// # Shapes
/// `logits (N, classes)`, `labels (N)` to `(N)`.
pub(super) fn rows_cross_entropy(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    smoothing: f64,
) -> Tensor<1> {
    let [rows, _] = logits.dims();
    let log_probabilities = activation::log_softmax(logits, 1);
    let mut loss = log_probabilities.clone().gather(1, labels.reshape([rows, 1])).neg();
    if smoothing > 0.0 {
        let uniform = log_probabilities.mean_dim(1).neg();
        loss = loss.mul_scalar(1.0 - smoothing) + uniform.mul_scalar(smoothing);
    }
    loss.reshape([rows])
}
