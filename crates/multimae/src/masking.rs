//! The masks of the encoder's input (MultiMAE, section 3.2).
//!
//! A mask is per sample, over the tokens of all input modalities in order, each modality's tokens
//! in row-major order. Everywhere 0 means visible and 1 means masked. Masks are made on the host,
//! from a random stream that the caller names, and do not depend on the engine.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The distribution of the visible tokens over the modalities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaskingStrategy {
    /// Visible tokens per sample, over all modalities together.
    pub num_encoded_tokens: usize,
    /// Concentration of the Dirichlet distribution, one per modality. Smaller is more one-sided.
    pub alphas: Vec<f64>,
    /// First draw one of the non-empty subsets of the modalities, uniformly; the other modalities
    /// then get (almost) no visible token.
    pub sample_tasks_uniformly: bool,
}

/// The mask of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleMask {
    masked: Vec<bool>,
    visible: Vec<usize>,
}

impl SampleMask {
    /// From one flag per token, true = masked.
    #[must_use]
    pub fn new(masked: Vec<bool>) -> Self {
        let visible = (0..masked.len()).filter(|&i| !masked[i]).collect();
        Self { masked, visible }
    }

    /// Draws a mask.
    ///
    /// Shares are drawn from the Dirichlet distribution and rounded half to even; that number of
    /// tokens is made visible in each modality, uniformly; then uniformly chosen tokens are hidden
    /// or shown until exactly `num_encoded_tokens` are visible.
    ///
    /// # Errors
    /// If there are fewer tokens than are to be visible, or the alphas do not fit.
    pub fn sample(
        strategy: &MaskingStrategy,
        tokens_per_task: &[usize],
        rng: &mut dyn Rng,
    ) -> Result<Self> {
        strategy.check(tokens_per_task)?;
        let shares = strategy.shares(rng);
        let mut masked = Vec::with_capacity(tokens_per_task.iter().sum());
        for (share, &tokens) in shares.iter().zip(tokens_per_task) {
            let wanted = (share * strategy.num_encoded_tokens as f64).round_ties_even() as usize;
            let start = masked.len();
            masked.resize(start + tokens, true);
            for index in choose(tokens, wanted.min(tokens), rng) {
                masked[start + index] = false;
            }
        }
        even_out(&mut masked, strategy.num_encoded_tokens, rng);
        Ok(Self::new(masked))
    }

    /// Draws a mask of a sample that lacks modalities: their tokens are masked, and the visible ones
    /// are shared out over the others, as [`Self::sample`] does for a model without the absent ones.
    ///
    /// `present` has a flag per modality.
    ///
    /// # Errors
    /// As [`Self::sample`], of the present modalities; also if flags and modalities differ in number.
    pub fn sample_present(
        strategy: &MaskingStrategy,
        tokens_per_task: &[usize],
        present: &[bool],
        rng: &mut dyn Rng,
    ) -> Result<Self> {
        if present.len() != tokens_per_task.len() {
            return Err(Error::Masks(format!(
                "{} flags of presence for {} modalities",
                present.len(),
                tokens_per_task.len()
            )));
        }
        strategy.check(tokens_per_task)?;
        if present.iter().all(|&present| present) {
            return Self::sample(strategy, tokens_per_task, rng);
        }
        let kept: Vec<usize> = (0..present.len()).filter(|&task| present[task]).collect();
        let tokens: Vec<usize> = kept.iter().map(|&task| tokens_per_task[task]).collect();
        let alphas = kept.iter().map(|&task| strategy.alphas[task]).collect();
        let drawn = Self::sample(&MaskingStrategy { alphas, ..strategy.clone() }, &tokens, rng)?;
        let mut drawn = drawn.masked.into_iter();
        let mut masked = Vec::with_capacity(tokens_per_task.iter().sum());
        for (&tokens, &present) in tokens_per_task.iter().zip(present) {
            match present {
                true => masked.extend(drawn.by_ref().take(tokens)),
                false => masked.resize(masked.len() + tokens, true),
            }
        }
        Ok(Self::new(masked))
    }

    /// One flag per token, true = masked.
    #[must_use]
    pub fn masked(&self) -> &[bool] {
        &self.masked
    }

    /// The indices of the visible tokens, ascending.
    #[must_use]
    pub fn visible(&self) -> &[usize] {
        &self.visible
    }
}

impl MaskingStrategy {
    fn check(&self, tokens_per_task: &[usize]) -> Result<()> {
        let total: usize = tokens_per_task.iter().sum();
        if self.num_encoded_tokens == 0 || self.num_encoded_tokens > total {
            return Err(Error::Masks(format!(
                "{} visible tokens asked for, the inputs have {total}",
                self.num_encoded_tokens
            )));
        }
        if self.alphas.len() != tokens_per_task.len() {
            return Err(Error::Masks(format!(
                "{} alphas for {} modalities",
                self.alphas.len(),
                tokens_per_task.len()
            )));
        }
        if let Some(alpha) = self.alphas.iter().find(|a| !(a.is_finite() && **a > 0.0)) {
            return Err(Error::Masks(format!("alpha {alpha} must be positive")));
        }
        Ok(())
    }

    /// One draw of the modalities' shares; they sum to one.
    fn shares(&self, rng: &mut dyn Rng) -> Vec<f64> {
        let mut alphas = self.alphas.clone();
        if self.sample_tasks_uniformly {
            let subset = rng.random_range(1..1_u64 << alphas.len());
            for (task, alpha) in alphas.iter_mut().enumerate() {
                *alpha = *alpha * ((subset >> task) & 1) as f64 + 1e-5;
            }
        }
        dirichlet(&alphas, rng)
    }
}

/// A draw from the Dirichlet distribution, computed with logarithms: at concentrations near zero
/// the gamma variates themselves underflow.
fn dirichlet(alphas: &[f64], rng: &mut dyn Rng) -> Vec<f64> {
    let logs: Vec<f64> = alphas.iter().map(|&alpha| log_gamma_variate(alpha, rng)).collect();
    let max = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| (log - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// `ln X`, `X ~ Gamma(alpha, 1)`, through `X = Y U^(1 / alpha)`, `Y ~ Gamma(alpha + 1, 1)`.
fn log_gamma_variate(alpha: f64, rng: &mut dyn Rng) -> f64 {
    let boosted = Gamma::new(alpha + 1.0, 1.0).map_or(1.0, |gamma| gamma.sample(rng));
    let uniform = 1.0 - rng.random::<f64>();
    boosted.ln() + uniform.ln() / alpha
}

/// `count` different indices below `n`, uniformly.
fn choose(n: usize, count: usize, rng: &mut dyn Rng) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..n).collect();
    for i in 0..count {
        let j = rng.random_range(i..n);
        indices.swap(i, j);
    }
    indices.truncate(count);
    indices
}

/// Hides or shows uniformly chosen tokens until exactly `visible` are visible.
fn even_out(masked: &mut [bool], visible: usize, rng: &mut dyn Rng) {
    let now = masked.iter().filter(|&&m| !m).count();
    let flip_from = now < visible;
    let candidates: Vec<usize> = (0..masked.len()).filter(|&i| masked[i] == flip_from).collect();
    for index in choose(candidates.len(), now.abs_diff(visible), rng) {
        masked[candidates[index]] = !flip_from;
    }
}

/// The masks of a batch: as many visible tokens in every sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMasks {
    samples: Vec<SampleMask>,
    visible: usize,
    tokens: usize,
}

impl TokenMasks {
    /// Masks of a batch.
    ///
    /// # Errors
    /// If the batch is empty, or samples differ in their number of tokens or of visible tokens.
    pub fn new(samples: Vec<SampleMask>) -> Result<Self> {
        let Some(first) = samples.first() else {
            return Err(Error::Masks("an empty batch has no masks".to_owned()));
        };
        let (tokens, visible) = (first.masked.len(), first.visible.len());
        for (index, sample) in samples.iter().enumerate() {
            if sample.masked.len() != tokens || sample.visible.len() != visible {
                return Err(Error::Masks(format!(
                    "sample {index} has {} visible of {} tokens, sample 0 has {visible} of \
                     {tokens}; a batch needs the same number in every sample",
                    sample.visible.len(),
                    sample.masked.len()
                )));
            }
        }
        if visible == 0 {
            return Err(Error::Masks("no token is visible".to_owned()));
        }
        Ok(Self { samples, visible, tokens })
    }

    /// Every token visible.
    ///
    /// # Errors
    /// If the batch or the sequence is empty.
    pub fn all_visible(batch: usize, tokens: usize) -> Result<Self> {
        Self::new(vec![SampleMask::new(vec![false; tokens]); batch])
    }

    /// The samples' masks.
    #[must_use]
    pub fn samples(&self) -> &[SampleMask] {
        &self.samples
    }

    /// Batch size.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.samples.len()
    }

    /// Tokens per sample.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Visible tokens per sample.
    #[must_use]
    pub fn visible(&self) -> usize {
        self.visible
    }

    /// The part of the masks that belongs to the tokens `start..start + len`.
    #[must_use]
    pub fn task(&self, start: usize, len: usize) -> TaskMask {
        let masked = self
            .samples
            .iter()
            .flat_map(|sample| sample.masked[start..start + len].iter().copied())
            .collect();
        TaskMask { masked, batch: self.batch(), tokens: len }
    }

    /// Rows of the visible tokens in `(B * S)` rows.
    ///
    /// # Shapes
    /// `(B * visible)`.
    pub(crate) fn visible_rows(&self, device: &Device) -> Tensor<1, Int> {
        let rows = self.samples.iter().enumerate().flat_map(|(b, sample)| {
            sample.visible.iter().map(move |&index| b * self.tokens + index)
        });
        index_tensor(rows, device)
    }

    /// Positions of the visible tokens in the sequence.
    ///
    /// # Shapes
    /// `(B * visible)`.
    pub(crate) fn visible_positions(&self, device: &Device) -> Tensor<1, Int> {
        let rows = self.samples.iter().flat_map(|sample| sample.visible.iter().copied());
        index_tensor(rows, device)
    }

    /// For the tokens `start..start + len` of every sample: the row of that token among
    /// `(B * visible)` rows of visible tokens, or the row after the last for masked ones.
    ///
    /// # Shapes
    /// `(B * len)`.
    pub(crate) fn unshuffle_rows(
        &self,
        start: usize,
        len: usize,
        device: &Device,
    ) -> Tensor<1, Int> {
        let mask_row = self.batch() * self.visible;
        let mut rows = vec![mask_row; self.batch() * len];
        for (b, sample) in self.samples.iter().enumerate() {
            for (k, &index) in sample.visible.iter().enumerate() {
                if (start..start + len).contains(&index) {
                    rows[b * len + index - start] = b * self.visible + k;
                }
            }
        }
        index_tensor(rows, device)
    }
}

fn index_tensor(rows: impl IntoIterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.into_iter().map(|row| row as i64).collect();
    let len = rows.len();
    Tensor::from_data(TensorData::new(rows, [len]), device)
}

/// The mask of one task's tokens in a batch, true = masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskMask {
    masked: Vec<bool>,
    batch: usize,
    tokens: usize,
}

impl TaskMask {
    /// Flags `(B, N)` in row-major order.
    #[must_use]
    pub fn masked(&self) -> &[bool] {
        &self.masked
    }

    /// Flags of one sample.
    #[must_use]
    pub fn sample(&self, index: usize) -> &[bool] {
        &self.masked[index * self.tokens..(index + 1) * self.tokens]
    }

    /// Whether any token of the batch is masked.
    #[must_use]
    pub fn any(&self) -> bool {
        self.masked.contains(&true)
    }

    /// The number of samples with a masked token.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.masked.chunks(self.tokens.max(1)).filter(|tokens| tokens.contains(&true)).count()
    }

    /// The mask without the tokens whose flags are false.
    ///
    /// # Shapes
    /// `flags (B, N)`.
    #[must_use]
    pub fn only(&self, flags: &[bool]) -> Self {
        let masked = self.masked.iter().zip(flags).map(|(&masked, &flag)| masked && flag);
        Self { masked: masked.collect(), ..*self }
    }

    /// As numbers, 1 = masked.
    ///
    /// # Shapes
    /// `(B, N)`.
    #[must_use]
    pub fn tensor(&self, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = self.masked.iter().map(|&m| f32::from(u8::from(m))).collect();
        Tensor::from_data(TensorData::new(values, [self.batch, self.tokens]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn strategy(k: usize, alpha: f64, tasks: usize, uniform: bool) -> MaskingStrategy {
        MaskingStrategy {
            num_encoded_tokens: k,
            alphas: vec![alpha; tasks],
            sample_tasks_uniformly: uniform,
        }
    }

    proptest! {
        #[test]
        fn exactly_k_are_visible(
            seed: u64, k in 1_usize..60, alpha in 1e-4_f64..10.0, uniform: bool,
            sizes in proptest::collection::vec(1_usize..30, 1..5),
        ) {
            let total: usize = sizes.iter().sum();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mask = SampleMask::sample(&strategy(k, alpha, sizes.len(), uniform), &sizes, &mut rng);
            if k > total {
                prop_assert!(mask.is_err());
            } else {
                let mask = mask.unwrap();
                prop_assert_eq!(mask.visible().len(), k);
                prop_assert_eq!(mask.masked().len(), total);
            }
        }
    }

    #[test]
    fn tokens_of_absent_modalities_are_never_visible() {
        let mut strategy = strategy(20, 1.0, 3, true);
        strategy.alphas = vec![0.5, 1.0, 2.0];
        let tokens = [30, 12, 30];
        let draw = |seed: u64, present: [bool; 3]| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            SampleMask::sample_present(&strategy, &tokens, &present, &mut rng)
        };
        for seed in 0..50 {
            let mask = draw(seed, [true, false, true]).unwrap();
            assert_eq!((mask.visible().len(), mask.masked().len()), (20, 72));
            assert!(mask.masked()[30..42].iter().all(|&masked| masked));
            // As for a model of two modalities.
            let two = MaskingStrategy { alphas: vec![0.5, 2.0], ..strategy.clone() };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let alone = SampleMask::sample(&two, &[30, 30], &mut rng).unwrap();
            let both = [&mask.masked()[..30], &mask.masked()[42..]].concat();
            assert_eq!(alone.masked(), both);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let all = SampleMask::sample(&strategy, &tokens, &mut rng).unwrap();
            assert_eq!(draw(seed, [true; 3]).unwrap(), all);
        }
        assert!(draw(0, [false, true, false]).is_err(), "12 tokens are fewer than 20");
        assert!(draw(0, [false; 3]).is_err());
    }

    #[test]
    fn rounded_counts_are_distributed_as_published() {
        // T = 3, alpha = 1, K = 98: sums 97 / 98 / 99 with frequencies 0.125 / 0.751 / 0.124.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut sums = [0_usize; 3];
        let draws = 20_000;
        for _ in 0..draws {
            let sum: f64 = strategy(98, 1.0, 3, false)
                .shares(&mut rng)
                .iter()
                .map(|share| (share * 98.0).round_ties_even())
                .sum();
            sums[sum as usize - 97] += 1;
        }
        for (count, expected) in sums.into_iter().zip([0.125, 0.751, 0.124]) {
            assert!((count as f64 / f64::from(draws) - expected).abs() < 0.012, "{sums:?}");
        }
    }

    #[test]
    fn uniform_subsets_leave_tasks_out() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let strategy = strategy(20, 1.0, 3, true);
        let mut alone = 0;
        for _ in 0..2000 {
            let mask = SampleMask::sample(&strategy, &[40, 40, 40], &mut rng).unwrap();
            let counts: Vec<usize> =
                (0..3).map(|t| mask.visible().iter().filter(|&&i| i / 40 == t).count()).collect();
            alone += usize::from(counts.contains(&20));
        }
        // Three of the seven subsets have one task.
        assert!((f64::from(alone as u32) / 2000.0 - 3.0 / 7.0).abs() < 0.06, "{alone}");
    }

    #[test]
    fn batches_need_equal_counts() {
        let a = SampleMask::new(vec![false, true, true]);
        let b = SampleMask::new(vec![false, false, true]);
        assert!(TokenMasks::new(vec![a.clone(), b]).is_err());
        assert!(TokenMasks::new(vec![]).is_err());
        assert!(TokenMasks::new(vec![SampleMask::new(vec![true; 3])]).is_err());
        assert_eq!(TokenMasks::new(vec![a.clone(), a]).unwrap().visible(), 1);
    }

    #[test]
    fn rows_point_at_visible_tokens_or_the_mask_token() {
        let device = Device::default();
        let masks = TokenMasks::new(vec![
            SampleMask::new(vec![true, false, false, true]),
            SampleMask::new(vec![false, true, true, false]),
        ])
        .unwrap();
        let ints = |t: Tensor<1, Int>| t.into_data().convert::<i64>().try_to_vec::<i64>().unwrap();
        assert_eq!(ints(masks.visible_rows(&device)), [1, 2, 4, 7]);
        assert_eq!(ints(masks.visible_positions(&device)), [1, 2, 0, 3]);
        assert_eq!(ints(masks.unshuffle_rows(2, 2, &device)), [1, 4, 4, 3]);
        assert_eq!(masks.task(2, 2).masked(), [false, true, true, false]);
    }
}
