//! Queries: what of a sample a pool compares with its keys.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::encoder_output::EncoderOutput;
use crate::tokens::TokenLayout;
use crate::{Error, Result};

/// The query of a sample. None has a gradient.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// The mean of the modality tokens behind the last block of the encoder without prompts, global
    /// tokens left out. Costs a pass of the encoder.
    #[default]
    Patches,
    /// The mean of the global tokens behind the last block, as Wang et al. (2022) take the class
    /// token. Costs a pass of the encoder.
    Global,
    /// The mean of the modality tokens before the first block, global tokens left out. Costs
    /// nothing.
    Embeddings,
}

impl Query {
    /// Whether the query is of [`Self::of_output`], for which the encoder first runs without
    /// prompts.
    #[must_use]
    pub fn needs_pass(self) -> bool {
        self != Self::Embeddings
    }

    /// The queries from what the encoder made of a batch without prompts.
    ///
    /// # Shapes
    /// To `(B, width)`.
    ///
    /// # Errors
    /// If the encoder has no blocks or the model no such tokens, or for [`Self::Embeddings`], which
    /// an output does not hold.
    pub fn of_output(self, output: &EncoderOutput) -> Result<Tensor<2>> {
        let last = || {
            output.layers.last().ok_or_else(|| {
                Error::Config("a query needs an encoder with at least one block".to_owned())
            })
        };
        let tokens = output.layout.num_tokens();
        match self {
            Self::Patches => mean_of(last()?, 0, tokens),
            Self::Global => mean_of(last()?, tokens, output.num_global_tokens),
            Self::Embeddings => Err(Error::Config(
                "queries of embeddings are taken before the first block, not from its output"
                    .to_owned(),
            )),
        }
    }

    /// The queries from the sequence before the first block.
    ///
    /// # Shapes
    /// `(B, S + G, width)`, the modalities' tokens in the order of the layout first, to
    /// `(B, width)`.
    ///
    /// # Errors
    /// If the sequence is shorter than the layout, or for a query that [needs a
    /// pass](Self::needs_pass).
    pub fn of_embeddings(self, sequence: &Tensor<3>, layout: &TokenLayout) -> Result<Tensor<2>> {
        match self {
            Self::Embeddings => mean_of(sequence, 0, layout.num_tokens()),
            Self::Patches | Self::Global => Err(Error::Config(
                "queries of patches or global tokens are taken behind the last block".to_owned(),
            )),
        }
    }
}

/// [`Query::Patches`].
///
/// # Shapes
/// To `(B, width)`.
///
/// # Errors
/// If the encoder has no blocks.
pub fn pool_query(output: &EncoderOutput) -> Result<Tensor<2>> {
    Query::Patches.of_output(output)
}

/// The mean of some tokens, without a gradient.
fn mean_of(sequence: &Tensor<3>, start: usize, count: usize) -> Result<Tensor<2>> {
    let [batch, tokens, width] = sequence.dims();
    if count == 0 {
        return Err(Error::Config("a query of tokens that the model does not have".to_owned()));
    }
    if start + count > tokens {
        return Err(Error::Config(format!(
            "a query of tokens {start} to {} in a sequence of {tokens}",
            start + count
        )));
    }
    let tokens = sequence.clone().detach().narrow(1, start, count);
    Ok(tokens.mean_dim(1).reshape([batch, width]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Size;
    use burn::tensor::Device;

    /// One sample of two modalities of one token each, and `globals` global tokens.
    fn output(globals: usize, device: &Device) -> EncoderOutput {
        let rows = [[1.0, 10.0], [3.0, 30.0], [6.0, 0.0], [8.0, 4.0]];
        let layer = Tensor::<2>::from_floats(rows, device).narrow(0, 0, 2 + globals);
        let layer = layer.reshape([1, 2 + globals, 2]);
        EncoderOutput {
            layers: vec![layer.zeros_like(), layer],
            layout: TokenLayout::new(["rgb", "depth"], Size::square(1)),
            num_global_tokens: globals,
            image_size: Size::square(16),
        }
    }

    fn values(query: Tensor<2>) -> Vec<f32> {
        query.into_data().iter::<f32>().collect()
    }

    #[test]
    fn every_query_is_the_mean_of_its_tokens() {
        let output = output(2, &Device::default());
        assert_eq!(values(Query::Patches.of_output(&output).unwrap()), [2.0, 20.0]);
        assert_eq!(values(pool_query(&output).unwrap()), [2.0, 20.0]);
        assert_eq!(values(Query::Global.of_output(&output).unwrap()), [7.0, 2.0]);
        let sequence = output.layers[1].clone() + 1.0;
        let query = Query::Embeddings.of_embeddings(&sequence, &output.layout).unwrap();
        assert_eq!(values(query), [3.0, 21.0]);
        assert!(Query::Patches.needs_pass() && Query::Global.needs_pass());
        assert!(!Query::Embeddings.needs_pass());
    }

    #[test]
    fn queries_have_no_gradient() {
        let device = Device::default().autodiff();
        let mut output = output(1, &device);
        let layer = output.layers[1].clone().require_grad();
        output.layers[1] = layer.clone();
        let factor = Tensor::<2>::ones([1, 2], &device).require_grad();
        for query in [Query::Patches, Query::Global] {
            let loss = (query.of_output(&output).unwrap() * factor.clone()).sum();
            assert!(layer.grad(&loss.backward()).is_none());
        }
        let query = Query::Embeddings.of_embeddings(&layer, &output.layout).unwrap();
        assert!(layer.grad(&(query * factor).sum().backward()).is_none());
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let device = Device::default();
        let mut output = output(0, &device);
        assert!(Query::Global.of_output(&output).is_err());
        assert!(Query::Embeddings.of_output(&output).is_err());
        assert!(Query::Patches.of_embeddings(&output.layers[0], &output.layout).is_err());
        let short = Tensor::zeros([1, 1, 2], &device);
        assert!(Query::Embeddings.of_embeddings(&short, &output.layout).is_err());
        output.layers.clear();
        assert!(Query::Patches.of_output(&output).is_err());
    }

    #[test]
    fn names_are_those_of_recipes() {
        for (query, name) in [
            (Query::Patches, "patches"),
            (Query::Global, "global"),
            (Query::Embeddings, "embeddings"),
        ] {
            assert_eq!(serde_json::to_value(query).unwrap(), name);
        }
        assert!(serde_json::from_str::<Query>("\"cls\"").is_err());
    }
}
