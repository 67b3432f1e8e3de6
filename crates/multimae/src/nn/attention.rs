//! Multi-head attention over one sequence, and from queries to a context.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};

use super::Linear;

/// `softmax(q k^T / sqrt(d)) v`, per head.
///
/// # Shapes
/// `q (B, heads, N, d)`, `k` and `v (B, heads, M, d)` to `(B, N, heads * d)`.
fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
    let [batch, heads, queries, dim] = q.dims();
    let scores = q.matmul(k.swap_dims(2, 3)).mul_scalar((dim as f64).powf(-0.5));
    activation::softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([batch, queries, heads * dim])
}

/// Splits a fused projection into its `P` parts, each with its heads contiguous.
///
/// # Shapes
/// `(B, N, P * heads * d)` to `P` tensors `(B, heads, N, d)`.
fn split_heads<const P: usize>(fused: Tensor<3>, heads: usize) -> [Tensor<4>; P] {
    let [batch, tokens, width] = fused.dims();
    let dim = width / (P * heads);
    let parts = fused.reshape([batch, tokens, P, heads, dim]);
    std::array::from_fn(|part| {
        parts.clone().narrow(2, part, 1).reshape([batch, tokens, heads, dim]).swap_dims(1, 2)
    })
}

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

    /// # Shapes
    /// `(B, N, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [q, k, v] = split_heads(self.qkv.forward(x), self.heads);
        self.proj.forward(attend(q, k, v))
    }
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

    /// # Shapes
    /// `queries (B, N, width)`, `context (B, M, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward(&self, queries: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let [q] = split_heads(self.q.forward(queries), self.heads);
        let [k, v] = split_heads(self.kv.forward(context), self.heads);
        self.proj.forward(attend(q, k, v))
    }
}
