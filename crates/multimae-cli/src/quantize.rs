//! `multimae quantize`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use multimae_config::Override;
use multimae_data::Dataset;
use multimae_infer::predict::{
    FrameSources, InputPath, ModelPredictor, PredictOptions, Predictor as _,
};
use multimae_infer::quantize::{Agreement, LayerError, calibrate, quantize};
use multimae_infer::weights_source::MODEL_FILE;
use multimae_kernels::precision::Precision;
use multimae_report::Table;

use crate::model::Model;
use crate::terminal;

/// The layers of the largest error that are printed.
const LAYERS: usize = 8;

/// Make a fine-tuned model multiply in whole numbers of 8 bits.
///
/// Weights of linear layers and of 3x3 convolutions get a scale per output channel. Large channels of
/// a layer's input are moved in part into its weight, as far as it lowers the error on some frames of
/// the data. Other frames are predicted in both precisions: prints how far they agree. Writes
/// DIR/model.safetensors, which is smaller; predict, evaluate and visualize take DIR as --model.
#[derive(Debug, Args)]
pub(crate) struct Quantize {
    #[command(flatten)]
    model: Model,
    /// An image, a folder of images, or a folder with a folder per modality; or several of
    /// MODALITY=PATH
    #[arg(long, value_name = "PATH", required = true)]
    data: Vec<InputPath>,
    /// Only the frames that PATH/NAME.txt lists
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Frames of the calibration
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    frames: u64,
    /// Other frames, on which both precisions are compared
    #[arg(long, value_name = "N", default_value_t = 32)]
    check: u64,
    /// Another storage of the files than that of the training, for example
    /// modalities.depth.divisor=5000; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Override>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

impl Quantize {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let path = self.out.join(MODEL_FILE);
        if path.exists() && !self.force {
            bail!("{} is there already; give --force to replace it", path.display());
        }
        if !self.model.is_fine_tuned()? {
            let model = self.model.model.display();
            bail!(
                "{model} is no fine-tuned model, and only those predict in 8 bits; finetune it first"
            );
        }
        let device = self.model.device()?;
        if let Err(unsupported) = Precision::Int8.check(&device) {
            bail!(
                "this device has {unsupported}, with which errors are measured; quantise elsewhere"
            );
        }
        let exact = self.model.load(&self.set)?;
        if exact.saved().is_quantised() {
            let model = self.model.model.display();
            bail!("{model} is quantised; give the model that it was quantised from");
        }
        if exact.precision() != Precision::Fp32 {
            bail!("--precision: a model is quantised from fp32; leave the option out");
        }
        let exact = ModelPredictor::new(exact.saved().clone().merged(), device.clone());
        let card = &exact.saved().card;
        let sources = FrameSources::find(&self.data, self.split.as_deref(), card)?;
        let frames = &sources.dataset;
        let given = |name: &&String| frames.modalities().iter().any(|m| m.name == **name);
        let inputs = exact.inputs().iter().filter(given).cloned().collect();
        let options = PredictOptions { inputs, canvas: None, flip: false };
        let (calibrated, checked) = chosen(frames.len(), self.frames as usize, self.check as usize);

        let bar = terminal::bar(calibrated.len() as u64, "frames of the calibration");
        let decoded = calibrated.iter().map(|&index| Ok(frames.decode(index)?));
        let calibration = calibrate(&exact, decoded, &options, || bar.inc(1))?;
        bar.finish_and_clear();
        let quantised = quantize(exact.saved(), &calibration)?;
        let predictor = ModelPredictor::new(quantised.saved, device);
        let agreement = compared(frames, &checked, (&predictor, &exact), &options)?;
        fs_err::create_dir_all(&self.out)?;
        predictor.saved().save(&path).context("writing the model")?;

        let bytes = |path: &std::path::Path| fs_err::metadata(path).map(|data| data.len());
        terminal::result(&format!(
            "{}\n{}\n",
            worst(quantised.layers).markdown(),
            agreement_table(&agreement, checked.len()).markdown()
        ))?;
        terminal::line(&format!(
            "{} ({}); predict, evaluate and visualize take it as --model",
            path.display(),
            indicatif::HumanBytes(bytes(&path)?)
        ));
        Ok(())
    }
}

/// Frames of the calibration, evenly over all, and others evenly between them. With too few, some are both.
fn chosen(all: usize, calibrated: usize, checked: usize) -> (Vec<usize>, Vec<usize>) {
    let evenly = |from: &[usize], count: usize| -> Vec<usize> {
        let count = count.min(from.len());
        (0..count).map(|index| from[index * from.len() / count]).collect()
    };
    let everything: Vec<usize> = (0..all).collect();
    let first = evenly(&everything, calibrated);
    let rest: Vec<usize> =
        everything.iter().copied().filter(|index| !first.contains(index)).collect();
    let second = evenly(if rest.is_empty() { &everything } else { &rest }, checked);
    (first, second)
}

/// The agreement of two predictors.
fn compared(
    frames: &Dataset,
    checked: &[usize],
    (predictor, exact): (&ModelPredictor, &ModelPredictor),
    options: &PredictOptions,
) -> anyhow::Result<Agreement> {
    let bar = terminal::bar(checked.len() as u64, "frames compared");
    let mut agreement = Agreement::default();
    for &index in checked {
        let frame = frames.decode(index)?;
        agreement.add(&predictor.predict(&frame, options)?, &exact.predict(&frame, options)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(agreement)
}

/// The layers of the largest error.
fn worst(mut layers: Vec<LayerError>) -> Table {
    let count = layers.len();
    layers.sort_by(|a, b| b.stored.total_cmp(&a.stored));
    let title = format!("linear layer, {} of {count}", LAYERS.min(count));
    let mut table = Table::new([title, "error, not smoothed".to_owned(), "error".to_owned()]);
    for LayerError { name, plain, stored } in layers.into_iter().take(LAYERS) {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        table.row(vec![name, percent(plain), percent(stored)]);
    }
    table
}

fn agreement_table(agreement: &Agreement, frames: usize) -> Table {
    let mut table = Table::new(["task".to_owned(), format!("int8 and fp32, {frames} frames")]);
    for (task, of_task) in agreement.tasks() {
        table.row(vec![task.to_owned(), of_task.to_string()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_apart_as_far_as_there_are_enough() {
        let (first, second) = chosen(10, 2, 4);
        assert_eq!(first, [0, 5]);
        assert!(second.len() == 4 && second.iter().all(|index| !first.contains(index)));
        assert_eq!(chosen(3, 5, 2), (vec![0, 1, 2], vec![0, 1]));
        assert_eq!(chosen(1, 1, 1), (vec![0], vec![0]));
    }
}
