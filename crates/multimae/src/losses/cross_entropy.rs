//! Softmax cross-entropy with label smoothing.

use burn::tensor::{Int, Tensor, activation};

/// Softmax cross-entropy per pixel, and the pixels that count where one label is ignored.
///
/// # Shapes
/// `logits (B, classes, h, w)`, `labels (B, h, w)` to `(B, h, w)` both.
pub(super) fn pixel_cross_entropy(
    logits: Tensor<4>,
    labels: Tensor<3, Int>,
    smoothing: f64,
    ignore: Option<usize>,
) -> (Tensor<3>, Option<Tensor<3>>) {
    let [batch, classes, height, width] = logits.dims();
    let counted = ignore.map(|label| labels.clone().not_equal_elem(label as i64).float());
    // A label that is ignored may lie beyond the classes; look up class 0 there.
    let labels = match ignore {
        Some(label) => labels.clone().mask_fill(labels.equal_elem(label as i64), 0),
        None => labels,
    };
    let pixels = batch * height * width;
    let logits = logits.permute([0, 2, 3, 1]).reshape([pixels, classes]);
    let loss = rows_cross_entropy(logits, labels.reshape([pixels]), smoothing);
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
