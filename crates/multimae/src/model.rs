//! MultiMAE: input adapters, one encoder over the visible tokens, one decoder per task.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::encoder::{EncoderConfig, Phase, encode};
use crate::input_adapters::{InputAdapter, InputAdapterConfig};
use crate::masking::TokenMasks;
use crate::modality::{Modality, Size};
use crate::nn::{Block, ModuleMap, parameter};
use crate::output_adapters::{DecoderConfig, OutputTask, SpatialOutputAdapter};
use crate::positions::NonSquareTables;
use crate::tokens::{check_inputs, check_unique, input_adapters, tokenise, with_global_tokens};
use crate::{Error, Result};

pub use crate::tokens::{Inputs, TaskTokens, TokenLayout};

/// Everything that makes the shape of a [`MultiMae`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiMaeConfig {
    /// The encoder's sizes.
    pub encoder: EncoderConfig,
    /// Side of a patch at full resolution.
    pub patch_size: usize,
    /// Image size that the position tables are built for; inputs may have another.
    pub image_size: Size,
    /// Learned tokens that belong to no patch.
    pub num_global_tokens: usize,
    /// The input modalities, in the order of their tokens.
    pub inputs: Vec<Modality>,
    /// The decoders.
    pub outputs: Vec<OutputTask>,
    /// The sizes of the decoders.
    pub decoder: DecoderConfig,
    /// The layout of position tables that are not square.
    #[serde(default)]
    pub tables: NonSquareTables,
}

/// The output of a forward pass.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// `(B, C, H, W)` by decoder, at the modality's own resolution.
    pub predictions: IndexMap<String, Tensor<4>>,
    /// The last block's output `(B, visible + global, width)`, global tokens last.
    pub encoder_tokens: Tensor<3>,
    /// The places of the modalities' tokens.
    pub layout: TokenLayout,
}

/// The multi-modal masked autoencoder (Bachmann et al., arXiv 2204.01678).
#[derive(Module, Debug)]
pub struct MultiMae {
    /// `(1, G, width)`.
    pub global_tokens: Param<Tensor<3>>,
    /// By modality.
    pub input_adapters: ModuleMap<InputAdapter>,
    /// By decoder name.
    pub output_adapters: ModuleMap<SpatialOutputAdapter>,
    /// The encoder's blocks.
    pub encoder: Vec<Block>,
    #[module(skip)]
    config: MultiMaeConfig,
}

impl MultiMae {
    /// A model of zeros but for the position tables; see [`crate::init::initialise`].
    ///
    /// # Errors
    /// If the configuration does not fit together.
    pub fn new(config: &MultiMaeConfig, device: &Device) -> Result<Self> {
        config.check()?;
        let width = config.encoder.width;
        let adapter = InputAdapterConfig {
            patch_size: config.patch_size,
            width,
            image_size: config.image_size,
            tables: config.tables,
        };
        let context_tasks: Vec<&str> = config.inputs.iter().map(|m| m.name.as_str()).collect();
        let around = crate::output_adapters::DecoderContext {
            context_tasks: &context_tasks,
            encoder_width: width,
            patch_size: config.patch_size,
            image_size: config.image_size,
            tables: config.tables,
        };
        Ok(Self {
            global_tokens: parameter([1, config.num_global_tokens, width], device),
            input_adapters: input_adapters(&config.inputs, adapter, device)?,
            output_adapters: config
                .outputs
                .iter()
                .map(|task| {
                    let decoder = SpatialOutputAdapter::new(task, &config.decoder, around, device)?;
                    Ok((task.name.clone(), decoder))
                })
                .collect::<Result<_>>()?,
            encoder: config.encoder.blocks(device)?,
            config: config.clone(),
        })
    }

    /// The configuration that the model was built from.
    #[must_use]
    pub fn config(&self) -> &MultiMaeConfig {
        &self.config
    }

    /// Encodes the visible tokens and decodes every task.
    ///
    /// # Shapes
    /// Inputs as [`ModalityTensor`](crate::input_adapters::ModalityTensor); predictions `(B, C, H, W)`.
    ///
    /// # Errors
    /// If the inputs or the masks do not fit the model.
    pub fn forward(
        &self,
        inputs: Inputs,
        masks: &TokenMasks,
        phase: &mut Phase<'_>,
    ) -> Result<Reconstruction> {
        let (tokens, layout) = tokenise(&self.input_adapters, inputs)?;
        check_masks(&tokens, masks)?;
        let sequence = self.visible_sequence(tokens, masks);
        let rates = self.config.encoder.drop_path_rates();
        let encoder_tokens =
            encode(&self.encoder, sequence.clone(), &rates, phase).pop().unwrap_or(sequence);
        let predictions = self
            .output_adapters
            .iter()
            .map(|(name, decoder)| {
                (name.to_owned(), decoder.forward(encoder_tokens.clone(), &layout, masks))
            })
            .collect();
        Ok(Reconstruction { predictions, encoder_tokens, layout })
    }

    /// The visible tokens with the global tokens after them.
    ///
    /// # Shapes
    /// `(B, S, width)` to `(B, visible + G, width)`.
    fn visible_sequence(&self, tokens: Tensor<3>, masks: &TokenMasks) -> Tensor<3> {
        let [batch, total, width] = tokens.dims();
        let visible = if masks.visible() == total {
            tokens
        } else {
            let rows = masks.visible_rows(&tokens.device());
            tokens.reshape([batch * total, width]).select(0, rows).reshape([
                batch,
                masks.visible(),
                width,
            ])
        };
        with_global_tokens(visible, &self.global_tokens)
    }
}

impl MultiMaeConfig {
    /// The layout of the model's inputs at an image size.
    ///
    /// # Errors
    /// If the patches do not divide the image.
    pub fn layout(&self, image_size: Size) -> Result<TokenLayout> {
        let grid = image_size.grid(self.patch_size)?;
        Ok(TokenLayout::new(self.inputs.iter().map(|m| m.name.as_str()), grid))
    }

    fn check(&self) -> Result<()> {
        check_inputs(&self.inputs)?;
        self.encoder.block()?;
        check_unique("output task", self.outputs.iter().map(|t| &t.name))
    }
}

fn check_masks(tokens: &Tensor<3>, masks: &TokenMasks) -> Result<()> {
    let [batch, total, _] = tokens.dims();
    if masks.batch() != batch || masks.tokens() != total {
        return Err(Error::Masks(format!(
            "masks for {} samples of {} tokens, the inputs are {batch} samples of {total} tokens",
            masks.batch(),
            masks.tokens()
        )));
    }
    Ok(())
}
