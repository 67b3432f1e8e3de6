//! Multi-head attention over one sequence, and from queries to a context.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;

use super::{LayerNorm, Linear};

/// Multi-head self-attention with one fused projection `[q | k | v]`.
#[derive(Module, Debug)]
pub struct Attention {
    /// Width to three times the width.
    pub qkv: Linear,
    /// Width to width.
    pub proj: Linear,
    heads: usize,
}

impl Attention {
    /// Attention of zeros; `heads` must divide `width`.
    #[must_use]
    pub fn new(width: usize, heads: usize, device: &Device) -> Self {
        Self {
            qkv: Linear::new(width, 3 * width, device),
            proj: Linear::new(width, width, device),
            heads,
        }
    }

    /// Every token attends to all of its sample and, where they are given, to further keys and
    /// values.
    ///
    /// # Shapes
    /// `x (B, N, width)`, keys and values of the prefix `(B, P, width)`, the heads side by side, to
    /// `(B, N, width)`.
    #[must_use]
    pub fn forward(&self, x: Tensor<3>, prefix: Option<(Tensor<3>, Tensor<3>)>) -> Tensor<3> {
        self.proj.forward(self.mixed(self.qkv.forward(x), prefix))
    }

    /// [`Self::forward`] behind a norm.
    ///
    /// # Shapes
    /// `(B, N, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward_normed(
        &self,
        norm: &LayerNorm,
        x: Tensor<3>,
        prefix: Option<(Tensor<3>, Tensor<3>)>,
    ) -> Tensor<3> {
        self.proj.forward(self.mixed(self.qkv.forward_normed(norm, x), prefix))
    }

    /// [`Self::forward`] without the projections.
    ///
    /// # Shapes
    /// `qkv (B, N, 3 width)` to `(B, N, width)`.
    pub(super) fn mixed(
        &self,
        qkv: Tensor<3>,
        prefix: Option<(Tensor<3>, Tensor<3>)>,
    ) -> Tensor<3> {
        let Some((keys, values)) = prefix else { return ops::self_attention(qkv, self.heads) };
        let width = qkv.dims()[2] / 3;
        let q = qkv.clone().narrow(2, 0, width);
        let own = qkv.narrow(2, width, 2 * width);
        let kv = Tensor::cat(vec![own, Tensor::cat(vec![keys, values], 2)], 1);
        ops::cross_attention(q, kv, self.heads)
    }

    /// Every token attends to the same few others alone, by the projections of this attention (CVPT; Huang
    /// et al., arXiv 2408.14961).
    ///
    /// As the others are the same for all samples, queries and keys are multiplied with their projections
    /// once, and values with theirs: two small maps per token in the place of two of the whole width.
    ///
    /// # Shapes
    /// `x (B, N, width)`, `others (P, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward_apart(&self, x: Tensor<3>, others: Tensor<2>) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let [count, _] = others.dims();
        let heads = self.heads;
        let ApartMaps { scores, found } = self.apart(others);
        let scores = ops::linear(x, scores.0, scores.1);
        let shares =
            burn::tensor::activation::softmax(scores.reshape([batch, tokens, heads, count]), 3);
        ops::linear(shares.reshape([batch, tokens, heads * count]), found.0, found.1)
    }

    /// The maps of [`Self::forward_apart`] to these others.
    ///
    /// # Shapes
    /// `(P, width)`.
    #[must_use]
    pub fn apart(&self, others: Tensor<2>) -> ApartMaps {
        let [count, width] = others.dims();
        let (heads, dim) = (self.heads, width / self.heads);
        // Without what tuning may have added to the projections, as they were trained before.
        let (weight, bias) = (self.qkv.weight.val(), self.qkv.bias.as_ref().map(|b| b.val()));
        let rows = |part: usize| weight.clone().narrow(0, part * width, width);
        let bias_of = |part: usize| bias.clone().map(|bias| bias.narrow(0, part * width, width));
        let of_others = |part: usize| {
            let projected = ops::linear(others.clone(), rows(part), bias_of(part));
            projected.reshape([count, heads, dim]).swap_dims(0, 1)
        };
        let keys = of_others(1).mul_scalar((dim as f64).powf(-0.5));
        let scores_of = keys.clone().matmul(rows(0).reshape([heads, dim, width]));
        let score_bias = bias_of(0)
            .map(|bias| keys.matmul(bias.reshape([heads, dim, 1])).reshape([heads * count]));
        let out = self.proj.weight.val().reshape([width, heads, dim]).swap_dims(0, 1);
        let found = out.matmul(of_others(2).swap_dims(1, 2)).swap_dims(0, 1);
        ApartMaps {
            scores: (scores_of.reshape([heads * count, width]), score_bias),
            found: (
                found.reshape([width, heads * count]),
                self.proj.bias.as_ref().map(|bias| bias.val()),
            ),
        }
    }

    /// Computes the attention weights of every token to every token, and to further keys behind
    /// them.
    ///
    /// # Shapes
    /// `x (B, N, width)`, `keys (B, P, width)` to `(B, heads, N, N + P)`; rows sum to 1.
    #[must_use]
    pub fn weights(&self, x: Tensor<3>, keys: Option<Tensor<3>>) -> Tensor<4> {
        let [batch, tokens, width] = x.dims();
        let qkv = self.qkv.forward(x);
        let own = qkv.clone().narrow(2, width, width);
        let keys = match keys {
            Some(keys) => Tensor::cat(vec![own, keys], 1),
            None => own,
        };
        let dim = width / self.heads;
        let apart = |x: Tensor<3>, tokens: usize| {
            x.reshape([batch, tokens, self.heads, dim]).swap_dims(1, 2)
        };
        let count = keys.dims()[1];
        let (q, k) = (apart(qkv.narrow(2, 0, width), tokens), apart(keys, count));
        let scores = q.matmul(k.swap_dims(2, 3)).mul_scalar((dim as f64).powf(-0.5));
        burn::tensor::activation::softmax(scores, 3)
    }
}

/// Attention to the same few others as two linear layers around a softmax; weights `(outputs, inputs)`.
#[derive(Debug, Clone)]
pub struct ApartMaps {
    /// From tokens to their scores of every head and other, `(heads * P, width)`.
    pub scores: (Tensor<2>, Option<Tensor<1>>),
    /// From shares to the change of a token, `(width, heads * P)`.
    pub found: (Tensor<2>, Option<Tensor<1>>),
}

/// Multi-head attention from queries to a context, with a fused projection `[k | v]`.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// Width to width, of the queries.
    pub q: Linear,
    /// Width to twice the width, of the context.
    pub kv: Linear,
    /// Width to width.
    pub proj: Linear,
    heads: usize,
}

impl CrossAttention {
    /// Attention of zeros; `heads` must divide `width`.
    #[must_use]
    pub fn new(width: usize, heads: usize, device: &Device) -> Self {
        Self {
            q: Linear::new(width, width, device),
            kv: Linear::new(width, 2 * width, device),
            proj: Linear::new(width, width, device),
            heads,
        }
    }

    /// Attention with a norm before either side.
    ///
    /// # Shapes
    /// `queries (B, N, width)`, `context (B, M, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward_normed(
        &self,
        [query_norm, context_norm]: [&LayerNorm; 2],
        queries: Tensor<3>,
        context: Tensor<3>,
    ) -> Tensor<3> {
        let q = self.q.forward_normed(query_norm, queries);
        let kv = self.kv.forward_normed(context_norm, context);
        self.proj.forward(ops::cross_attention(q, kv, self.heads))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::state::update;

    fn values<const D: usize>(dims: [usize; D], seed: f32) -> Tensor<D> {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i as f32 + seed) * 1.3).sin()).collect();
        Tensor::from_data(TensorData::new(values, dims), &Device::default())
    }

    #[test]
    fn attention_apart_is_attention_to_the_others_projected() {
        let attention = update(Attention::new(12, 3, &Device::default()), |name, value| {
            Some(values(value.dims(), name.len() as f32) * 0.4)
        });
        let (x, others) = (values([2, 5, 12], 0.5), values([4, 12], 3.0));
        // Queries of the tokens, keys and values of the others, all of them projected as usual.
        let q = attention.qkv.forward(x.clone()).narrow(2, 0, 12);
        let kv = attention.qkv.forward(others.clone()).narrow(1, 12, 24);
        let kv = kv.reshape([1, 4, 24]).expand([2, 4, 24]);
        let expected = attention.proj.forward(ops::cross_attention(q, kv, 3));
        let got = attention.forward_apart(x, others);
        let difference = (got - expected).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "{difference}");
    }
}
