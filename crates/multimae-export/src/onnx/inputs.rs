//! Inputs of the graph, and the sequence of tokens that the encoder begins with.

use multimae::burn::tensor::{Device, Tensor};
use multimae::interpolate::Interpolation;
use multimae::modality::{Modality, ModalityKind, Size};
use multimae::positions::table_tokens;
use multimae_data::Encoding;
use multimae_infer::saved_model::InputModality;

use super::graph::{Attribute, Extent, Graph, Value};
use super::ops::Convolution;
use super::proto::data_type;
use super::tensors::FLOAT;
use crate::{Error, Result};

/// An input and what the graph has made of it.
#[derive(Debug)]
pub(super) struct InputValues {
    /// The modality.
    pub(super) name: String,
    /// Real values, or the embeddings of classes, `(B, C, h, w)`.
    pub(super) maps: Value,
    /// Patches without positions, `(B, N, width)`.
    pub(super) projected: Value,
    /// With positions.
    pub(super) tokens: Value,
    /// Side of a patch in the modality's own pixels.
    pub(super) patch: usize,
}

/// The pixels that a graph takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PixelInput {
    /// Normalised values, channels first.
    #[default]
    Normalised,
    /// Bytes of RGB, channels last; the graph normalises them.
    Bytes,
}

/// Everything that an input depends on besides its modality.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputContext<'a> {
    /// Side of a patch at full resolution.
    pub(super) patch_size: usize,
    /// Size of the image at full resolution.
    pub(super) size: Size,
    /// The pixels of colour images.
    pub(super) pixels: PixelInput,
    /// The modality as data, where it is known.
    pub(super) card: Option<&'a InputModality>,
}

impl Graph<'_> {
    /// An input of a modality under a name, and its tokens.
    pub(super) fn modality(
        &mut self,
        modality: &Modality,
        name: &str,
        context: InputContext<'_>,
    ) -> Result<InputValues> {
        let size = own_size(modality, context.size)?;
        let adapter = format!("input_adapters.{}", modality.name);
        let (maps, positions) = match &modality.kind {
            ModalityKind::Continuous { channels } => {
                (self.pixels(name, *channels, size, context)?, Interpolation::Bicubic)
            }
            ModalityKind::Categorical { classes, .. } => {
                (self.classes(name, &adapter, *classes, size)?, Interpolation::Bilinear)
            }
        };
        let patch = modality.patch(context.patch_size)?;
        let sizes = Convolution { stride: patch, padding: 0, groups: 1 };
        let projected = self.conv(&format!("{adapter}.proj"), &maps, sizes)?;
        let projected = self.maps_to_tokens(&projected)?;
        let grid = context.size.grid(context.patch_size)?;
        let table = self.positions(&format!("{adapter}.pos_emb"), grid, positions)?;
        let tokens = self.add(&projected, &table);
        Ok(InputValues { name: modality.name.clone(), maps, projected, tokens, patch })
    }

    /// A table of positions at a grid as a constant `(1, N, width)`.
    pub(super) fn positions(
        &mut self,
        name: &str,
        grid: Size,
        method: Interpolation,
    ) -> Result<Value> {
        let table = Tensor::<4>::from_data(self.data(name)?.clone(), &Device::default());
        let tokens = table_tokens(table, grid, method);
        self.at(name).constant("table", &tokens.into_data())
    }

    fn pixels(
        &mut self,
        name: &str,
        channels: usize,
        size: Size,
        context: InputContext<'_>,
    ) -> Result<Value> {
        let (height, width) = (Extent::Of(size.height), Extent::Of(size.width));
        let encoding = context.card.map(|input| &input.data.encoding);
        let batch = self.batch();
        let shape = vec![batch, Extent::Of(channels), height, width];
        match (context.pixels, encoding) {
            (PixelInput::Bytes, Some(Encoding::Color { mean, std })) => {
                let rows = vec![batch, height, width, Extent::Of(channels)];
                let about = "RGB, 0 to 255";
                let bytes = self.input(name, rows, data_type::UINT8, about)?;
                self.at(name);
                let to = vec![("to", Attribute::Int(FLOAT.into()))];
                let numbers = self.node("Cast", &[&bytes], to, bytes.shape.clone());
                let maps = self.transpose(&numbers, &[0, 3, 1, 2]);
                let scale: Vec<f32> = std.iter().map(|std| 1.0 / (255.0 * std)).collect();
                let shift: Vec<f32> = mean.iter().zip(std).map(|(m, s)| -m / s).collect();
                self.affine(&maps, &scale, &shift)
            }
            (_, Some(Encoding::Color { mean, std })) => {
                let about =
                    format!("RGB, (value / 255 - mean) / std with mean {mean:?}, std {std:?}");
                self.input(name, shape, FLOAT, &about)
            }
            _ => {
                self.input(name, shape, FLOAT, "values as the model card says; invalid ones are 0")
            }
        }
    }

    /// Class indices as maps of their embeddings.
    fn classes(&mut self, name: &str, adapter: &str, classes: usize, size: Size) -> Result<Value> {
        let (height, width) = (Extent::Of(size.height), Extent::Of(size.width));
        let shape = vec![self.batch(), height, width];
        let about = format!("class indices, 0 to {}", classes.saturating_sub(1));
        let labels = self.input(name, shape, data_type::INT64, &about)?;
        let table = self.weight(&format!("{adapter}.class_emb.weight"))?;
        self.at(adapter);
        let shape = vec![labels.shape[0], height, width, table.shape[1]];
        let axis = vec![("axis", Attribute::Int(0))];
        let vectors = self.node("Gather", &[&table, &labels], axis, shape);
        Ok(self.transpose(&vectors, &[0, 3, 1, 2]))
    }

    /// The tokens of all inputs, and the global tokens behind them.
    pub(super) fn sequence(&mut self, inputs: &[InputValues]) -> Result<Value> {
        let tokens: Vec<Value> = inputs.iter().map(|input| input.tokens.clone()).collect();
        let sequence = self.concat(&tokens, 1);
        self.with_global_tokens(sequence)
    }

    /// A sequence with the global tokens behind it.
    pub(super) fn with_global_tokens(&mut self, sequence: Value) -> Result<Value> {
        const GLOBAL: &str = "global_tokens";
        if self.data(GLOBAL)?.shape()[1] == 0 {
            return Ok(sequence);
        }
        let global = self.at(GLOBAL).weight(GLOBAL)?;
        let global = self.for_each_sample(&global)?;
        Ok(self.concat(&[sequence, global], 1))
    }
}

/// The size of a modality's own maps.
fn own_size(modality: &Modality, size: Size) -> Result<Size> {
    let divides = |side: usize| side.is_multiple_of(modality.stride.max(1));
    if modality.stride == 0 || !divides(size.height) || !divides(size.width) {
        return Err(Error::Request(format!(
            "an image of {size} has no maps at 1/{} of it, which `{}` is stored at; choose another --size",
            modality.stride, modality.name
        )));
    }
    Ok(Size::new(size.height / modality.stride, size.width / modality.stride))
}
