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
