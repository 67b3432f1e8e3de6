//! The workloads of our program.

mod heads;
mod loading;
mod peft;
mod pretrain;

use std::time::Instant;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::losses::{RegressionLoss, SupervisedLoss, SupervisedTarget, TaskLoss};
use multimae::output_adapters::{Prediction, merge_aliases};
use multimae::peft::PeftModel;
use multimae::state::{AllowedKeys, StateDict, load};
use multimae_kernels::precision::Precision;
use multimae_train::optim::{AdamW, AdamWConfig, OptimiserStateChoice};

use crate::Result;
use crate::case::{BenchmarkCase, BenchmarkKind};
use crate::folder::CaseFolder;

/// Pixels with this label do not count.
const IGNORE: i64 = 255;

/// One step after the other of the same work.
pub trait Workload {
    /// Runs a step and returns its loss. The whole call is timed.
    ///
    /// # Errors
    /// If the model or the data refuse.
    fn step(&mut self) -> Result<f64>;
}

/// The time and the loss of a step.
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
pub fn timed(work: &mut dyn Workload) -> Result<StepTime> {
    let start = Instant::now();
    let loss = work.step()?;
    Ok(StepTime { seconds: start.elapsed().as_secs_f64(), loss })
}

/// The choices of a measurement that belong to no case.
#[derive(Debug, Clone, Copy)]
pub struct WorkloadOptions {
    /// Threads that load samples.
    pub threads: usize,
    /// Precision of the operands of GEMMs, which the processor must have.
    pub precision: Precision,
    /// Storage of the optimiser's moments in training.
    pub optimizer_state: OptimiserStateChoice,
}

/// The work of a case. Its model takes the folder's weights, which are gone from there.
///
/// # Errors
/// If its folder is not as it should be.
pub fn open(folder: &mut CaseFolder, options: WorkloadOptions) -> Result<Box<dyn Workload>> {
    let WorkloadOptions { threads, precision, optimizer_state } = options;
    let weights = std::mem::take(&mut folder.weights);
    let optimiser = optimiser(&folder.case, optimizer_state);
    let steps: Box<dyn Workload> = match folder.case.kind {
        BenchmarkKind::Pretrain => Box::new(pretrain::Pretrain::new(folder, weights, optimiser)?),
        BenchmarkKind::Joint | BenchmarkKind::Prompts => {
            Box::new(peft::Finetune::new(folder, weights, optimiser)?)
        }
        BenchmarkKind::Inference => Box::new(peft::Inference::new(folder, weights)?),
        BenchmarkKind::Heads => Box::new(heads::Heads::new(folder, weights)?),
        BenchmarkKind::Loading => Box::new(loading::Loading::new(folder, threads)?),
        BenchmarkKind::Startup => return Err(folder.error("start-up has no steps")),
    };
    Ok(Box::new(InPrecision { steps, precision }))
}

/// Steps in a precision.
struct InPrecision {
    steps: Box<dyn Workload>,
    precision: Precision,
}

impl Workload for InPrecision {
    fn step(&mut self) -> Result<f64> {
        self.precision.scope(|| self.steps.step())
    }
}

fn optimiser(case: &BenchmarkCase, state: OptimiserStateChoice) -> AdamW {
    let [beta_1, beta_2] = case.betas;
    AdamW::new(AdamWConfig { beta_1, beta_2, state, ..AdamWConfig::default() })
}

fn sum(losses: Vec<TaskLoss>) -> Result<Tensor<1>> {
    let sum = losses.into_iter().map(|loss| loss.value).reduce(|sum, loss| sum + loss);
    Ok(sum.ok_or_else(|| multimae::Error::Config("a model without heads".to_owned()))?)
}

fn number(loss: &Tensor<1>) -> f64 {
    loss.clone().inner().into_data().iter::<f64>().sum()
}

/// The model of depth and labels with the case's weights.
fn peft_model(folder: &CaseFolder, weights: StateDict, device: &Device) -> Result<PeftModel> {
    let weights = merge_aliases(weights)?;
    Ok(load(folder.case.peft_model(device)?, weights, &AllowedKeys::default())?)
}

/// The targets of depth and labels.
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

    /// The mean absolute error of depth, or the cross-entropy of labels.
    fn loss(&self, task: &str, prediction: &Prediction) -> multimae::Result<TaskLoss> {
        let labels = SupervisedLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(IGNORE) };
        let values = SupervisedLoss::Regression(RegressionLoss::L1);
        match task {
            "semseg" => labels.forward(task, prediction, &self.labels),
            _ => values.forward(task, prediction, &self.depth),
        }
    }

    /// The losses of all predictions together.
    fn total(&self, predictions: &IndexMap<String, Prediction>) -> Result<Tensor<1>> {
        let of = |(task, prediction): (&String, &Prediction)| self.loss(task, prediction);
        let losses = predictions.iter().map(of).collect::<multimae::Result<Vec<_>>>()?;
        sum(losses)
    }
}
