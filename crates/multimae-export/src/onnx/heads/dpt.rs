//! The DPT head; see [`multimae::output_adapters::DptHead`].

use multimae::modality::Size;
use multimae::output_adapters::{DptConfig, DptOutput};

use super::HeadInput;
use crate::onnx::graph::{Graph, Value};
use crate::onnx::ops::{Convolution, Sampling};
use crate::{Error, Result};

const POINT: Convolution = Convolution { stride: 1, padding: 0, groups: 1 };
const THREE: Convolution = Convolution { stride: 1, padding: 1, groups: 1 };
const DOWN: Convolution = Convolution { stride: 2, padding: 1, groups: 1 };

impl Graph<'_> {
    pub(super) fn dpt(&mut self, config: &DptConfig, input: &HeadInput<'_>) -> Result<Value> {
        let (name, grid) = (input.name(), input.grid);
        if !grid.height.is_multiple_of(2) || !grid.width.is_multiple_of(2) {
            return Err(Error::Request(format!(
                "head `{}` is a DPT head, which needs an even number of patches on each side, and {} has a \
                 grid of {grid}; choose another --size",
                input.head.name, input.image
            )));
        }
        let mut maps = Vec::new();
        for (index, hook) in config.hooks.into_iter().enumerate() {
            maps.push(self.reassembled(&name, index, (hook, input))?);
        }
        let mut fused: Option<Value> = None;
        for index in (0..4).rev() {
            let layer = format!("{name}.scratch.layer{}_rn", index + 1);
            let finer = self.conv(&layer, &maps[index], THREE)?;
            let block = format!("{name}.scratch.refinenet{}", index + 1);
            fused = Some(self.fusion(&block, fused, finer)?);
        }
        let Some(fused) = fused else {
            return Err(Error::Request(format!("head `{}` has no layers", input.head.name)));
        };
        let maps = self.dpt_output(&format!("{name}.head"), fused, config.head_type)?;
        self.resize(&maps, input.image, Sampling::Bilinear)
    }

    /// The maps of a block at the resolution of their place in the pyramid.
    fn reassembled(
        &mut self,
        name: &str,
        index: usize,
        (hook, input): (usize, &HeadInput<'_>),
    ) -> Result<Value> {
        let layer = format!("{name}.act_{}_postprocess", index + 1);
        self.at(&layer);
        let tokens = self.main_tokens(input, input.layer(hook)?)?;
        let maps = self.tokens_to_maps(&tokens, input.grid)?;
        let maps = self.conv(&format!("{layer}.0"), &maps, POINT)?;
        let second = format!("{layer}.1");
        match index {
            0 | 1 => self.upconv(&second, &maps),
            3 => self.conv(&second, &maps, DOWN),
            _ => Ok(maps),
        }
    }

    /// A coarse map and the next finer one, at twice the size of the latter.
    fn fusion(&mut self, name: &str, coarse: Option<Value>, finer: Value) -> Result<Value> {
        let sum = match coarse {
            Some(coarse) => {
                let finer = self.residual_unit(&format!("{name}.resConfUnit1"), &finer)?;
                self.add(&coarse, &finer)
            }
            None => finer,
        };
        let maps = self.residual_unit(&format!("{name}.resConfUnit2"), &sum)?;
        let maps = self.doubled(&maps)?;
        self.conv(&format!("{name}.out_conv"), &maps, POINT)
    }

    fn residual_unit(&mut self, name: &str, x: &Value) -> Result<Value> {
        self.at(name);
        let y = self.unary("Relu", x);
        let y = self.conv(&format!("{name}.conv1"), &y, THREE)?;
        let y = self.unary("Relu", &y);
        let y = self.conv(&format!("{name}.conv2"), &y, THREE)?;
        Ok(self.add(x, &y))
    }

    fn doubled(&mut self, maps: &Value) -> Result<Value> {
        let size = Size::new(2 * maps.extent(2), 2 * maps.extent(3));
        self.resize(maps, size, Sampling::BilinearAlignCorners)
    }

    fn dpt_output(&mut self, name: &str, fused: Value, output: DptOutput) -> Result<Value> {
        let (first, last) = (format!("{name}.0"), format!("{name}.4"));
        match output {
            DptOutput::Regression => {
                let x = self.conv(&first, &fused, THREE)?;
                let x = self.doubled(&x)?;
                let x = self.conv(&format!("{name}.2"), &x, THREE)?;
                let x = self.unary("Relu", &x);
                self.conv(&last, &x, POINT)
            }
            DptOutput::Semseg => {
                let x = self.conv(&first, &fused, THREE)?;
                let x = self.unary("Relu", &x);
                let x = self.conv(&last, &x, POINT)?;
                self.doubled(&x)
            }
        }
    }
}
