//! The mask transformer head; see [`multimae::output_adapters::SegmenterHead`].

use multimae::output_adapters::SegmenterConfig;

use super::HeadInput;
use crate::Result;
use crate::onnx::graph::{Graph, Value};
use crate::onnx::layers::Conditioning;
use crate::onnx::ops::Sampling;

/// Tokens shorter than this are divided by it.
const NORM_EPS: f32 = 1e-12;

impl Graph<'_> {
    pub(super) fn segmenter(
        &mut self,
        config: &SegmenterConfig,
        input: &HeadInput<'_>,
    ) -> Result<Value> {
        let name = input.name();
        let tokens = self.main_tokens(input, input.last()?)?;
        let patches = self.linear(&format!("{name}.proj_dec"), &tokens)?;
        let classes = self.at(&name).weight(&format!("{name}.cls_emb"))?;
        let classes = self.for_each_sample(&classes)?;
        let (count, num_classes) = (patches.extent(1), classes.extent(1));
        let mut x = self.concat(&[patches, classes], 1);
        for index in 0..config.depth {
            let block = format!("{name}.blocks.{index}");
            x = self.block(&block, &x, config.heads, &Conditioning::default())?;
        }
        let x = self.layer_norm(&format!("{name}.decoder_norm"), &x)?;
        let patches = self.slice(&x, 1, 0, count)?;
        let patches = self.linear(&format!("{name}.patch_proj"), &patches)?;
        let patches = self.unit_tokens(&patches)?;
        let classes = self.slice(&x, 1, count, num_classes)?;
        let classes = self.linear(&format!("{name}.classes_proj"), &classes)?;
        let classes = self.unit_tokens(&classes)?;
        let classes = self.transpose(&classes, &[0, 2, 1]);
        let masks = self.matmul(&patches, &classes);
        let masks = self.layer_norm(&format!("{name}.mask_norm"), &masks)?;
        let maps = self.tokens_to_maps(&masks, input.grid)?;
        self.resize(&maps, input.image, Sampling::Bilinear)
    }

    /// Tokens of unit length.
    fn unit_tokens(&mut self, tokens: &Value) -> Result<Value> {
        let length = self.reduced("ReduceL2", tokens, 2);
        let least = self.scalar(NORM_EPS)?;
        let length = self.like_first("Max", &length, &least);
        Ok(self.div(tokens, &length))
    }
}
