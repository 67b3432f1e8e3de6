//! The layers of the model as nodes. Names of parameters are those of the state dict.

use super::graph::{Attribute, Extent, Graph, Value};
use super::ops::Convolution;
use crate::Result;
use multimae::burn::tensor::TensorData;

/// The epsilon of the model's norms.
const NORM_EPS: f32 = 1e-6;

/// Inputs of a block besides its tokens; see [`multimae::nn::BlockConditioning`].
#[derive(Debug, Default)]
pub(super) struct Conditioning {
    /// Keys and values beside those of the tokens, `(B, P, width)` each.
    pub(super) prefix: Option<(Value, Value)>,
    /// Scale and shift behind both norms: four rows `(B, 1, width)` or `(1, 1, width)`.
    pub(super) modulation: Option<[Value; 4]>,
    /// Attention to tokens apart, see [`CrossMaps`].
    pub(super) cross: Vec<CrossMaps>,
}

/// Attention of all tokens to others, as two linear maps around a softmax.
#[derive(Debug)]
pub(super) struct CrossMaps {
    /// `(width, heads * P)`, and its bias.
    pub(super) scores: (TensorData, Option<TensorData>),
    /// `(heads * P, width)`, and its bias.
    pub(super) found: (TensorData, Option<TensorData>),
    /// Attention heads.
    pub(super) heads: usize,
}

impl Graph<'_> {
    /// A weight `(outputs, inputs)` as the right operand of a product. Readers fold the transpose.
    fn transposed(&mut self, name: &str) -> Result<Value> {
        let weight = self.weight(name)?;
        let order = Attribute::Ints(vec![1, 0]);
        let shape = vec![weight.shape[1], weight.shape[0]];
        Ok(self.node("Transpose", &[&weight], vec![("perm", order)], shape))
    }

    /// The linear layer of this name, with its bias if it has one.
    pub(super) fn linear(&mut self, name: &str, x: &Value) -> Result<Value> {
        self.at(name);
        let weight = self.transposed(&format!("{name}.weight"))?;
        let y = self.matmul(x, &weight);
        let bias = format!("{name}.bias");
        if !self.has(&bias) {
            return Ok(y);
        }
        let bias = self.weight(&bias)?;
        Ok(self.add(&y, &bias))
    }

    /// LayerNorm over the last axis.
    pub(super) fn layer_norm(&mut self, name: &str, x: &Value) -> Result<Value> {
        self.at(name);
        let weight = self.weight(&format!("{name}.weight"))?;
        let bias = self.weight(&format!("{name}.bias"))?;
        let attributes =
            vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(NORM_EPS))];
        Ok(self.node("LayerNormalization", &[x, &weight, &bias], attributes, x.shape.clone()))
    }

    /// The exact GELU.
    pub(super) fn gelu(&mut self, x: &Value) -> Result<Value> {
        let (root, one) = (self.scalar(std::f32::consts::SQRT_2)?, self.scalar(1.0)?);
        let scaled = self.div(x, &root);
        let erf = self.unary("Erf", &scaled);
        let shifted = self.add(&erf, &one);
        let product = self.mul(x, &shifted);
        self.scaled(&product, 0.5)
    }

    /// The convolution of this name over `(B, C, h, w)`, with its bias if it has one.
    pub(super) fn conv(&mut self, name: &str, x: &Value, sizes: Convolution) -> Result<Value> {
        self.at(name);
        let (kernel, bias) = self.kernel(name)?;
        Ok(self.conv_by(x, &kernel, bias.as_ref(), sizes))
    }

    /// The transposed convolution of this name.
    pub(super) fn upconv(&mut self, name: &str, x: &Value) -> Result<Value> {
        self.at(name);
        let (kernel, bias) = self.kernel(name)?;
        Ok(self.upconv_by(x, &kernel, bias.as_ref()))
    }

    fn kernel(&mut self, name: &str) -> Result<(Value, Option<Value>)> {
        let kernel = self.weight(&format!("{name}.weight"))?;
        let bias = format!("{name}.bias");
        let bias = if self.has(&bias) { Some(self.weight(&bias)?) } else { None };
        Ok((kernel, bias))
    }

    /// `(B, N, width)` to `(B, heads, N, dim)`.
    fn heads(&mut self, x: &Value, heads: usize) -> Result<Value> {
        let dim = x.extent(2) / heads;
        let shape = [x.shape[0], x.shape[1], Extent::Of(heads), Extent::Of(dim)];
        let apart = self.reshape(x, &shape)?;
        Ok(self.transpose(&apart, &[0, 2, 1, 3]))
    }

    /// Softmax attention of `(B, heads, N, dim)` to `(B, heads, M, dim)`, heads side by side.
    ///
    /// # Shapes
    /// To `(B, N, heads * dim)`.
    pub(super) fn attend(&mut self, q: &Value, k: &Value, v: &Value) -> Result<Value> {
        let (heads, dim) = (q.extent(1), q.extent(3));
        let q = self.scaled(q, (dim as f32).powf(-0.5))?;
        let keys = self.transpose(k, &[0, 1, 3, 2]);
        let scores = self.matmul(&q, &keys);
        let shares = self.softmax(&scores);
        let found = self.matmul(&shares, v);
        let found = self.transpose(&found, &[0, 2, 1, 3]);
        self.reshape(&found, &[q.shape[0], q.shape[2], Extent::Of(heads * dim)])
    }

    /// Attention over one sequence, with keys and values of a prefix if there are any.
    pub(super) fn attention(
        &mut self,
        name: &str,
        x: &Value,
        heads: usize,
        prefix: Option<&(Value, Value)>,
    ) -> Result<Value> {
        let width = x.extent(2);
        let qkv = self.linear(&format!("{name}.qkv"), x)?;
        self.at(name);
        let dim = Extent::Of(width / heads);
        let apart = [qkv.shape[0], qkv.shape[1], Extent::Of(3), Extent::Of(heads), dim];
        let apart = self.reshape(&qkv, &apart)?;
        let apart = self.transpose(&apart, &[2, 0, 3, 1, 4]);
        let (q, mut k, mut v) =
            (self.element(&apart, 0)?, self.element(&apart, 1)?, self.element(&apart, 2)?);
        if let Some((keys, values)) = prefix {
            let (keys, values) = (self.heads(keys, heads)?, self.heads(values, heads)?);
            k = self.concat(&[k, keys], 2);
            v = self.concat(&[v, values], 2);
        }
        let mixed = self.attend(&q, &k, &v)?;
        self.linear(&format!("{name}.proj"), &mixed)
    }

    /// Attention from queries to a context, both normed.
    pub(super) fn cross_attention(
        &mut self,
        name: &str,
        queries: &Value,
        context: &Value,
        heads: usize,
    ) -> Result<Value> {
        let width = queries.extent(2);
        let q = self.linear(&format!("{name}.q"), queries)?;
        let kv = self.linear(&format!("{name}.kv"), context)?;
        self.at(name);
        let (k, v) = (self.slice(&kv, 2, 0, width)?, self.slice(&kv, 2, width, width)?);
        let (q, k, v) = (self.heads(&q, heads)?, self.heads(&k, heads)?, self.heads(&v, heads)?);
        let mixed = self.attend(&q, &k, &v)?;
        self.linear(&format!("{name}.proj"), &mixed)
    }

    /// Two linear layers with GELU between.
    pub(super) fn mlp(&mut self, name: &str, x: &Value) -> Result<Value> {
        let hidden = self.linear(&format!("{name}.fc1"), x)?;
        let hidden = self.gelu(&hidden)?;
        self.linear(&format!("{name}.fc2"), &hidden)
    }

    /// A pre-norm transformer block.
    pub(super) fn block(
        &mut self,
        name: &str,
        x: &Value,
        heads: usize,
        conditioning: &Conditioning,
    ) -> Result<Value> {
        let normed = self.layer_norm(&format!("{name}.norm1"), x)?;
        let normed = self.modulated(normed, conditioning, 0);
        let prefix = conditioning.prefix.as_ref();
        let branch = self.attention(&format!("{name}.attn"), &normed, heads, prefix)?;
        self.at(name);
        let mut x = self.add(x, &branch);
        for maps in &conditioning.cross {
            let found = self.attend_apart(&format!("{name}.cross"), &x, maps)?;
            x = self.add(&x, &found);
        }
        let normed = self.layer_norm(&format!("{name}.norm2"), &x)?;
        let normed = self.modulated(normed, conditioning, 2);
        let branch = self.mlp(&format!("{name}.mlp"), &normed)?;
        self.at(name);
        Ok(self.add(&x, &branch))
    }

    /// `x + x * scale + shift`, with the rows of the modulation from this one on.
    fn modulated(&mut self, x: Value, conditioning: &Conditioning, row: usize) -> Value {
        let Some(rows) = &conditioning.modulation else { return x };
        let scaled = self.mul(&x, &rows[row]);
        let sum = self.add(&x, &scaled);
        self.add(&sum, &rows[row + 1])
    }

    fn attend_apart(&mut self, name: &str, x: &Value, maps: &CrossMaps) -> Result<Value> {
        self.at(name);
        let scores = self.linear_by(x, &maps.scores)?;
        let (batch, tokens, all) = (x.shape[0], x.shape[1], scores.extent(2));
        let count = all / maps.heads;
        let apart = [batch, tokens, Extent::Of(maps.heads), Extent::Of(count)];
        let apart = self.reshape(&scores, &apart)?;
        let shares = self.softmax(&apart);
        let shares = self.reshape(&shares, &[batch, tokens, Extent::Of(all)])?;
        self.linear_by(&shares, &maps.found)
    }

    /// A linear map by constants: `(inputs, outputs)` and a bias.
    fn linear_by(
        &mut self,
        x: &Value,
        (weight, bias): &(TensorData, Option<TensorData>),
    ) -> Result<Value> {
        let weight = self.constant("map", weight)?;
        let y = self.matmul(x, &weight);
        let Some(bias) = bias else { return Ok(y) };
        let bias = self.constant("shift", bias)?;
        Ok(self.add(&y, &bias))
    }
}
