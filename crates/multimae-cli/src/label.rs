//! `multimae label`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use multimae_config::Override;
use multimae_infer::label::{self, LabelFolder, LabelRecord, Labelling, RECORD_FILE, Scale};

use crate::model::Model;
use crate::{interrupt, terminal};

/// Label a data set by a fine-tuned model, to train on.
///
/// Writes a folder per task, TASK/NAME.png (.npy for other values), at the size of each frame and
/// under its name: depth in millimetres of 16 bits, labels with the values of the annotations. labels.json
/// says which model, unit and scale they have, and the entries of a recipe that read them.
///
/// Frames that have their labels are passed over, so the same command resumes; several processes may
/// work on one folder. A frame that cannot be read does not stop the others: the command names it at its
/// end and fails.
#[derive(Debug, Args)]
pub(crate) struct Label {
    #[command(flatten)]
    model: Model,
    /// Folder of images, also in folders below it; or data with the model's inputs: a folder of
    /// folders, a pack, or other data that training takes
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only the frames of this list
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Another storage of the files than that of the training, for example
    /// modalities.rgb.folder=image; repeatable. Keys as those of predict
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Override>,
    /// Take the mean with the prediction for the mirrored image
    #[arg(long)]
    flip: bool,
}

/// The most frames whose failure is described.
const NAMED: usize = 20;

impl Label {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let stop = interrupt::flag()?;
        if !self.model.is_fine_tuned()? {
            bail!(
                "{} is a pre-trained model, whose decoders fill masked patches; fine-tune it first",
                self.model.name()
            );
        }
        let predictor = self.model.load(&self.set)?;
        let saved = predictor.saved();
        let frames = label::frames(&self.data, self.split.as_deref(), &saved.card)?;
        for notice in frames.notices() {
            terminal::line(&format!("note: {notice}"));
        }
        let (name, data) = (self.model.name(), (self.data.as_path(), &frames));
        let labelling = Labelling::begin(&self.out, (&name, saved), data, self.flip)?;
        let record = labelling.record().clone();
        let bar = terminal::bar(frames.len() as u64, "frames");
        let mut progress = |done: usize| bar.set_position(done as u64);
        let done = labelling.run(&predictor, &mut progress, &stop)?;
        bar.finish_and_clear();
        for (id, problem) in done.failed.iter().take(NAMED) {
            terminal::line(&format!("not labelled: {id}: {problem}"));
        }
        let (written, before, out) = (done.written, done.before, self.out.display());
        terminal::line(&format!("{written} frames labelled, {before} had labels, in {out}"));
        if !done.failed.is_empty() {
            bail!(
                "{} frames could not be labelled; the same command tries them again",
                done.failed.len()
            );
        }
        if done.complete {
            entries(&record).iter().for_each(|line| terminal::line(line));
        } else if done.elsewhere > 0 {
            let elsewhere = done.elsewhere;
            terminal::line(&format!("other processes are labelling {elsewhere} more frames"));
        } else {
            terminal::line("stopped: the same command resumes");
        }
        Ok(())
    }
}

/// The entries of a recipe that read the labels.
fn entries(record: &LabelRecord) -> Vec<String> {
    let entry = |(task, LabelFolder { modality, scale, .. }): (&String, &LabelFolder)| {
        let scale = match scale {
            Some(Scale::Relative) => "  # of unknown scale and shift",
            _ => "",
        };
        format!("  {task}: {modality}{scale}")
    };
    let head = format!("complete; {RECORD_FILE} says how they were made. In a recipe:");
    [head, "modalities:".to_owned()].into_iter().chain(record.tasks.iter().map(entry)).collect()
}
