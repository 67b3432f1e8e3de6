//! The models of cases.

use multimae::burn::tensor::Device;
use multimae::encoder::EncoderConfig;
use multimae::losses::{Objective, ReconstructionLoss, TaskObjective};
use multimae::modality::{Modality, ModalityKind, Size};
use multimae::model::{MultiMae, MultiMaeConfig};
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::{
    ConvNeXtConfig, DecoderConfig, DptConfig, DptOutput, HeadConfig, OutputTask, TaskHead,
};
use multimae::peft::{PeftConfig, PeftModel};
use multimae::positions::NonSquareTables;
use multimae::prompts::PromptConfig;

use crate::case::{BenchmarkCase, Decoders, Heads};
use crate::{Error, Result};

/// Labels are stored at a quarter of the image's resolution.
pub(crate) const LABEL_STRIDE: usize = 4;

fn missing(what: &str) -> Error {
    multimae::Error::Config(format!("the case says nothing of {what}")).into()
}

impl BenchmarkCase {
    fn encoder(&self) -> EncoderConfig {
        EncoderConfig::new(self.sizes.dim, self.sizes.depth, self.sizes.heads)
    }

    /// The size of the images.
    #[must_use]
    pub fn size(&self) -> Size {
        Size::new(self.image[0], self.image[1])
    }

    /// The modalities that go in.
    #[must_use]
    pub fn modalities(&self) -> Vec<Modality> {
        let modality = |name: &String| match name.as_str() {
            "depth" => Modality::continuous(name, 1),
            "semseg" => Modality {
                kind: ModalityKind::Categorical {
                    classes: self.classes,
                    dim_class_emb: self.dim_class_emb,
                    padding: false,
                },
                ..Modality::categorical(name, self.classes, LABEL_STRIDE)
            },
            _ => Modality::continuous(name, 3),
        };
        self.in_domains.iter().map(modality).collect()
    }

    pub(crate) fn multimae_config(&self) -> Result<MultiMaeConfig> {
        let Decoders { dec_dim, dec_depth, dec_heads, .. } =
            self.decoders.ok_or_else(|| missing("decoders"))?;
        let inputs = self.modalities();
        let rgb = inputs.iter().find(|modality| modality.name == "rgb").cloned();
        let modality = rgb.ok_or_else(|| missing("rgb"))?;
        let norm_rgb = OutputTask { name: "norm_rgb".to_owned(), modality };
        Ok(MultiMaeConfig {
            encoder: self.encoder(),
            patch_size: self.patch,
            image_size: self.size(),
            num_global_tokens: self.global_tokens,
            outputs: inputs.iter().cloned().map(OutputTask::of).chain([norm_rgb]).collect(),
            inputs,
            decoder: DecoderConfig {
                width: dec_dim,
                depth: dec_depth,
                heads: dec_heads,
                ..DecoderConfig::default()
            },
            tables: NonSquareTables::default(),
        })
    }

    /// A model of zeros.
    pub(crate) fn multimae(&self, device: &Device) -> Result<MultiMae> {
        Ok(MultiMae::new(&self.multimae_config()?, device)?)
    }

    /// The published losses of pre-training.
    pub(crate) fn objective(&self) -> Result<Objective> {
        let config = self.multimae_config()?;
        let task = |task: &OutputTask| {
            let loss = match task.name.as_str() {
                "semseg" => ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: None },
                "depth" => ReconstructionLoss::L1 { norm_pix: false },
                name => ReconstructionLoss::Mse { norm_pix: name == "norm_rgb" },
            };
            Ok(TaskObjective {
                name: task.name.clone(),
                target: task.modality.name.clone(),
                loss,
                patch: task.modality.patch(self.patch)?,
            })
        };
        Ok(Objective {
            tasks: config.outputs.iter().map(task).collect::<Result<_>>()?,
            loss_on_unmasked: false,
            ignore_nan_samples: false,
        })
    }

    fn heads(&self) -> Result<Vec<TaskHead>> {
        let Heads {
            hooks,
            layer_dims,
            feature_dim,
            head_dim,
            head_depth,
            preds_per_patch,
            num_classes,
        } = self.task_heads.ok_or_else(|| missing("heads"))?;
        let dpt = DptConfig {
            hooks,
            layer_dims,
            feature_dim,
            ..DptConfig::new(1, DptOutput::Regression)
        };
        let convnext = ConvNeXtConfig {
            embed_dim: head_dim,
            preds_per_patch,
            depth: head_depth,
            ..ConvNeXtConfig::new(num_classes)
        };
        let head = |name: &str, head: HeadConfig| TaskHead {
            name: name.to_owned(),
            main_tasks: self.in_domains.clone(),
            head,
        };
        Ok(vec![
            head("depth", HeadConfig::Dpt(dpt)),
            head("semseg", HeadConfig::ConvNeXt(convnext)),
        ])
    }

    /// A model of zeros with heads, and with prompts if the case has them.
    pub(crate) fn peft_model(&self, device: &Device) -> Result<PeftModel> {
        let config = MultiVitConfig {
            encoder: self.encoder(),
            patch_size: self.patch,
            image_size: self.size(),
            num_global_tokens: self.global_tokens,
            inputs: self.modalities(),
            heads: self.heads()?,
            tables: NonSquareTables::default(),
        };
        let peft = PeftConfig { prompts: self.prompts()?, ..PeftConfig::default() };
        Ok(PeftModel::new(&config, &peft, device)?)
    }

    fn prompts(&self) -> Result<Option<PromptConfig>> {
        let Some(count) = self.prompt_length else { return Ok(None) };
        let prompts = serde_json::json!({"kind": "deep", "count": count});
        serde_json::from_value(prompts)
            .map(Some)
            .map_err(|error| multimae::Error::Config(error.to_string()).into())
    }
}
