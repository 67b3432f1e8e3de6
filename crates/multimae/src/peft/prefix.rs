//! The first blocks of an encoder that training does not change, whose outputs can be kept.

use burn::tensor::{Device, Tensor};

use super::PeftModel;
use crate::Result;
use crate::state::parameters;
use crate::tokens::Inputs;

/// Blocks from the first on that nothing trains and no prompt reaches, and the outputs of theirs that are
/// read behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenPrefix {
    /// The number of blocks; at least 1.
    pub blocks: usize,
    /// The blocks whose outputs are read, in order; the last of the prefix is among them.
    pub taps: Vec<usize>,
}

/// The outputs of a prefix's [taps](FrozenPrefix::taps) for a batch, `(B, N, width)` each, without
/// gradients.
pub type PrefixFeatures = Vec<Tensor<3>>;

impl FrozenPrefix {
    /// The outputs of the prefix as those of an encoder's blocks. A block that is not read has none.
    pub(super) fn layers(&self, features: &PrefixFeatures, device: &Device) -> Vec<Tensor<3>> {
        let of = |block: usize| match self.taps.binary_search(&block) {
            Ok(place) => features[place].clone(),
            Err(_) => Tensor::zeros([1, 1, 1], device),
        };
        (0..self.blocks).map(of).collect()
    }
}

impl PeftModel {
    /// The prefix of a model on a device with autodiff; `None` if its first block or what lies before it is
    /// trained or prompted, or if prompts are chosen by the encoder's output.
    #[must_use]
    pub fn frozen_prefix(&self) -> Option<FrozenPrefix> {
        let depth = self.vit.encoder.len();
        // Norms that prompts condition are those of all blocks.
        if self.query_kind().is_some() || self.peft.prompt_norms.is_some() {
            return None;
        }
        let mut blocks = if self.branch < depth { self.branch } else { depth };
        for parameter in parameters(&self.vit).iter().filter(|parameter| parameter.trainable) {
            if let Some(rest) = parameter.name.strip_prefix("encoder.") {
                let index = rest.split('.').next().and_then(|index| index.parse().ok());
                blocks = blocks.min(index.unwrap_or(0));
            } else if !parameter.name.starts_with("output_adapters.") {
                return None;
            }
        }
        if let Some(first) = self.prompts.iter().map(super::PromptSource::first).min() {
            blocks = blocks.min(first);
        }
        let last = blocks.checked_sub(1)?;
        let heads = self.vit.config().heads.iter();
        let read = heads.flat_map(|head| head.head.layers(depth)).filter(|layer| *layer < last);
        let mut taps: Vec<usize> = read.chain([last]).collect();
        taps.sort_unstable();
        taps.dedup();
        Some(FrozenPrefix { blocks, taps })
    }

    /// The outputs of a prefix for a batch.
    ///
    /// # Errors
    /// If the inputs do not fit the model.
    pub fn prefix_features(&self, prefix: &FrozenPrefix, inputs: Inputs) -> Result<PrefixFeatures> {
        let mut tokens = self.vit.embed(inputs)?.sequence.detach();
        let mut features = Vec::with_capacity(prefix.taps.len());
        for (index, block) in self.vit.encoder.iter().take(prefix.blocks).enumerate() {
            tokens = block.forward(tokens).detach();
            if prefix.taps.contains(&index) {
                features.push(tokens.clone());
            }
        }
        Ok(features)
    }
}
