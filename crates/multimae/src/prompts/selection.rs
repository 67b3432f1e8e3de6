//! The selections of samples from a pool.

use burn::tensor::{Tensor, activation};

use super::Prompts;
use crate::{Error, Result};

/// Added under the root of the norms, so that a key of zeros has none of its own.
pub(super) const NORM_EPS: f64 = 1e-12;

/// A smallest share, whose logarithm is finite.
const SHARE_EPS: f64 = 1e-12;

/// The selections of a batch's samples from a pool.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The prompts for the encoder.
    pub prompts: Vec<Prompts>,
    /// The similarity of every sample to every entry, `(B, sets, M)` in `[-1, 1]`. There is one set
    /// of keys that all layers share, or one per layer.
    pub similarity: Tensor<3>,
    /// The entries that are used.
    pub choice: EntryChoice,
    /// The terms that training may add to its loss.
    pub losses: PoolLosses,
}

/// The combination of entries to prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryChoice {
    /// The entries of every sample, `sets * N` places: set after set, the most similar first.
    Entries(Vec<Vec<usize>>),
    /// No entry is chosen: all are added up, weighted by their similarity.
    Mixture,
}

/// Terms besides the loss of the task, each `(1)` and without its weight: training adds
/// `weight * term`. All are lower where they are better.
#[derive(Debug, Clone, Default)]
pub struct PoolLosses {
    /// Minus the sum of the chosen similarities, over the batch size and the sets (Wang et al.,
    /// 2022): it pulls keys to the samples that chose them. From `-N` to `N`.
    pub pull: Option<Tensor<1>>,
    /// The unevenness of the use of the entries, at least 0, at most `ln M`; see
    /// [`PoolConfig::diversity_temperature`](super::PoolConfig::diversity_temperature).
    pub diversity: Option<Tensor<1>>,
    /// The distance of the entries from orthonormal ones, at least 0; see
    /// [`CodaPrompts::orthogonality`](super::CodaPrompts::orthogonality).
    pub orthogonality: Option<Tensor<1>>,
}

impl PoolLosses {
    /// The terms that there are, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Tensor<1>)> {
        let terms = [
            ("pull", &self.pull),
            ("diversity", &self.diversity),
            ("orthogonality", &self.orthogonality),
        ];
        terms.into_iter().filter_map(|(name, term)| Some((name, term.as_ref()?)))
    }
}

impl Selection {
    /// The sum of the chosen similarities over the batch size and the sets, `(1)`: the published
    /// `reduce_sim`, which training subtracts.
    #[must_use]
    pub fn reduce_sim(&self) -> Option<Tensor<1>> {
        self.losses.pull.clone().map(Tensor::neg)
    }
}

/// Rows over their norms.
///
/// # Shapes
/// `(rows, width)`, unchanged.
pub(super) fn unit(rows: Tensor<2>) -> Tensor<2> {
    let norm = rows.clone().square().sum_dim(1).clamp_min(NORM_EPS).sqrt();
    rows / norm
}

/// `sum_m p_m ln(M p_m)` with `p` the mean over the batch of `softmax(similarity / temperature)`,
/// averaged over the sets: the divergence of the mean choice from an even one.
///
/// # Shapes
/// `(B, sets, M)` to `(1)`.
pub(super) fn unevenness(similarity: Tensor<3>, temperature: f64) -> Tensor<1> {
    let [_, sets, entries] = similarity.dims();
    let shares = activation::softmax(similarity.div_scalar(temperature), 2).mean_dim(0);
    let logs = shares.clone().clamp_min(SHARE_EPS).mul_scalar(entries as f64).log();
    (shares * logs).sum().div_scalar(sets as f64)
}

/// Checks that queries are as wide as the keys of a pool.
pub(super) fn check_query(query: &Tensor<2>, width: usize) -> Result<()> {
    let [_, own] = query.dims();
    if own != width {
        return Err(Error::Config(format!("a query of width {own} for a pool of width {width}")));
    }
    Ok(())
}

/// The places of the `count` largest values, the largest first; of equal ones the first.
pub(super) fn largest(values: &[f64], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    places.truncate(count);
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn uneven(rows: &[[f32; 3]], temperature: f64) -> f64 {
        let similarity = Tensor::<1>::from_floats(rows.concat().as_slice(), &Device::default())
            .reshape([rows.len(), 1, 3]);
        unevenness(similarity, temperature).into_data().iter::<f64>().next().unwrap()
    }

    #[test]
    fn even_use_costs_nothing_and_one_entry_for_all_the_most() {
        // Every sample is sure of another entry: even together.
        let rows = [[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]];
        assert!(uneven(&rows, 0.1).abs() < 1e-5);
        let one = [[1.0, -1.0, -1.0]; 4];
        assert!((uneven(&one, 0.01) - 3.0_f64.ln()).abs() < 1e-5);
        // At a high temperature no one is sure.
        assert!(uneven(&one, 100.0) < 1e-3);
    }

    #[test]
    fn the_divergence_is_the_written_one() {
        let rows = [[0.3, -0.2, 0.5], [0.1, 0.4, -0.7]];
        let softmax = |row: [f32; 3]| {
            let raised = row.map(|value| (f64::from(value) / 0.5).exp());
            raised.map(|value| value / raised.iter().sum::<f64>())
        };
        let (a, b) = (softmax(rows[0]), softmax(rows[1]));
        let slow: f64 =
            (0..3).map(|m| (a[m] + b[m]) / 2.0).map(|share| share * (3.0 * share).ln()).sum();
        assert!((uneven(&rows, 0.5) - slow).abs() < 1e-6, "{slow}");
    }

    #[test]
    fn of_equal_values_the_first_counts() {
        assert_eq!(largest(&[0.5, 0.7, 0.5, 0.7], 3), [1, 3, 0]);
        assert_eq!(largest(&[0.0; 4], 2), [0, 1]);
    }

    proptest! {
        #[test]
        fn unevenness_lies_between_zero_and_the_logarithm(
            rows in prop::collection::vec(prop::array::uniform3(-1.0_f32..1.0), 1..6),
            temperature in 0.001_f64..10.0,
        ) {
            let value = uneven(&rows, temperature);
            prop_assert!((-1e-5..=3.0_f64.ln() + 1e-5).contains(&value), "{}", value);
        }
    }
}
