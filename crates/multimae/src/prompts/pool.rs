//! A pool of prompts from which every sample takes those whose keys are most like it.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Prompts;
use crate::encoder_output::EncoderOutput;
use crate::nn::parameter;
use crate::{Error, Result};

/// Added under the root of the norms, so that a key of zeros has none of its own.
const NORM_EPS: f64 = 1e-12;

/// Learning to prompt (L2P; Wang et al., 2022), with deep prompts and a choice per sample.
#[derive(Module, Debug)]
pub struct PromptPool {
    /// `(M, width)`.
    pub keys: Param<Tensor<2>>,
    /// `(M, layers, P, width)`.
    pub tokens: Param<Tensor<4>>,
    top_n: usize,
    first: usize,
}

/// What the samples of a batch take from a pool.
#[derive(Debug, Clone)]
pub struct Selection {
    /// `(B, layers, N * P, width)` from the entries, the most similar first.
    pub prompts: Prompts,
    /// Cosine similarity of every sample to every key, `(B, M)`.
    pub similarity: Tensor<2>,
    /// The chosen entries of every sample, in descending similarity.
    pub chosen: Vec<Vec<usize>>,
    /// The sum of the chosen similarities over the batch size, `(1)`. Training adds it to its loss
    /// with a negative weight: keys are pulled to the samples that chose them.
    pub reduce_sim: Tensor<1>,
}

impl PromptPool {
    /// A pool of zeros of `entries` prompts for blocks from `first` on, of which every sample takes
    /// `top_n`.
    ///
    /// # Errors
    /// If there are fewer entries than a sample takes, or it takes none.
    pub fn new(
        (entries, top_n): (usize, usize),
        first: usize,
        [layers, count, width]: [usize; 3],
        device: &Device,
    ) -> Result<Self> {
        if top_n == 0 || top_n > entries {
            return Err(Error::Config(format!(
                "a sample cannot take {top_n} of the {entries} prompts of a pool"
            )));
        }
        Ok(Self {
            keys: parameter([entries, width], device),
            tokens: parameter([entries, layers, count, width], device),
            top_n,
            first,
        })
    }

    /// Takes for every sample the entries whose keys are most like its query. Of equal ones the
    /// first counts. The choice has no gradient; the keys have one through `reduce_sim`.
    ///
    /// # Shapes
    /// `query (B, width)`, which gets no gradient.
    ///
    /// # Errors
    /// If the query has another width than the keys.
    pub fn forward(&self, query: Tensor<2>) -> Result<Selection> {
        let ([batch, width], [entries, key_width]) = (query.dims(), self.keys.dims());
        if width != key_width {
            return Err(Error::Config(format!(
                "a query of width {width} for a pool of width {key_width}"
            )));
        }
        let keys = unit(self.keys.val());
        let similarity = unit(query.detach()).matmul(keys.transpose());
        let rows: Vec<f32> = similarity.clone().into_data().iter::<f32>().collect();
        let chosen: Vec<Vec<usize>> =
            rows.chunks(entries).map(|row| largest(row, self.top_n)).collect();
        let flat: Vec<i64> = chosen.iter().flatten().map(|&entry| entry as i64).collect();
        let device = similarity.device();
        let index = |dims: [usize; 2]| {
            Tensor::<2, Int>::from_data(TensorData::new(flat.clone(), dims), &device)
        };
        let taken = similarity.clone().gather(1, index([batch, self.top_n]));
        let reduce_sim = taken.sum().div_scalar(batch.max(1) as f64);
        let [_, layers, count, _] = self.tokens.dims();
        let flat = index([1, batch * self.top_n]).reshape([batch * self.top_n]);
        let tokens = self
            .tokens
            .val()
            .select(0, flat)
            .reshape([batch, self.top_n, layers, count * width])
            .swap_dims(1, 2)
            .reshape([batch, layers, self.top_n * count, width]);
        let prompts = Prompts::tokens(self.first, tokens);
        Ok(Selection { prompts, similarity, chosen, reduce_sim })
    }
}

/// Rows over their norms.
fn unit(rows: Tensor<2>) -> Tensor<2> {
    let norm = rows.clone().square().sum_dim(1).clamp_min(NORM_EPS).sqrt();
    rows / norm
}

/// The places of the `count` largest values, the largest first.
fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    places.truncate(count);
    places
}

/// The query of every sample: the mean of its modality tokens behind the last block of the encoder
/// without prompts, global tokens left out. It has no gradient.
///
/// # Shapes
/// To `(B, width)`.
///
/// # Errors
/// If the encoder has no blocks.
pub fn pool_query(output: &EncoderOutput) -> Result<Tensor<2>> {
    let last = output.layers.last().ok_or_else(|| {
        Error::Config("a query needs an encoder with at least one block".to_owned())
    })?;
    let [batch, _, width] = last.dims();
    let tokens = last.clone().detach().narrow(1, 0, output.layout.num_tokens());
    Ok(tokens.mean_dim(1).reshape([batch, width]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_takes_its_own_entries() {
        let device = Device::default();
        let mut pool = PromptPool::new((3, 2), 0, [2, 1, 2], &device).unwrap();
        pool.keys = Param::<Tensor<2>>::from_data(
            TensorData::from([[1.0f32, 0.0], [0.0, 2.0], [3.0, 3.0]]),
            &device,
        );
        let values: Vec<f32> = (0..12).map(|value| value as f32).collect();
        pool.tokens = Param::<Tensor<4>>::from_data(TensorData::new(values, [3, 2, 1, 2]), &device);
        let query = Tensor::<2>::from_floats([[5.0, 0.1], [-1.0, 4.0]], &device);
        let selection = pool.forward(query).unwrap();
        assert_eq!(selection.chosen, [[0, 2], [1, 2]]);
        let Prompts::Tokens { tokens, .. } = selection.prompts else { panic!("not tokens") };
        assert_eq!(tokens.dims(), [2, 2, 2, 2]);
        // Sample 0, layer 1: entry 0, then entry 2.
        let got: Vec<f32> = tokens.into_data().iter::<f32>().collect();
        assert_eq!(got[4..8], [2.0, 3.0, 10.0, 11.0]);
    }

    #[test]
    fn impossible_pools_are_refused() {
        let device = Device::default();
        assert!(PromptPool::new((3, 4), 0, [1, 1, 2], &device).is_err());
        assert!(PromptPool::new((3, 0), 0, [1, 1, 2], &device).is_err());
        let pool = PromptPool::new((3, 1), 0, [1, 1, 2], &device).unwrap();
        assert!(pool.forward(Tensor::zeros([1, 5], &device)).is_err());
    }
}
