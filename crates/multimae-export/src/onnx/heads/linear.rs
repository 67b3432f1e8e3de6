//! The linear head of image classes; see [`multimae::output_adapters::LinearHead`].

use multimae::output_adapters::LinearConfig;

use super::HeadInput;
use crate::Result;
use crate::onnx::graph::{Graph, Value};

impl Graph<'_> {
    pub(super) fn linear_head(
        &mut self,
        config: &LinearConfig,
        input: &HeadInput<'_>,
    ) -> Result<Value> {
        let (name, tokens) = (input.name(), input.last()?);
        self.at(&name);
        let summary = match config.use_mean_pooling {
            true => self.mean(tokens, 1),
            false => self.slice(tokens, 1, tokens.extent(1) - 1, 1)?,
        };
        let summary = self.reshape(&summary, &[summary.shape[0], summary.shape[2]])?;
        let summary = self.layer_norm(&format!("{name}.norm"), &summary)?;
        self.linear(&format!("{name}.head"), &summary)
    }
}
