//! `multimae predict`.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::Args;
use multimae_config::{Override, ReadingKeys};
use multimae_infer::predict::{
    EncodedOutputs, FrameSources, InputPath, Medians, OutputOptions, Outputs, PredictOptions,
    Predictor as _,
};

use crate::model::Model;
use crate::reconstruct::Reconstruct;
use crate::terminal;

/// Predict depth, labels and whatever else a fine-tuned model knows, for images of any size.
///
/// For depth, writes depth/NAME.png (16 bits, millimetres), depth/NAME.npy (metres) and
/// depth_overlay/NAME.png with a scale bar; for labels semseg/NAME.png (palette, the values of the
/// annotations), semseg/NAME.npy (the same, uint8) and semseg_overlay/NAME.png with a legend; all at
/// the image's own size. Labels above 255 are 16-bit grey and uint16. A file that cannot be read or
/// predicted does not stop the others: nothing is written for it, and the command names it at its end
/// and fails.
///
/// Of a pre-trained model, such as the published .pth, predicts each modality from all patches of
/// the others that are given: TASK/NAME.png and TASK/NAME.npy at the model's size.
#[derive(Debug, Args)]
pub(crate) struct Predict {
    #[command(flatten)]
    model: Model,
    /// An image, a folder of images, or a folder with a folder per modality; or several of
    /// MODALITY=PATH
    #[arg(long, short, value_name = "PATH", required = true)]
    input: Vec<InputPath>,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only the frames that PATH/NAME.txt lists
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Another storage of the files than that of the training, for example
    /// modalities.depth.divisor=5000; repeatable. Keys: folder, divisor, mean, std, ignore, offset,
    /// values, orientation, valid, stored, zero
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Override>,
    /// Take the mean with the prediction for the mirrored image
    #[arg(long)]
    flip: bool,
    /// No pictures of predictions over the images
    #[arg(long)]
    no_overlays: bool,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    /// Stop at the first file that cannot be predicted
    #[arg(long)]
    fail_fast: bool,
}

/// The most files that the last line names; each has a line of its own before.
const NAMED: usize = 20;

/// The first names, and the number of the others.
fn named(names: &[&str]) -> String {
    let first = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl Predict {
    /// One input, whose predictions replace those that are there.
    pub(crate) fn of(model: PathBuf, input: InputPath, out: PathBuf) -> Self {
        let model = Model::file(model);
        Self {
            model,
            input: vec![input],
            out,
            split: None,
            set: Vec::new(),
            flip: false,
            no_overlays: true,
            force: true,
            fail_fast: true,
        }
    }

    /// Predicts by a pre-trained model, which has decoders and no heads.
    fn reconstruct(&self) -> anyhow::Result<()> {
        let (split, out) = (self.split.as_deref(), self.out.as_path());
        let (force, fail_fast) = (self.force, self.fail_fast);
        if self.flip {
            let model = self.model.model.display();
            bail!("--flip is of fine-tuned models; {model} is not one");
        }
        let keys = ReadingKeys::of(&self.set)?;
        let mut model = self.model.pretrained()?;
        model.read_as(&keys).map_err(|problem| anyhow!("--set: {problem}"))?;
        Reconstruct { input: &self.input, split, out, force, fail_fast }.run(&model)
    }

    pub(crate) fn run(self) -> anyhow::Result<()> {
        if !self.model.is_fine_tuned()? {
            return self.reconstruct();
        }
        let predictor = self.model.load(&self.set)?;
        let card = &predictor.saved().card;
        let sources = FrameSources::find(&self.input, self.split.as_deref(), card)?;
        if sources.left_out > 0 {
            terminal::line(&format!(
                "note: {} files that are no images are left out",
                sources.left_out
            ));
        }
        for notice in sources.notices() {
            terminal::line(&format!("note: {notice}"));
        }
        let given = |name: &&String| sources.dataset.modalities().iter().any(|m| m.name == **name);
        let inputs: Vec<String> = predictor.inputs().iter().filter(given).cloned().collect();
        let request = PredictOptions { inputs, canvas: None, flip: self.flip };
        let options = OutputOptions { overlays: !self.no_overlays, force: self.force };
        let outputs = Outputs::new(&self.out, card, options);
        let frames = &sources.dataset;
        let ids: Vec<_> = frames.ids().collect();
        outputs.check(ids.iter().map(|id| &**id))?;

        let mut medians = Medians::default();
        let bar = terminal::bar(frames.len() as u64, "images");
        let mut described = false;
        let mut predict = |index| -> anyhow::Result<EncodedOutputs> {
            let frame = frames.decode(index)?;
            if !described {
                let size = multimae::modality::Size::new(frame.height, frame.width);
                let seen = predictor.describe_input(size, &request)?;
                bar.suspend(|| terminal::line(&format!("the model sees {seen}")));
                described = true;
            }
            let prediction = predictor.predict(&frame, &request)?;
            let files = outputs.encode(&frame, &prediction)?;
            medians.add(card, &frame, &prediction);
            Ok(files)
        };
        let mut failed = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            match predict(index) {
                // A folder that cannot be written concerns every file.
                Ok(files) => files.write()?,
                Err(error) if self.fail_fast || frames.len() == 1 => return Err(error),
                Err(error) => {
                    bar.suspend(|| terminal::error(&error));
                    failed.push(&**id);
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        medians.lines(card).iter().for_each(|line| terminal::line(line));
        let done = frames.len() - failed.len();
        terminal::line(&format!("{done} images, in {}", self.out.display()));
        if !failed.is_empty() {
            bail!(
                "{} of {} images could not be predicted, and nothing was written for them: {}. The \
                 reason of each is above",
                failed.len(),
                frames.len(),
                named(&failed)
            );
        }
        Ok(())
    }
}
