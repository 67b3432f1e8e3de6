//! `multimae evaluate`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use multimae_config::Override;
use multimae_eval::{
    Evaluated, Evaluator, ModelAgreement, Protocol, ScoreFile, SubsetScores, frames, markdown,
    report_files, write_report,
};
use multimae_infer::predict::{ModelPredictor, Predictor};

use crate::model::Model;
use crate::terminal;

/// Score a fine-tuned model by a named protocol.
///
/// Prints what the scores mean and the scores, as Markdown. Frames are stored as those that the
/// model was trained on.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub(crate) struct Evaluate {
    #[command(flatten)]
    model: Model,
    /// Folder of the data
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Frames that DIR/NAME.txt lists; all files if absent
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Protocol by name, see below; several with commas. Without it, every task of the model is
    /// scored as its training run scored it
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    protocol: Vec<String>,
    /// Modalities that the model gets; all of its inputs if absent
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    inputs: Vec<String>,
    /// Another storage of the files than that of the training, for example
    /// modalities.depth.divisor=5000; repeatable. Keys: folder, divisor, mean, std, ignore, offset,
    /// values, orientation, valid, stored, zero
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Override>,
    /// Take the mean with the predictions for the mirrored frames
    #[arg(long)]
    flip: bool,
    /// Score every subset of the model's inputs too
    #[arg(long)]
    missing: bool,
    /// Fine-tuned model whose predictions for the same frames are compared too, such as the one in fp32
    /// that this one was quantised from
    #[arg(long, value_name = "FILE")]
    compare_with: Option<PathBuf>,
    /// Print the scores of every class too
    #[arg(long)]
    classes: bool,
    /// Write the numbers as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write report.html, scores.json, scores.md and pictures
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Worst frames in the pictures
    #[arg(long, default_value_t = 6)]
    worst: usize,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

fn after_help() -> String {
    let names = Protocol::names();
    let width = names.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, about): &(String, String)| format!("  {name:<width$}  {about}\n");
    format!("Protocols:\n{}", names.iter().map(line).collect::<String>())
}

impl Evaluate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let named = self.protocols()?;
        self.check_files()?;
        let predictor = self.model.load(&self.set)?;
        let inputs = self.inputs(&predictor)?;
        let other = self.other(&predictor, &inputs)?;
        let all = if self.missing { predictor.inputs() } else { &inputs };
        let (dataset, ground_truth) =
            frames(&self.data, self.split.as_deref(), &predictor.saved().card, all)?;
        for notice in dataset.notices() {
            terminal::line(&format!("note: {notice}"));
        }
        let evaluator = Evaluator {
            predictor: &predictor,
            model: self.model.name(),
            dataset: &dataset,
            data: self.data.display().to_string(),
            split: self.split.clone(),
            ground_truth: &ground_truth,
            worst: if self.out.is_some() { self.worst } else { 0 },
        };
        let protocols = if named.is_empty() { evaluator.own_protocols() } else { named };
        let bar = terminal::bar(0, "frames");
        let evaluated = evaluator.run(&protocols, &inputs, self.flip, &mut shown_by(&bar))?;
        let subsets = if self.missing {
            evaluator.run_subsets(&protocols, self.flip, &mut shown_by(&bar))?
        } else {
            Vec::new()
        };
        let compare = |other: &ModelPredictor, name: &Path| {
            let other = (other as &dyn Predictor, &*name.to_string_lossy());
            evaluator.compare(other, &inputs, self.flip, &mut shown_by(&bar))
        };
        let agreement = other.as_ref().zip(self.compare_with.as_deref());
        let agreement = agreement.map(|(other, name)| compare(other, name)).transpose()?;
        bar.finish_and_clear();
        for warning in evaluated.iter().filter_map(|e| e.evaluation.statement.get("warning")) {
            terminal::line(&format!("warning: {warning}"));
        }
        self.write(&evaluated, subsets, agreement)
    }

    /// The model whose predictions are compared, on the same device.
    fn other(
        &self,
        predictor: &ModelPredictor,
        inputs: &[String],
    ) -> anyhow::Result<Option<ModelPredictor>> {
        let Some(file) = &self.compare_with else { return Ok(None) };
        let other = self.model.beside(file.clone()).load(&self.set)?;
        let common = |task: &&String| predictor.tasks().contains_key(*task);
        if !other.tasks().keys().any(|task| common(&task)) {
            bail!("--compare-with {}: it predicts no task of this model", file.display());
        }
        if let Some(missing) = inputs.iter().find(|name| !other.inputs().contains(name)) {
            bail!("--compare-with {}: it has no input `{missing}`; see --inputs", file.display());
        }
        Ok(Some(other))
    }

    fn protocols(&self) -> anyhow::Result<Vec<Protocol>> {
        let mut protocols: Vec<Protocol> = Vec::new();
        for name in &self.protocol {
            for protocol in Protocol::named(name.trim())? {
                if !protocols.contains(&protocol) {
                    protocols.push(protocol);
                }
            }
        }
        Ok(protocols)
    }

    /// The modalities that the model gets, in its own order.
    fn inputs(&self, predictor: &ModelPredictor) -> anyhow::Result<Vec<String>> {
        let known = predictor.inputs();
        if let Some(other) = self.inputs.iter().find(|name| !known.contains(name)) {
            bail!("--inputs {other}: the model's inputs are {}", known.join(", "));
        }
        let wanted = |name: &&String| self.inputs.is_empty() || self.inputs.contains(name);
        Ok(known.iter().filter(wanted).cloned().collect())
    }

    /// Nothing is computed that could not be written.
    fn check_files(&self) -> anyhow::Result<()> {
        let report = self.out.as_deref().map(report_files).into_iter().flatten();
        for path in self.json.clone().into_iter().chain(report) {
            if !self.force && path.exists() {
                bail!("{} exists; --force replaces it", path.display());
            }
        }
        Ok(())
    }

    fn write(
        &self,
        evaluated: &[Evaluated],
        subsets: Vec<SubsetScores>,
        agreement: Option<ModelAgreement>,
    ) -> anyhow::Result<()> {
        if let Some(out) = &self.out {
            let report = write_report(out, evaluated, &subsets, agreement.as_ref())?;
            terminal::line(&format!("look at {}", report.display()));
        }
        let evaluations = evaluated.iter().map(|e| e.evaluation.clone()).collect();
        let scores = ScoreFile { evaluations, subsets, agreement };
        if let Some(json) = &self.json {
            scores.write(json)?;
        }
        terminal::result(&markdown(&scores, self.classes)).context("printing the scores")
    }
}

/// Progress on a bar whose length comes with the first frame.
fn shown_by(bar: &ProgressBar) -> impl FnMut(usize, usize) + '_ {
    |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    }
}
