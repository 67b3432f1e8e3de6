//! Predictions of a pre-trained model: each modality from the others.

use std::path::Path;

use anyhow::bail;
use indexmap::IndexMap;
use multimae_infer::predict::{FrameSources, InputPath};
use multimae_infer::visualize::{PretrainView, Pretrained, VisiblePatches, pictures};

use crate::{output, terminal};

/// Frames to predict by a pre-trained model, and the place of its predictions.
pub(crate) struct Reconstruct<'a> {
    pub(crate) input: &'a [InputPath],
    pub(crate) split: Option<&'a str>,
    pub(crate) out: &'a Path,
    pub(crate) force: bool,
    /// Stop at the first frame that cannot be predicted.
    pub(crate) fail_fast: bool,
}

impl Reconstruct<'_> {
    /// Writes TASK/NAME.png and TASK/NAME.npy for every frame and every modality that can be
    /// predicted from others.
    pub(crate) fn run(&self, model: &Pretrained) -> anyhow::Result<()> {
        let sources = FrameSources::of(self.input, self.split, &model.modalities())?;
        for notice in sources.notices() {
            terminal::line(&format!("note: {notice}"));
        }
        let frames = model.frames(sources.dataset)?;
        terminal::line(
            "note: a pre-trained model has no heads: each modality is predicted by its decoder from \
             all patches of the others that are given, at the model's size and in its units",
        );
        let bar = terminal::bar(frames.len() as u64, "images");
        let mut failed = 0;
        for index in 0..frames.len() {
            match frames.get(index).map_err(Into::into).and_then(|view| Self::frame(model, &view)) {
                Ok(files) => files.iter().try_for_each(|(name, bytes)| self.write(name, bytes))?,
                Err(error) if self.fail_fast || frames.len() == 1 => return Err(error),
                Err(error) => {
                    bar.suspend(|| terminal::error(&error));
                    failed += 1;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        terminal::line(&format!("{} images, in {}", frames.len() - failed, self.out.display()));
        if failed > 0 {
            bail!("{failed} of {} images could not be predicted; see above", frames.len());
        }
        Ok(())
    }

    /// The files of a frame, by their names.
    fn frame(model: &Pretrained, view: &PretrainView) -> anyhow::Result<Files> {
        let mut files = Files::new();
        for (visible, tasks) in requests(model, view)? {
            predict(model, view, (&visible, &tasks), &mut files)?;
        }
        Ok(files)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        output::write(self.out, name, bytes, self.force)
    }
}

/// Files by name.
type Files = Vec<(String, Vec<u8>)>;

fn predict(
    model: &Pretrained,
    view: &PretrainView,
    (visible, tasks): (&VisiblePatches, &[String]),
    files: &mut Files,
) -> anyhow::Result<()> {
    let masks = visible.mask(model, view, 0, 0)?;
    let predictions = model.reconstruct(std::slice::from_ref(view), &masks)?;
    for (task, [picture, _]) in pictures(model, view, &masks, &predictions)? {
        let (Some(values), true) = (predictions.get(&task), tasks.contains(&task)) else {
            continue;
        };
        if let Some(picture) = picture {
            files.push((format!("{task}/{}.png", view.id()), picture.png()?));
        }
        if let Some(map) = view.maps().get(&task) {
            files.push((format!("{task}/{}.npy", view.id()), output::array(values, map)?));
        }
    }
    Ok(())
}

/// The visible patches of a view with the tasks that are predicted from them: of a modality that is
/// given, all the others.
fn requests(
    model: &Pretrained,
    view: &PretrainView,
) -> anyhow::Result<Vec<(VisiblePatches, Vec<String>)>> {
    let inputs: Vec<(&str, usize)> =
        model.inputs().into_iter().filter(|(name, _)| view.has(name)).collect();
    let mut requests: IndexMap<Vec<&str>, Vec<String>> = IndexMap::new();
    // A decoder of standardised patches, which is not named as its target, predicts no picture.
    for task in model.spec().objective.tasks.iter().filter(|task| task.name == task.target) {
        let others = inputs.iter().map(|(name, _)| *name).filter(|name| *name != task.target);
        requests.entry(others.collect()).or_default().push(task.name.clone());
    }
    requests.shift_remove(&Vec::new());
    if requests.is_empty() {
        bail!(
            "frame `{}`: no modality can be predicted from another one; `multimae visualize` \
             reconstructs the hidden patches of a single modality",
            view.id()
        );
    }
    let patches = |names: &[&str]| {
        let shown = inputs.iter().filter(|(name, _)| names.contains(name));
        VisiblePatches::Patches(
            shown.map(|(name, count)| ((*name).to_owned(), (0..*count).collect())).collect(),
        )
    };
    Ok(requests.into_iter().map(|(names, tasks)| (patches(&names), tasks)).collect())
}
