//! `multimae export`.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use multimae::modality::Size;
use multimae_export::onnx::{
    OnnxOptions, OutputForm, PixelInput, ReconstructionOptions, WeightStorage,
};
use multimae_export::{Card, ExportFolder, RunScores, onnx, peft, pretrained, timm, transformers};

use crate::model::Model;
use crate::terminal;

/// Write a model in a format of another tool.
///
/// onnx: any fine-tuned model as a graph for ONNX Runtime, OpenVINO, TensorRT or a browser; of a pre-trained
/// model, a graph that reconstructs all patches from some. transformers: RGB with a DPT head, for from_pretrained
/// and pipeline. timm: the encoder on RGB, for create_model. peft: LoRA and tuned norms, on that
/// encoder; norms need the backbone as --model and the tuned part as --adapter.
///
/// LoRA and SSF are merged into the weights. A part that a format cannot express is an error. The folder has a
/// model card and an example of inputs and outputs.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Export {
    /// Format to write
    #[arg(long, value_enum)]
    to: Format,
    #[command(flatten)]
    model: Model,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// onnx, transformers: height and width of the image; those of the training if absent. transformers: a square
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<Size>,
    /// onnx: number of samples; any if absent
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// onnx: input modalities, with commas between; all of the model's if absent
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    inputs: Vec<String>,
    /// onnx: pixels of colour images: normalised numbers, channels first; or bytes, channels last, which the
    /// graph normalises
    #[arg(long, value_enum, default_value_t)]
    pixels: Pixels,
    /// onnx: outputs: metres and logits; metres and class indices; or the heads' outputs as they are
    #[arg(long, value_enum, default_value_t)]
    outputs: Outputs,
    /// onnx: weights inside the graph's file, in 32 or 16 bits; or beside it, in model.safetensors
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
    /// onnx: another name of an input or output, such as rgb=pixel_values; repeatable
    #[arg(long = "name", value_name = "OLD=NEW", value_parser = renaming)]
    names: Vec<(String, String)>,
    /// transformers: task of the folder, if the model has several
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Licence of the weights in the model card, by its name on model hubs
    #[arg(long, value_name = "NAME")]
    license: Option<String>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// A format by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Onnx,
    Transformers,
    Timm,
    Peft,
}

/// The pixels of colour images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Pixels {
    #[default]
    Normalised,
    Bytes,
}

/// The outputs of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Outputs {
    #[default]
    Decoded,
    Classes,
    Raw,
}

/// The storage of a graph's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Weights {
    #[default]
    Inside,
    Half,
    Beside,
}

impl Export {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.check()?;
        let folder = match self.model.is_fine_tuned()? {
            true => self.fine_tuned()?,
            false => self.pretrained()?,
        };
        folder.write(&self.out, self.force)?;
        for (path, content) in folder.files() {
            let bytes = indicatif::HumanBytes(content.len() as u64);
            terminal::line(&format!("{} ({bytes})", self.out.join(path).display()));
        }
        Ok(())
    }

    /// Options of one format are wrong with another.
    fn check(&self) -> anyhow::Result<()> {
        let onnx = self.to == Format::Onnx;
        let given = [
            ("--batch", self.batch.is_some()),
            ("--inputs", !self.inputs.is_empty()),
            ("--pixels", self.pixels != Pixels::default()),
            ("--outputs", self.outputs != Outputs::default()),
            ("--weights", self.weights != Weights::default()),
            ("--name", !self.names.is_empty()),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, given)| *given && !onnx) {
            bail!("{option} is an option of --to onnx; leave it out");
        }
        if self.size.is_some() && matches!(self.to, Format::Timm | Format::Peft) {
            bail!("--size is an option of --to onnx and --to transformers; leave it out");
        }
        if self.task.is_some() && self.to != Format::Transformers {
            bail!("--task is an option of --to transformers; leave it out");
        }
        Ok(())
    }

    fn card(&self) -> anyhow::Result<Card> {
        let name = self.out.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Card {
            folder: name.unwrap_or_else(|| "model".to_owned()),
            license: self.license.clone(),
            scores: RunScores::beside(self.model.result())?,
        })
    }

    fn fine_tuned(&self) -> anyhow::Result<ExportFolder> {
        let (saved, card) = (self.model.saved()?, self.card()?);
        Ok(match self.to {
            Format::Onnx => onnx::export_folder(&saved, &self.onnx_options(), &card)?,
            Format::Transformers => {
                transformers::export(&saved, (self.task.as_deref(), self.size), &card)?
            }
            Format::Timm => timm::export(&saved, &card)?,
            Format::Peft => peft::export(&saved, self.model.backbone_weights()?.as_ref(), &card)?,
        })
    }

    fn pretrained(&self) -> anyhow::Result<ExportFolder> {
        let model = self.model.pretrained()?;
        match self.to {
            Format::Onnx => Ok(pretrained::export_folder(&model, self.reconstruction_options()?)?),
            Format::Timm => Ok(timm::export(&pretrained::encoder_of(&model)?, &self.card()?)?),
            Format::Transformers | Format::Peft => bail!(
                "{} is pre-trained and has no heads and no LoRA; finetune it first, or give --to timm for its encoder",
                self.model.model.display()
            ),
        }
    }

    fn onnx_options(&self) -> OnnxOptions {
        OnnxOptions {
            size: self.size,
            batch: self.batch,
            inputs: self.inputs.clone(),
            pixels: match self.pixels {
                Pixels::Normalised => PixelInput::Normalised,
                Pixels::Bytes => PixelInput::Bytes,
            },
            outputs: match self.outputs {
                Outputs::Decoded => OutputForm::Decoded,
                Outputs::Classes => OutputForm::ArgMax,
                Outputs::Raw => OutputForm::Raw,
            },
            weights: self.storage(),
            names: self.names.iter().cloned().collect(),
        }
    }

    fn storage(&self) -> WeightStorage {
        match self.weights {
            Weights::Inside => WeightStorage::Inside,
            Weights::Half => WeightStorage::Half,
            Weights::Beside => WeightStorage::Beside,
        }
    }

    fn reconstruction_options(&self) -> anyhow::Result<ReconstructionOptions> {
        let given = [
            ("--inputs", !self.inputs.is_empty()),
            ("--pixels", self.pixels != Pixels::default()),
            ("--outputs", self.outputs != Outputs::default()),
            ("--name", !self.names.is_empty()),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
            bail!("{option} is of fine-tuned models; the graph of a pre-trained one reconstructs");
        }
        Ok(ReconstructionOptions { size: self.size, batch: self.batch, weights: self.storage() })
    }
}

/// Height and width.
fn size(text: &str) -> Result<Size, String> {
    let sides = text.split_once(['x', 'X']).map(|(h, w)| (h.parse(), w.parse()));
    match sides {
        Some((Ok(height), Ok(width))) if height > 0 && width > 0 => Ok(Size::new(height, width)),
        _ => Err("a height and a width, such as 224x320".to_owned()),
    }
}

/// A name and its replacement.
fn renaming(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => {
            Ok((old.to_owned(), new.to_owned()))
        }
        _ => Err("a name and its replacement, such as rgb=pixel_values".to_owned()),
    }
}
