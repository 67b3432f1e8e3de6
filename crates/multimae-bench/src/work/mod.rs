//! What is timed in our program.

mod heads;
mod loading;
mod pretrain;
mod tuned;

use std::time::Instant;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::losses::{RegressionLoss, SupervisedLoss, SupervisedTarget};
use multimae::output_adapters::{Prediction, merge_aliases};
use multimae::state::{Allowed, StateDict, load};
use multimae::tuned::TunedMultiVit;
use multimae_train::optim::{AdamW, AdamWConfig};

use crate::Result;
use crate::case::{Case, Work};
use crate::folder::CaseFolder;

/// Pixels with this label do not count.
const IGNORE: usize = 255;

/// One step after the other of the same work.
pub trait Steps {
    /// Does a step and gives its loss. What is between the start and the end is timed.
    ///
    /// # Errors
    /// If the model or the data refuse.
    fn step(&mut self) -> Result<f64>;
}

/// What a step took and computed.
#[derive(Debug, Clone, Copy)]
pub struct StepTime {
    /// Seconds.
    pub seconds: f64,
    /// The loss before the step.
    pub loss: f64,
}

/// Times a step.
///
/// # Errors
/// If the step fails.
pub fn timed(work: &mut dyn Steps) -> Result<StepTime> {
    let start = Instant::now();
    let loss = work.step()?;
    Ok(StepTime { seconds: start.elapsed().as_secs_f64(), loss })
}

/// The work of a case. Its model takes the folder's weights, which are gone from there.
///
/// # Errors
/// If its folder is not as it should be.
pub fn open(folder: &mut CaseFolder, threads: usize) -> Result<Box<dyn Steps>> {
    let weights = std::mem::take(&mut folder.weights);
    Ok(match folder.case.work {
        Work::Pretrain => Box::new(pretrain::Pretrain::new(folder, weights)?),
        Work::Joint | Work::Prompts => Box::new(tuned::Tuned::new(folder, weights)?),
        Work::Inference => Box::new(tuned::Inference::new(folder, weights)?),
        Work::Heads => Box::new(heads::Heads::new(folder, weights)?),
        Work::Loading => Box::new(loading::Loading::new(folder, threads)?),
        Work::Startup => return Err(folder.error("start-up has no steps")),
    })
}

fn optimiser(case: &Case) -> AdamW {
    let [beta_1, beta_2] = case.betas;
    AdamW::new(AdamWConfig { beta_1, beta_2, ..AdamWConfig::default() })
}

fn number(loss: &Tensor<1>) -> f64 {
    loss.clone().inner().into_data().iter::<f64>().sum()
}

/// The model of depth and labels with the case's weights.
fn tuned(folder: &CaseFolder, weights: StateDict, device: &Device) -> Result<TunedMultiVit> {
    let weights = merge_aliases(weights)?;
    Ok(load(folder.case.tuned(device)?, weights, &Allowed::default())?)
}

/// What depth and labels should be.
struct Targets {
    depth: SupervisedTarget,
    labels: SupervisedTarget,
}

impl Targets {
    fn read(folder: &CaseFolder, device: &Device) -> Result<Self> {
        let values = folder.values("target.depth", device)?;
        Ok(Self {
            depth: SupervisedTarget::Values { values, valid: None },
            labels: SupervisedTarget::Labels(folder.labels("target.semseg", device)?),
        })
    }

    /// Mean absolute error of depth and cross-entropy of labels.
    fn loss(&self, predictions: &IndexMap<String, Prediction>) -> Result<Tensor<1>> {
        let of = |task: &str, loss: SupervisedLoss, target: &SupervisedTarget| {
            let prediction = predictions
                .get(task)
                .ok_or_else(|| multimae::Error::Config(format!("no prediction of {task}")))?;
            Ok::<_, crate::Error>(loss.forward(task, prediction, target)?.value)
        };
        let labels = SupervisedLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(IGNORE) };
        let depth = of("depth", SupervisedLoss::Regression(RegressionLoss::L1), &self.depth)?;
        Ok(depth + of("semseg", labels, &self.labels)?)
    }
}
