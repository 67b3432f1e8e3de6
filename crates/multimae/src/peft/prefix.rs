//! The first blocks of an encoder that training does not change, whose outputs can be kept.

use burn::tensor::{Device, Tensor};

use super::{PeftModel, SideNetwork};
use crate::Result;
use crate::state::parameters;
use crate::tokens::Inputs;

/// Blocks from the first on that nothing trains and no prompt reaches, and the outputs that are read behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenPrefix {
    /// The number of blocks; at least 1.
    pub blocks: usize,
    /// The blocks whose outputs are read, in order; the last of the prefix is among them. Those behind it are
    /// outputs without prompts, which a side network reads.
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

    /// The outputs behind the prefix, with their blocks.
    pub(super) fn behind(&self, features: &PrefixFeatures) -> Vec<(usize, Tensor<3>)> {
        let all = self.taps.iter().copied().zip(features.iter().cloned());
        all.filter(|(block, _)| *block >= self.blocks).collect()
    }

    /// The number of blocks from the first on whose weights the outputs depend on.
    #[must_use]
    pub fn computed_blocks(&self) -> usize {
        self.taps.last().map_or(self.blocks, |last| self.blocks.max(last + 1))
    }
}

impl PeftModel {
    /// The prefix of a model on a device with autodiff; `None` if its first block or what lies before it is
    /// trained or prompted, or if prompts are chosen by the encoder's output.
    #[must_use]
    pub fn frozen_prefix(&self) -> Option<FrozenPrefix> {
        let depth = self.vit.encoder.len();
        if self.query_kind().is_some() {
            return None;
        }
        let mut untrained = depth;
        for parameter in parameters(&self.vit).iter().filter(|parameter| parameter.trainable) {
            if let Some(rest) = parameter.name.strip_prefix("encoder.") {
                let index = rest.split('.').next().and_then(|index| index.parse().ok());
                untrained = untrained.min(index.unwrap_or(0));
            } else if !parameter.name.starts_with("output_adapters.") {
                return None;
            }
        }
        let blocks = untrained.min(self.first_prompted());
        let last = blocks.checked_sub(1)?;
        let by_heads = super::layers_read(self.vit.config());
        let by_side = self.side.iter().flat_map(SideNetwork::blocks).copied();
        let by_side: Vec<usize> = by_side.collect();
        // Outputs without prompts behind the prefix are all kept, or none.
        let kept = if by_side.iter().all(|block| *block < untrained) { untrained } else { last };
        let by_side = by_side.into_iter().filter(|block| *block < kept);
        let by_heads = by_heads.into_iter().filter(|block| *block < last);
        let mut taps: Vec<usize> = by_heads.chain(by_side).chain([last]).collect();
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
        for (index, block) in self.vit.encoder.iter().take(prefix.computed_blocks()).enumerate() {
            tokens = block.forward(tokens).detach();
            if prefix.taps.contains(&index) {
                features.push(tokens.clone());
            }
        }
        Ok(features)
    }
}
