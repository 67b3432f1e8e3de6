//! The heads as nodes, one file per kind.

mod convnext;
mod dpt;
mod light;
mod linear;
mod segmenter;

use multimae::modality::Size;
use multimae::output_adapters::{HeadConfig, TaskHead};

use super::graph::{Graph, Value};
use crate::{Error, Result};

/// Everything that a head reads.
pub(super) struct HeadInput<'a> {
    /// The head.
    pub(super) head: &'a TaskHead,
    /// The outputs of all blocks, `(B, S + G, width)`.
    pub(super) layers: &'a [Value],
    /// The modalities in the order of their tokens.
    pub(super) modalities: &'a [String],
    /// The grid of tokens of each.
    pub(super) grid: Size,
    /// The size of the image.
    pub(super) image: Size,
}

impl HeadInput<'_> {
    /// The beginning of the names of its parameters.
    fn name(&self) -> String {
        format!("output_adapters.{}", self.head.name)
    }

    fn layer(&self, index: usize) -> Result<&Value> {
        self.layers.get(index).ok_or_else(|| {
            Error::Request(format!(
                "head `{}` reads block {index}, which there is not",
                self.head.name
            ))
        })
    }

    fn last(&self) -> Result<&Value> {
        self.layer(self.layers.len().saturating_sub(1))
    }
}

impl Graph<'_> {
    /// The output of a head: maps `(B, C, H, W)`, or `(B, classes)`.
    pub(super) fn head(&mut self, input: &HeadInput<'_>) -> Result<Value> {
        match &input.head.head {
            HeadConfig::Dpt(config) => self.dpt(config, input),
            HeadConfig::ConvNeXt(config) => self.convnext(config, input),
            HeadConfig::Segmenter(config) => self.segmenter(config, input),
            HeadConfig::Light(config) => self.light(config, input),
            HeadConfig::Linear(config) => self.linear_head(config, input),
        }
    }

    /// The tokens of the main modalities of a layer, side by side in the channels.
    fn main_tokens(&mut self, input: &HeadInput<'_>, layer: &Value) -> Result<Value> {
        let area = input.grid.area();
        let mut parts = Vec::new();
        for name in &input.head.main_tasks {
            let place = input.modalities.iter().position(|modality| modality == name);
            let place = place.ok_or_else(|| {
                Error::Request(format!(
                    "head `{}` reads the tokens of `{name}`, which is not among the inputs of the graph",
                    input.head.name
                ))
            })?;
            parts.push(self.slice(layer, 1, place * area, area)?);
        }
        Ok(self.concat(&parts, 2))
    }
}
