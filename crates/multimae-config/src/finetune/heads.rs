//! Heads with the sizes of a recipe.

use multimae::output_adapters::{
    ConvNeXtConfig, DptConfig, DptOutput, HeadConfig, LightConfig, LinearConfig, SegmenterConfig,
    Upsampling,
};
use serde_json::Map;

use super::FinetuneRecipe;
use crate::choices::{HeadChoice, InterpolateMode};
use crate::heads::{HeadEntry, HeadOutput, HeadRecipe};
use crate::{Error, Result};

impl FinetuneRecipe {
    /// Returns the head of a task with a given number of outputs: as `heads` states it, or else of
    /// the kind that follows from `output_adapter` and the task's output, with the recipe's sizes.
    ///
    /// # Errors
    /// If `heads` gives sizes without a kind, and the kind that is decided has them not.
    pub fn head(&self, task: &str, predicts: HeadOutput, outputs: usize) -> Result<HeadConfig> {
        let kind = self.usual_kind(predicts);
        let empty = HeadEntry::Sizes(Map::new());
        let head = match self.heads.0.get(task).unwrap_or(&empty) {
            HeadEntry::Stated(head) => head.clone(),
            HeadEntry::Sizes(sizes) => HeadRecipe::of_kind(kind, sizes)
                .map_err(|problem| Error::Recipe(format!("head of `{task}`: {problem}")))?,
        };
        Ok(head.complete(self, predicts, outputs))
    }

    fn usual_kind(&self, predicts: HeadOutput) -> &'static str {
        let by_task = match predicts {
            HeadOutput::Classes => return "linear",
            HeadOutput::Values => HeadChoice::Dpt,
            HeadOutput::Labels => HeadChoice::ConvNeXt,
        };
        let joint = self.tasks.out_domains.0.len() > 1;
        let choice = match self.output_adapter {
            Some(HeadChoice::Dpt | HeadChoice::ConvNeXt) | None if joint => by_task,
            Some(choice) => choice,
            None => by_task,
        };
        choice.word()
    }
}

impl HeadRecipe {
    /// Returns the head with a given number of outputs: its own sizes, and where it has none those
    /// of the recipe or else the published ones.
    #[must_use]
    pub fn complete(
        self,
        recipe: &FinetuneRecipe,
        predicts: HeadOutput,
        outputs: usize,
    ) -> HeadConfig {
        let (dim, depth) = (recipe.arch.decoder_dim, recipe.arch.decoder_depth);
        match self {
            Self::Linear(own) => HeadConfig::Linear(LinearConfig {
                num_classes: outputs,
                use_mean_pooling: own.use_mean_pooling.unwrap_or(recipe.use_mean_pooling),
            }),
            Self::Segmenter(own) => {
                let published = SegmenterConfig::new(outputs);
                HeadConfig::Segmenter(SegmenterConfig {
                    num_classes: outputs,
                    depth: own.depth.unwrap_or(depth),
                    heads: own.heads.unwrap_or(published.heads),
                    embed_dim: own.embed_dim.unwrap_or(dim),
                    mlp_ratio: own.mlp_ratio.unwrap_or(published.mlp_ratio),
                    drop_path: own.drop_path.unwrap_or(recipe.drop_path_decoder),
                })
            }
            Self::ConvNeXt(own) => HeadConfig::ConvNeXt(ConvNeXtConfig {
                num_classes: outputs,
                embed_dim: own.embed_dim.unwrap_or(dim),
                preds_per_patch: own.preds_per_patch.unwrap_or(recipe.decoder_preds_per_patch),
                depth: own.depth.unwrap_or(depth),
                interpolate_mode: own
                    .interpolate_mode
                    .unwrap_or_else(|| recipe.decoder_interpolate_mode.into()),
            }),
            Self::Dpt(own) => {
                let usual = match predicts {
                    HeadOutput::Labels => DptOutput::Semseg,
                    HeadOutput::Values | HeadOutput::Classes => DptOutput::Regression,
                };
                let published = DptConfig::new(outputs, own.head_type.unwrap_or(usual));
                HeadConfig::Dpt(DptConfig {
                    hooks: own.hooks.unwrap_or_else(|| quarters(recipe)),
                    layer_dims: own.layer_dims.unwrap_or(published.layer_dims),
                    feature_dim: own.feature_dim.unwrap_or(published.feature_dim),
                    ..published
                })
            }
            Self::Light(own) => {
                let published = LightConfig::new(outputs);
                HeadConfig::Light(LightConfig {
                    num_classes: outputs,
                    hooks: own.hooks.unwrap_or_else(|| quarters(recipe).to_vec()),
                    width: own.width.unwrap_or(published.width),
                    depth: own.depth.unwrap_or(published.depth),
                })
            }
        }
    }
}

/// The published blocks 2, 5, 8 and 11 of 12 are the ends of the quarters.
fn quarters(recipe: &FinetuneRecipe) -> [usize; 4] {
    let depth = recipe.arch.model.config.depth;
    [1, 2, 3, 4].map(|quarter| (depth * quarter / 4).max(1) - 1)
}

impl From<InterpolateMode> for Upsampling {
    fn from(mode: InterpolateMode) -> Self {
        match mode {
            InterpolateMode::Bilinear => Self::Bilinear,
            InterpolateMode::Nearest => Self::Nearest,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::heads::Heads;
    use crate::keys::RecipeValue as _;

    fn recipe(heads: &Value) -> FinetuneRecipe {
        FinetuneRecipe { heads: Heads::read(heads).unwrap(), ..FinetuneRecipe::default() }
    }

    #[test]
    fn own_sizes_come_before_those_of_the_recipe() {
        let heads =
            json!({ "depth": { "kind": "convnext", "depth": 1, "interpolate_mode": "nearest" } });
        let head = recipe(&heads).head("depth", HeadOutput::Values, 1).unwrap();
        let HeadConfig::ConvNeXt(config) = head else { panic!("{head:?}") };
        assert_eq!((config.depth, config.embed_dim, config.num_classes), (1, 6144, 1));
        assert_eq!(config.interpolate_mode, Upsampling::Nearest);
        let head = recipe(&json!(null)).head("depth", HeadOutput::Values, 1).unwrap();
        assert_eq!(head, HeadConfig::Dpt(DptConfig::new(1, DptOutput::Regression)));
    }

    #[test]
    fn sizes_without_a_kind_are_those_of_the_usual_one() {
        let mut recipe = recipe(&json!({ "depth": { "width": 64 } }));
        let error = recipe.head("depth", HeadOutput::Values, 1).unwrap_err().to_string();
        assert!(error.contains("head of `depth`: a dpt head has no `width`"), "{error}");
        recipe.output_adapter = Some(HeadChoice::Light);
        let head = recipe.head("depth", HeadOutput::Values, 1).unwrap();
        assert_eq!(head, HeadConfig::Light(LightConfig { width: 64, ..LightConfig::new(1) }));
    }
}
