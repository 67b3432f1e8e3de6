//! MultiViT: the encoder on whole inputs, with heads for downstream tasks.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::encoder::{EncoderConfig, Phase, encode};
use crate::encoder_output::EncoderOutput;
use crate::input_adapters::{InputAdapter, InputAdapterConfig, ModalityTensor};
use crate::modality::{Modality, Size};
use crate::nn::{Block, ModuleMap, parameter};
use crate::output_adapters::{Head, HeadConfig, HeadContext, Prediction, TaskHead};
use crate::positions::NonSquareTables;
use crate::prompts::{ImagePatches, Prompts, encode_with_prompts};
use crate::tokens::{
    Inputs, TokenLayout, check_inputs, check_unique, input_adapters, tokenise, with_global_tokens,
};
use crate::{Error, Result};

/// Everything that makes the shape of a [`MultiVit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiVitConfig {
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
    /// The heads.
    pub heads: Vec<TaskHead>,
    /// The layout of position tables that are not square.
    #[serde(default)]
    pub tables: NonSquareTables,
}

impl MultiVitConfig {
    fn check(&self) -> Result<()> {
        check_inputs(&self.inputs)?;
        check_unique("head", self.heads.iter().map(|head| &head.name))?;
        if self.encoder.depth == 0 {
            return Err(Error::Config("the encoder needs at least one block".to_owned()));
        }
        self.encoder.block()?;
        self.heads.iter().try_for_each(|head| self.check_main_tasks(head))
    }

    fn check_main_tasks(&self, head: &TaskHead) -> Result<()> {
        let error = |problem: String| Error::Config(format!("head `{}`: {problem}", head.name));
        if head.main_tasks.is_empty() && !matches!(head.head, HeadConfig::Linear(_)) {
            return Err(error("at least one main modality is needed".to_owned()));
        }
        check_unique(&format!("main modality of head `{}`", head.name), head.main_tasks.iter())?;
        match head.main_tasks.iter().find(|name| !self.inputs.iter().any(|m| m.name == **name)) {
            Some(name) => Err(error(format!("its main modality `{name}` is no input"))),
            None => Ok(()),
        }
    }
}

/// The encoder of MultiMAE on all tokens of its inputs, and the heads that read its layers.
#[derive(Module, Debug)]
pub struct MultiVit {
    /// `(1, G, width)`.
    pub global_tokens: Param<Tensor<3>>,
    /// By modality.
    pub input_adapters: ModuleMap<InputAdapter>,
    /// By task.
    pub output_adapters: ModuleMap<Head>,
    /// The encoder's blocks.
    pub encoder: Vec<Block>,
    #[module(skip)]
    config: MultiVitConfig,
}

/// Inputs as one sequence.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// `(B, S + G, width)`.
    pub(crate) sequence: Tensor<3>,
    /// The places of the modalities' tokens.
    pub(crate) layout: TokenLayout,
}

impl MultiVit {
    /// A model of zeros but for the position tables; see [`crate::init::initialise`].
    ///
    /// # Errors
    /// If the configuration does not fit together.
    pub fn new(config: &MultiVitConfig, device: &Device) -> Result<Self> {
        config.check()?;
        let width = config.encoder.width;
        let adapter = InputAdapterConfig {
            patch_size: config.patch_size,
            width,
            image_size: config.image_size,
            tables: config.tables,
        };
        let head = |head: &TaskHead| {
            let around = HeadContext {
                name: &head.name,
                main_tasks: &head.main_tasks,
                encoder_width: width,
                encoder_depth: config.encoder.depth,
            };
            Ok((head.name.clone(), Head::new(&head.head, around, device)?))
        };
        Ok(Self {
            global_tokens: parameter([1, config.num_global_tokens, width], device),
            input_adapters: input_adapters(&config.inputs, adapter, device)?,
            output_adapters: config.heads.iter().map(head).collect::<Result<_>>()?,
            encoder: config.encoder.blocks(device)?,
            config: config.clone(),
        })
    }

    /// The configuration that the model was built from.
    #[must_use]
    pub fn config(&self) -> &MultiVitConfig {
        &self.config
    }

    /// Encodes all tokens of the inputs; any of the model's modalities may be left out.
    ///
    /// # Shapes
    /// Inputs as [`ModalityTensor`]; every layer
    /// `(B, S + G, width)`.
    ///
    /// # Errors
    /// If the inputs do not fit the model.
    pub fn forward(&self, inputs: Inputs, phase: &mut Phase<'_>) -> Result<EncoderOutput> {
        self.encode_by(inputs, |(sequence, _), rates| {
            Ok(encode(&self.encoder, sequence, rates, phase))
        })
    }

    /// [`Self::forward`] with prompts. The layers come without their tokens.
    ///
    /// # Errors
    /// If the inputs or the prompts do not fit the model.
    pub fn forward_with_prompts(
        &self,
        inputs: Inputs,
        prompts: &[Prompts],
        phase: &mut Phase<'_>,
    ) -> Result<EncoderOutput> {
        self.encode_by(inputs, |sequence, rates| {
            encode_with_prompts(&self.encoder, sequence, prompts, rates, phase)
        })
    }

    /// `encode` gets the sequence, the number of its tokens that are of patches, and the blocks' rates of
    /// stochastic depth.
    fn encode_by(
        &self,
        inputs: Inputs,
        encode: impl FnOnce((Tensor<3>, usize), &[f64]) -> Result<Vec<Tensor<3>>>,
    ) -> Result<EncoderOutput> {
        let embedded = self.embed(inputs)?;
        let sequence = (embedded.sequence.clone(), embedded.layout.num_tokens());
        let layers = encode(sequence, &self.config.encoder.drop_path_rates())?;
        Ok(self.output(&embedded, layers))
    }

    /// The outputs of all blocks.
    pub(crate) fn encode(&self, sequence: Tensor<3>, phase: &mut Phase<'_>) -> Vec<Tensor<3>> {
        encode(&self.encoder, sequence, &self.config.encoder.drop_path_rates(), phase)
    }

    /// The patches of a modality, of which prompts are made; to be asked for before
    /// [`embed`](Self::embed) takes the inputs.
    ///
    /// # Errors
    /// If the modality is not among the inputs, or holds no real values.
    pub(crate) fn patches(&self, inputs: &Inputs, name: &str) -> Result<ImagePatches> {
        let problem =
            |problem: &str| Error::Input { modality: name.to_owned(), problem: problem.to_owned() };
        let (Some(InputAdapter::Patched(adapter)), Some(place)) =
            (self.input_adapters.get(name), inputs.get_index_of(name))
        else {
            return Err(problem("prompts are made of it, and it is not in the batch"));
        };
        let ModalityTensor::Continuous(maps) = &inputs[name] else {
            return Err(problem("expects real values, got class indices"));
        };
        let count = adapter.checked_grid(name, maps)?.area();
        let projected = adapter.project(maps.clone());
        Ok(ImagePatches::new(projected, maps.clone(), adapter.patch(), place * count))
    }

    /// The layout of the inputs' tokens, without their values.
    ///
    /// # Errors
    /// If there is no input, one has no adapter, or its size does not fit it.
    pub(crate) fn layout(&self, inputs: &Inputs) -> Result<TokenLayout> {
        let none = || Error::Config("a forward pass needs at least one input".to_owned());
        let (name, first) = inputs.first().ok_or_else(none)?;
        let adapter = self.input_adapters.get(name).ok_or_else(|| Error::Input {
            modality: name.clone(),
            problem: "the model has no input adapter for it".to_owned(),
        })?;
        let grid = adapter.grid(name, first.size())?;
        Ok(TokenLayout::new(inputs.keys().map(String::as_str), grid))
    }

    /// The sequence before the first block.
    pub(crate) fn embed(&self, inputs: Inputs) -> Result<Embedded> {
        let (tokens, layout) = tokenise(&self.input_adapters, inputs)?;
        let sequence = with_global_tokens(tokens, &self.global_tokens);
        Ok(Embedded { sequence, layout })
    }

    /// Returns the heads' input from the outputs of all blocks.
    pub(crate) fn output(&self, embedded: &Embedded, layers: Vec<Tensor<3>>) -> EncoderOutput {
        let patch = self.config.patch_size;
        let grid = embedded.layout.grid;
        EncoderOutput {
            layers,
            layout: embedded.layout.clone(),
            num_global_tokens: self.config.num_global_tokens,
            image_size: Size::new(grid.height * patch, grid.width * patch),
        }
    }

    /// The predictions of all heads from one pass of the encoder, by task.
    ///
    /// # Errors
    /// If a head cannot work on these inputs; see [`Head::forward`].
    pub fn forward_heads(
        &self,
        output: &EncoderOutput,
        phase: &mut Phase<'_>,
    ) -> Result<IndexMap<String, Prediction>> {
        self.output_adapters
            .iter()
            .map(|(name, head)| Ok((name.to_owned(), head.forward(output, phase)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output_adapters::LightConfig;

    fn config() -> MultiVitConfig {
        let head = LightConfig { num_classes: 1, hooks: vec![0], width: 8, depth: 1 };
        MultiVitConfig {
            encoder: EncoderConfig::new(16, 1, 2),
            patch_size: 8,
            image_size: Size::new(16, 16),
            num_global_tokens: 1,
            inputs: vec![Modality::continuous("rgb", 3)],
            heads: vec![TaskHead {
                name: "depth".to_owned(),
                main_tasks: vec!["rgb".to_owned()],
                head: HeadConfig::Light(head),
            }],
            tables: NonSquareTables::RowColumn,
        }
    }

    #[test]
    fn claimed_sizes_are_refused_before_anything_is_built() {
        let says = |config: &MultiVitConfig| {
            MultiVit::new(config, &Device::flex()).map(drop).unwrap_err().to_string()
        };
        assert!(MultiVit::new(&config(), &Device::flex()).is_ok());
        let mut deep = config();
        deep.encoder.depth = usize::MAX;
        assert!(says(&deep).contains("blocks, and at most 1024"), "{}", says(&deep));
        let mut wide = config();
        (wide.encoder.width, wide.encoder.heads) = (1 << 40, 1);
        assert!(says(&wide).contains("dimensions"), "{}", says(&wide));
        let mut hidden = config();
        hidden.encoder.mlp_ratio = 1e30;
        assert!(says(&hidden).contains("dimensions"), "{}", says(&hidden));
        let mut large = config();
        large.image_size = Size::new(8 << 40, 8 << 40);
        assert!(says(&large).contains("table of positions"), "{}", says(&large));
        let mut head = config();
        let light = LightConfig { num_classes: 1, hooks: vec![0], width: 8, depth: 1 << 50 };
        head.heads[0].head = HeadConfig::Light(light);
        assert!(says(&head).contains("head `depth`"), "{}", says(&head));
    }
}
