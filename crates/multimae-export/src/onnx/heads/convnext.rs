//! The ConvNeXt head; see [`multimae::output_adapters::ConvNeXtHead`].

use multimae::modality::Size;
use multimae::output_adapters::{ConvNeXtConfig, Upsampling};

use super::HeadInput;
use crate::Result;
use crate::onnx::graph::{Extent, Graph, Value};
use crate::onnx::ops::{Convolution, Sampling};

const POINT: Convolution = Convolution { stride: 1, padding: 0, groups: 1 };
const KERNEL: usize = 7;

impl Graph<'_> {
    pub(super) fn convnext(
        &mut self,
        config: &ConvNeXtConfig,
        input: &HeadInput<'_>,
    ) -> Result<Value> {
        let name = input.name();
        let tokens = self.main_tokens(input, input.last()?)?;
        let tokens = self.linear(&format!("{name}.proj_dec"), &tokens)?;
        let mut x = self.spread(&tokens, input.grid, config.preds_per_patch.isqrt())?;
        for index in 0..config.depth {
            x = self.convnext_block(&format!("{name}.blocks.{index}"), &x)?;
        }
        let x = self.conv(&format!("{name}.final_layer"), &x, POINT)?;
        let rule = match config.interpolate_mode {
            Upsampling::Bilinear => Sampling::Bilinear,
            Upsampling::Nearest => Sampling::Nearest,
        };
        self.resize(&x, input.image, rule)
    }

    /// Tokens as maps of `side` by `side` cells per patch.
    fn spread(&mut self, tokens: &Value, grid: Size, side: usize) -> Result<Value> {
        let (batch, channels) = (tokens.shape[0], tokens.extent(2) / (side * side));
        let cells = [grid.height, grid.width, side, side, channels].map(Extent::Of);
        let [rows, columns, down, right, channels] = cells;
        let apart = self.reshape(tokens, &[batch, rows, columns, down, right, channels])?;
        let apart = self.transpose(&apart, &[0, 5, 1, 3, 2, 4]);
        let sides = [grid.height * side, grid.width * side].map(Extent::Of);
        self.reshape(&apart, &[batch, channels, sides[0], sides[1]])
    }

    fn convnext_block(&mut self, name: &str, x: &Value) -> Result<Value> {
        let sizes = Convolution { groups: x.extent(1), ..Convolution::same(KERNEL) };
        let maps = self.conv(&format!("{name}.dwconv"), x, sizes)?;
        let pixels = self.transpose(&maps, &[0, 2, 3, 1]);
        let normed = self.layer_norm(&format!("{name}.norm"), &pixels)?;
        let hidden = self.linear(&format!("{name}.pwconv1"), &normed)?;
        let hidden = self.gelu(&hidden)?;
        let y = self.linear(&format!("{name}.pwconv2"), &hidden)?;
        self.at(name);
        let y = self.transpose(&y, &[0, 3, 1, 2]);
        Ok(self.add(x, &y))
    }
}
