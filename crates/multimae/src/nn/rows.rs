//! Batches whose tokens lie one behind the other.

use burn::tensor::Tensor;

/// The tokens of several batches as rows of one matrix: what treats every token alike treats them
/// all at once, whatever the sizes of the batches.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    rows: Tensor<2>,
    /// Samples and tokens of every batch.
    sizes: Vec<[usize; 2]>,
}

impl Rows {
    /// # Shapes
    /// `(B, N, width)` each, of one width; at least one.
    pub(super) fn of(batches: Vec<Tensor<3>>) -> Self {
        let mut sizes = Vec::with_capacity(batches.len());
        let flat = batches.into_iter().map(|batch| {
            let [samples, tokens, width] = batch.dims();
            sizes.push([samples, tokens]);
            batch.reshape([samples * tokens, width])
        });
        let flat = flat.collect();
        Self { rows: Tensor::cat(flat, 0), sizes }
    }

    /// Returns the rows that a function computes from these; as many.
    pub(super) fn map(&self, f: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Self {
        Self { rows: f(self.rows.clone()), sizes: self.sizes.clone() }
    }

    /// The batches.
    ///
    /// # Shapes
    /// `(B, N, width)` each.
    pub(super) fn parts(&self) -> impl Iterator<Item = Tensor<3>> {
        let [_, width] = self.rows.dims();
        let mut start = 0;
        self.sizes.iter().map(move |&[samples, tokens]| {
            let count = samples * tokens;
            start += count;
            let rows = self.rows.clone().narrow(0, start - count, count);
            rows.reshape([samples, tokens, width])
        })
    }
}
