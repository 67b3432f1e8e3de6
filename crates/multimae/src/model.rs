//! MultiMAE: input adapters, one encoder over the visible tokens, one decoder per task.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::encoder::{EncoderConfig, Phase, encode};
use crate::input_adapters::{InputAdapter, InputAdapterConfig, ModalityTensor};
use crate::masking::{TaskMask, TokenMasks};
use crate::modality::{Modality, Size};
use crate::nn::{Block, ModuleMap, parameter};
use crate::output_adapters::{DecoderConfig, OutputTask, SpatialOutputAdapter};
use crate::positions::NonSquareTables;
use crate::{Error, Result};

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
    /// How position tables that are not square are built.
    #[serde(default)]
    pub tables: NonSquareTables,
}

/// The values of a batch, by modality, in the order of their tokens.
pub type Inputs = IndexMap<String, ModalityTensor>;

/// Where one modality's tokens are in the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskTokens {
    /// The modality.
    pub name: String,
    /// Index of its first token.
    pub start: usize,
}

/// The sequence of all modalities' tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLayout {
    /// The modalities in order.
    pub tasks: Vec<TaskTokens>,
    /// The token grid that all of them share.
    pub grid: Size,
}

impl TokenLayout {
    /// The layout of modalities that share a grid.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, grid: Size) -> Self {
        let place = |(index, name): (usize, &str)| TaskTokens {
            name: name.to_owned(),
            start: index * grid.area(),
        };
        Self { tasks: names.into_iter().enumerate().map(place).collect(), grid }
    }

    /// Where a modality's tokens are, if it is an input.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&TaskTokens> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Tokens of all modalities together.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.tasks.len() * self.grid.area()
    }

    /// Tokens of each modality.
    #[must_use]
    pub fn tokens_per_task(&self) -> Vec<usize> {
        vec![self.grid.area(); self.tasks.len()]
    }

    /// One modality's part of the masks, if it is an input.
    #[must_use]
    pub fn task_mask(&self, masks: &TokenMasks, name: &str) -> Option<TaskMask> {
        self.task(name).map(|task| masks.task(task.start, self.grid.area()))
    }
}

/// What a forward pass gives.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// `(B, C, H, W)` by decoder, at the modality's own resolution.
    pub predictions: IndexMap<String, Tensor<4>>,
    /// The last block's output `(B, visible + global, width)`, global tokens last.
    pub encoder_tokens: Tensor<3>,
    /// Where the modalities' tokens were.
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
        let around = crate::output_adapters::DecoderSurroundings {
            context_tasks: &context_tasks,
            encoder_width: width,
            patch_size: config.patch_size,
            image_size: config.image_size,
            tables: config.tables,
        };
        let block = config.encoder.block()?;
        Ok(Self {
            global_tokens: parameter([1, config.num_global_tokens, width], device),
            input_adapters: config
                .inputs
                .iter()
                .map(|m| Ok((m.name.clone(), InputAdapter::new(m, adapter, device)?)))
                .collect::<Result<_>>()?,
            output_adapters: config
                .outputs
                .iter()
                .map(|task| {
                    let decoder = SpatialOutputAdapter::new(task, &config.decoder, around, device)?;
                    Ok((task.name.clone(), decoder))
                })
                .collect::<Result<_>>()?,
            encoder: (0..config.encoder.depth).map(|_| Block::new(block, device)).collect(),
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
    /// Inputs as [`ModalityTensor`]; predictions `(B, C, H, W)`.
    ///
    /// # Errors
    /// If the inputs or the masks do not fit the model.
    pub fn forward(
        &self,
        inputs: Inputs,
        masks: &TokenMasks,
        phase: &mut Phase<'_>,
    ) -> Result<Reconstruction> {
        let (tokens, layout) = self.tokenise(inputs)?;
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

    /// The tokens of all inputs, one modality after the other in the order of the inputs.
    ///
    /// # Shapes
    /// `(B, S, width)`.
    fn tokenise(&self, inputs: Inputs) -> Result<(Tensor<3>, TokenLayout)> {
        let batch = inputs.values().next().map_or(0, ModalityTensor::batch);
        let mut names = Vec::new();
        let mut sequences = Vec::new();
        let mut shared: Option<(String, Size)> = None;
        for (name, input) in inputs {
            let problem = |problem: String| Error::Input { modality: name.clone(), problem };
            let Some(adapter) = self.input_adapters.get(&name) else {
                return Err(problem("the model has no input adapter for it".to_owned()));
            };
            if input.batch() != batch {
                return Err(problem(format!("{} samples, others have {batch}", input.batch())));
            }
            let (tokens, grid) = adapter.forward(&name, input)?;
            match &shared {
                Some((first, first_grid)) if *first_grid != grid => {
                    return Err(problem(format!(
                        "its token grid {grid} is not that of `{first}`, {first_grid}"
                    )));
                }
                Some(_) => {}
                None => shared = Some((name.clone(), grid)),
            }
            names.push(name);
            sequences.push(tokens);
        }
        let Some((_, grid)) = shared else {
            return Err(Error::Config("a forward pass needs at least one input".to_owned()));
        };
        let layout = TokenLayout::new(names.iter().map(String::as_str), grid);
        Ok((Tensor::cat(sequences, 1), layout))
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
        let [_, global, _] = self.global_tokens.dims();
        if global == 0 {
            return visible;
        }
        let global = self.global_tokens.val().expand([batch, global, width]);
        Tensor::cat(vec![visible, global], 1)
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
        if self.inputs.is_empty() {
            return Err(Error::Config("at least one input modality is needed".to_owned()));
        }
        check_unique("input modality", self.inputs.iter().map(|m| &m.name))?;
        check_unique("output task", self.outputs.iter().map(|t| &t.name))?;
        Ok(())
    }
}

fn check_unique<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::Config(format!("{what} `{name}` is listed twice")));
        }
    }
    Ok(())
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
