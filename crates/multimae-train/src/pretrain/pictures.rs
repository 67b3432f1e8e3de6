//! The figure of reconstructions during pre-training.

use multimae::encoder::Phase;
use multimae_data::Sample;
use multimae_infer::visualize::ReconstructionFigure;
use multimae_report::picture::Picture;

use super::PretrainSetup;
use super::evaluation::evaluation_masks;
use super::step::forward;
use crate::Result;
use crate::learner::Learner;

/// Draws reconstructions of samples: a row per task, three columns per sample. Predictions have
/// the visible patches pasted in, as in the paper's figures.
///
/// # Errors
/// If the samples do not fit the model.
pub fn reconstructions(
    setup: &PretrainSetup,
    learner: &Learner,
    samples: &[Sample],
) -> Result<Picture> {
    let masks = evaluation_masks(setup, samples)?;
    let phase = &mut Phase::Evaluation;
    let pass = setup.precision.scope(|| forward(setup, learner, samples, &masks, phase))?;
    let predictions = pass.output.predictions.into_iter().map(|(task, prediction)| {
        (task, prediction.into_data().iter::<f32>().collect::<Vec<f32>>())
    });
    let figure = ReconstructionFigure {
        spec: &setup.spec,
        samples,
        masks: &masks,
        predictions: &predictions.collect(),
        unknown: &[],
        keep_visible: true,
    };
    Ok(figure.draw()?)
}
