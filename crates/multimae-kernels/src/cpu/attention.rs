//! Multi-head attention that keeps no scores: the forward pass leaves one number per query and
//! head, from which the backward pass computes the scores again (Dao et al., 2022).

use multiversion::multiversion;

use super::lanes::{dot, exp, max, sum};
use super::matrix::{Into, Matrix, Shape, multiply, transposed};
use super::parallel;
use crate::precision::Precision;

/// Queries whose scores are in memory at one time.
const QUERIES_AT_ONCE: usize = 64;

/// Sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Samples.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Queries of a sample.
    pub queries: usize,
    /// Keys of a sample.
    pub keys: usize,
    /// Width of a head.
    pub dim: usize,
}

impl AttentionShape {
    fn width(self) -> usize {
        self.heads * self.dim
    }

    /// The scale of the scores, `1 / sqrt(dim)`.
    fn scale(self) -> f32 {
        (self.dim.max(1) as f32).sqrt().recip()
    }

    /// One head's rows in a tensor of rows of `parts` times the width.
    fn head(self, rows: usize, parts: usize) -> Shape {
        Shape::rows(rows, self.dim, parts * self.width())
    }
}

/// Queries, keys and values in the tensors that their projections left them in.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a> {
    /// `(batch, tokens, 3 * heads * dim)`: `[q | k | v]` of every token.
    Fused(&'a [f32]),
    /// `(batch, queries, heads * dim)`, and `[k | v]` of the context
    /// `(batch, keys, 2 * heads * dim)`.
    Context(&'a [f32], &'a [f32]),
}

/// The gradients of [`Inputs`], laid out likewise.
#[derive(Debug, Clone, PartialEq)]
pub enum Gradients {
    /// Of [`Inputs::Fused`].
    Fused(Vec<f32>),
    /// Of [`Inputs::Context`].
    Context(Vec<f32>, Vec<f32>),
}

/// One sample's queries, keys and values: a slice, the parts per row, and where the first head
/// begins in a row.
#[derive(Clone, Copy)]
struct Sample<'a> {
    queries: (&'a [f32], usize, usize),
    keys: (&'a [f32], usize, usize),
    values: (&'a [f32], usize, usize),
}

impl<'a> Inputs<'a> {
    fn sample(self, shape: AttentionShape, index: usize) -> Sample<'a> {
        let width = shape.width();
        match self {
            Self::Fused(qkv) => {
                let rows = &qkv[index * shape.queries * 3 * width..][..shape.queries * 3 * width];
                Sample {
                    queries: (rows, 3, 0),
                    keys: (rows, 3, width),
                    values: (rows, 3, 2 * width),
                }
            }
            Self::Context(q, kv) => {
                let q = &q[index * shape.queries * width..][..shape.queries * width];
                let kv = &kv[index * shape.keys * 2 * width..][..shape.keys * 2 * width];
                Sample { queries: (q, 1, 0), keys: (kv, 2, 0), values: (kv, 2, width) }
            }
        }
    }

    fn check(self, shape: AttentionShape) {
        let AttentionShape { batch, queries, keys, .. } = shape;
        let fits = match self {
            Self::Fused(qkv) => queries == keys && qkv.len() == batch * queries * 3 * shape.width(),
            Self::Context(q, kv) => {
                q.len() == batch * queries * shape.width()
                    && kv.len() == batch * keys * 2 * shape.width()
            }
        };
        assert!(fits, "attention of {shape:?} over slices of another size");
    }
}

/// One head of a part of a sample: rows from `first` on.
fn head<'a>(
    shape: AttentionShape,
    (slice, parts, offset): (&'a [f32], usize, usize),
    head: usize,
    (first, rows): (usize, usize),
) -> Matrix<'a> {
    let start = first * parts * shape.width() + offset + head * shape.dim;
    (slice.get(start..).unwrap_or(&[]), shape.head(rows, parts))
}

/// `softmax(q k^T / sqrt(dim)) v` of every head, and of every query and head the logarithm of the
/// sum of the exponentials of its scores.
///
/// # Shapes
/// To `(batch, queries, heads * dim)` and `(batch, queries, heads)`. With no keys the output is 0.
///
/// # Panics
/// If the inputs do not have the shape.
#[must_use]
pub fn forward(
    precision: Precision,
    shape: AttentionShape,
    inputs: Inputs<'_>,
) -> (Vec<f32>, Vec<f32>) {
    inputs.check(shape);
    let (width, heads) = (shape.width(), shape.heads);
    let mut log_sums = vec![0.0; shape.batch * shape.queries * heads];
    let len = shape.batch * shape.queries * width;
    if len == 0 || shape.keys == 0 {
        return (vec![0.0; len], log_sums);
    }
    let of_samples = log_sums.chunks_mut(shape.queries * heads).enumerate();
    let blocks = of_samples.flat_map(|(sample, log_sums)| {
        let blocks = log_sums.chunks_mut(QUERIES_AT_ONCE * heads).enumerate();
        blocks.map(move |(block, log_sums)| {
            let rows = (block * QUERIES_AT_ONCE, log_sums.len() / heads);
            (rows.1 * width, (sample, rows, log_sums))
        })
    });
    let work = shape.batch * shape.queries * shape.keys * heads;
    let (out, _) = parallel::produce(work, blocks, |(sample, rows, log_sums), out| {
        block_forward(precision, shape, inputs.sample(shape, sample), rows, (out, log_sums));
    });
    (out, log_sums)
}

fn block_forward(
    precision: Precision,
    shape: AttentionShape,
    sample: Sample<'_>,
    (first, rows): (usize, usize),
    (out, log_sums): (&mut [f32], &mut [f32]),
) {
    let AttentionShape { heads, keys, dim, .. } = shape;
    let mut scores = vec![0.0; rows * keys];
    let mut reciprocals = vec![0.0; rows];
    let scores_shape = Shape::rows(rows, keys, keys);
    for index in 0..heads {
        let q = head(shape, sample.queries, index, (first, rows));
        let (k, k_shape) = head(shape, sample.keys, index, (0, keys));
        let v = head(shape, sample.values, index, (0, keys));
        let k = (k, k_shape.transposed());
        multiply(precision, (&mut scores, scores_shape), Into::Replace, shape.scale(), q, k);
        exponentials(&mut scores, &mut reciprocals, &mut log_sums[index..], heads);
        let place = &mut out[index * dim..];
        let p = (scores.as_slice(), scores_shape);
        multiply(precision, (place, shape.head(rows, 1)), Into::Replace, 1.0, p, v);
        for (row, &reciprocal) in out.chunks_exact_mut(shape.width()).zip(&reciprocals) {
            row[index * dim..][..dim].iter_mut().for_each(|value| *value *= reciprocal);
        }
    }
}

/// Turns every row of scores into the exponentials of their distance from the largest; of every row
/// the reciprocal of their sum, and at every `step`-th place the logarithm of the sum of the
/// exponentials of the scores.
#[multiversion(targets = "simd")]
fn exponentials(scores: &mut [f32], reciprocals: &mut [f32], log_sums: &mut [f32], step: usize) {
    let keys = scores.len() / reciprocals.len().max(1);
    let rows = scores.chunks_exact_mut(keys.max(1));
    for ((row, reciprocal), log_sum) in rows.zip(reciprocals).zip(log_sums.iter_mut().step_by(step))
    {
        let largest = max(row);
        for score in row.iter_mut() {
            *score = exp(*score - largest);
        }
        let total = sum(row);
        *reciprocal = total.recip();
        *log_sum = largest + total.ln();
    }
}

/// The gradients of [`forward`] from its results.
///
/// # Panics
/// If a slice does not have the shape.
#[must_use]
pub fn gradients(
    precision: Precision,
    shape: AttentionShape,
    inputs: Inputs<'_>,
    (out, log_sums): (&[f32], &[f32]),
    d_out: &[f32],
) -> Gradients {
    inputs.check(shape);
    let AttentionShape { batch, heads, queries, keys, .. } = shape;
    let width = shape.width();
    assert!(
        out.len() == batch * queries * width
            && d_out.len() == out.len()
            && log_sums.len() == batch * queries * heads,
        "attention of {shape:?} over results of another size"
    );
    let work = batch * queries * keys * heads;
    let results = |sample: usize| Results {
        out: &out[sample * queries * width..][..queries * width],
        d_out: &d_out[sample * queries * width..][..queries * width],
        log_sums: &log_sums[sample * queries * heads..][..queries * heads],
    };
    match inputs {
        Inputs::Fused(_) => {
            let of_sample = 3 * queries * width;
            let samples = (0..batch).map(|index| (of_sample, index));
            let (d_qkv, _) = parallel::produce(work, samples, |index, d_qkv| {
                let into = |part| (part * width, 3);
                let mut to = Destination::One(d_qkv);
                let places = [into(0), into(1), into(2)];
                let sample = inputs.sample(shape, index);
                sample_gradients((precision, shape), sample, results(index), &mut to, places);
            });
            Gradients::Fused(d_qkv)
        }
        Inputs::Context(q, kv) => {
            let mut d_q = vec![0.0; q.len()];
            if d_q.is_empty() {
                return Gradients::Context(d_q, vec![0.0; kv.len()]);
            }
            let of_queries = d_q.chunks_mut(queries * width);
            let samples = of_queries.enumerate().map(|of| (2 * keys * width, of));
            let (d_kv, _) = parallel::produce(work, samples, |(index, d_q), d_kv| {
                let mut to = Destination::Two(d_q, d_kv);
                let places = [(0, 1), (0, 2), (width, 2)];
                let sample = inputs.sample(shape, index);
                sample_gradients((precision, shape), sample, results(index), &mut to, places);
            });
            Gradients::Context(d_q, d_kv)
        }
    }
}

/// The results of the forward pass for a sample, and the gradient of its output.
#[derive(Clone, Copy)]
struct Results<'a> {
    out: &'a [f32],
    d_out: &'a [f32],
    log_sums: &'a [f32],
}

/// The destination of a sample's gradients: one tensor, or one of the queries and one of keys and
/// values.
enum Destination<'a> {
    One(&'a mut [f32]),
    Two(&'a mut [f32], &'a mut [f32]),
}

impl Destination<'_> {
    /// The tensor of the queries' gradients.
    fn queries(&mut self) -> &mut [f32] {
        match self {
            Self::One(all) => all,
            Self::Two(queries, _) => queries,
        }
    }

    /// The tensor of the keys' and values' gradients.
    fn context(&mut self) -> &mut [f32] {
        match self {
            Self::One(all) => all,
            Self::Two(_, context) => context,
        }
    }
}

/// With `P = exp(S - log_sums)`: `dV = P^T dO`, `dS = P (dO V^T - rowsum(dO O))`,
/// `dQ = scale dS K`, `dK = scale dS^T Q`; `places` are the offset and the parts per row of the
/// gradients of queries, keys and values.
fn sample_gradients(
    (precision, shape): (Precision, AttentionShape),
    sample: Sample<'_>,
    results: Results<'_>,
    to: &mut Destination<'_>,
    [of_queries, of_keys, of_values]: [(usize, usize); 3],
) {
    let AttentionShape { heads, queries, keys, dim, .. } = shape;
    if keys == 0 || dim == 0 {
        return;
    }
    let width = shape.width();
    let block = QUERIES_AT_ONCE.min(queries);
    let (mut p, mut d_p) = (vec![0.0; block * keys], vec![0.0; block * keys]);
    for index in 0..heads {
        let k = head(shape, sample.keys, index, (0, keys));
        let v = head(shape, sample.values, index, (0, keys));
        let (k_mirrored, v_mirrored) = (transposed(k), transposed(v));
        for first in (0..queries).step_by(QUERIES_AT_ONCE) {
            let rows = QUERIES_AT_ONCE.min(queries - first);
            let square = Shape::rows(rows, keys, keys);
            let (p, d_p) = (&mut p[..rows * keys], &mut d_p[..rows * keys]);
            let q = head(shape, sample.queries, index, (first, rows));
            let d_o = head(shape, (results.d_out, 1, 0), index, (first, rows));
            let o = head(shape, (results.out, 1, 0), index, (first, rows));
            multiply(precision, (p, square), Into::Replace, shape.scale(), q, k_mirrored);
            multiply(precision, (d_p, square), Into::Replace, 1.0, d_o, v_mirrored);
            let log_sums = &results.log_sums[first * heads + index..];
            score_gradients(p, d_p, (log_sums, heads), (o.0, d_o.0), (keys, width, dim));
            let (p, d_s): (Matrix<'_>, Matrix<'_>) = ((p, square), (d_p, square));
            let start = |first: usize, (offset, parts): (usize, usize)| {
                first * parts * width + offset + index * dim
            };
            let into = (&mut to.context()[start(0, of_values)..], shape.head(keys, of_values.1));
            multiply(precision, into, Into::Add, 1.0, transposed(p), d_o);
            let into = (&mut to.context()[start(0, of_keys)..], shape.head(keys, of_keys.1));
            multiply(precision, into, Into::Add, shape.scale(), transposed(d_s), q);
            let into = &mut to.queries()[start(first, of_queries)..];
            let into = (into, shape.head(rows, of_queries.1));
            multiply(precision, into, Into::Replace, shape.scale(), d_s, k);
        }
    }
}

/// Turns rows of scores into probabilities, and the probabilities' gradients beside them into the
/// scores' gradients. `log_sums` has one number per row, `heads` apart; outputs and their gradients
/// have rows of `dim` numbers, `width` apart.
#[multiversion(targets = "simd")]
fn score_gradients(
    p: &mut [f32],
    d_p: &mut [f32],
    (log_sums, heads): (&[f32], usize),
    (out, d_out): (&[f32], &[f32]),
    (keys, width, dim): (usize, usize, usize),
) {
    let rows = p.chunks_exact_mut(keys).zip(d_p.chunks_exact_mut(keys));
    for ((row, (p, d_p)), &log_sum) in rows.enumerate().zip(log_sums.iter().step_by(heads)) {
        let inner = dot(&out[row * width..][..dim], &d_out[row * width..][..dim]);
        for (p, d_p) in p.iter_mut().zip(d_p) {
            *p = exp(*p - log_sum);
            *d_p = *p * (*d_p - inner);
        }
    }
}
