//! The light head; see [`multimae::output_adapters::LightHead`].

use multimae::modality::Size;
use multimae::output_adapters::LightConfig;

use super::HeadInput;
use crate::onnx::graph::{Graph, Value};
use crate::onnx::ops::{Convolution, Sampling};
use crate::{Error, Result};

const POINT: Convolution = Convolution { stride: 1, padding: 0, groups: 1 };

impl Graph<'_> {
    pub(super) fn light(&mut self, config: &LightConfig, input: &HeadInput<'_>) -> Result<Value> {
        let name = input.name();
        let mut sum: Option<Value> = None;
        for (index, hook) in config.hooks.iter().enumerate() {
            let tokens = self.main_tokens(input, input.layer(*hook)?)?;
            let of_hook = format!("{name}.inputs.{index}");
            let tokens = self.layer_norm(&format!("{of_hook}.norm"), &tokens)?;
            let tokens = self.linear(&format!("{of_hook}.linear"), &tokens)?;
            sum = Some(match sum {
                Some(sum) => self.add(&sum, &tokens),
                None => tokens,
            });
        }
        let Some(sum) = sum else {
            return Err(Error::Request(format!("head `{}` has no hook", input.head.name)));
        };
        let mut x = self.tokens_to_maps(&sum, input.grid)?;
        for index in 0..config.depth {
            x = self.light_block(&format!("{name}.blocks.{index}"), &x)?;
        }
        let maps = self.conv(&format!("{name}.output"), &x, POINT)?;
        self.resize(&maps, input.image, Sampling::Bilinear)
    }

    fn light_block(&mut self, name: &str, x: &Value) -> Result<Value> {
        self.at(name);
        let size = Size::new(2 * x.extent(2), 2 * x.extent(3));
        let x = self.resize(x, size, Sampling::Bilinear)?;
        let sizes = Convolution { groups: x.extent(1), ..Convolution::same(3) };
        let y = self.conv(&format!("{name}.depthwise"), &x, sizes)?;
        let y = self.gelu(&y)?;
        let y = self.conv(&format!("{name}.pointwise"), &y, POINT)?;
        Ok(self.add(&x, &y))
    }
}
