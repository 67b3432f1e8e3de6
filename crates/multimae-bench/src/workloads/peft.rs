//! Training and inference of depth and labels from RGB.

use multimae::burn::module::Module as _;
use multimae::burn::tensor::Device;
use multimae::encoder::Phase;
use multimae::encoder_output::EncoderOutput;
use multimae::model::Inputs;
use multimae::output_adapters::Prediction;
use multimae::peft::PeftModel;
use multimae::state::{StateDict, prepare};
use multimae::tuning::{Tuning, TuningPart};
use multimae_kernels::prepared::PreparedWeights;
use multimae_train::head_loss::settled;
use multimae_train::learner::Learner;
use multimae_train::optim::AdamW;

use super::{Targets, Workload, number, peft_model, sum};
use crate::Result;
use crate::case::BenchmarkKind;
use crate::folder::CaseFolder;

/// A step of training.
pub(super) struct Finetune {
    learner: Learner<PeftModel>,
    inputs: Inputs,
    targets: Targets,
    lr: f64,
    weight_decay: f64,
}

impl Finetune {
    pub(super) fn new(folder: &CaseFolder, weights: StateDict, optimiser: AdamW) -> Result<Self> {
        let (case, device) = (&folder.case, Device::default().autodiff());
        let tuning = match case.kind {
            BenchmarkKind::Prompts => Tuning::Parts(vec![TuningPart::Prompts]),
            _ => Tuning::Full,
        };
        Ok(Self {
            learner: Learner {
                model: tuning.apply(peft_model(folder, weights, &device)?, case.sizes.depth)?,
                balancer: None,
                optimiser,
                balancer_lr_scale: 1.0,
            },
            inputs: folder.model_inputs(&device)?,
            targets: Targets::read(folder, &device)?,
            lr: case.lr,
            weight_decay: case.weight_decay,
        })
    }
}

impl Workload for Finetune {
    fn step(&mut self) -> Result<f64> {
        let phase = &mut Phase::Evaluation;
        let model = &self.learner.model;
        let encoded = model.encode(self.inputs.clone(), None, phase)?;
        // As training does by default.
        let loss_of = |(task, output): (String, EncoderOutput)| {
            settled(model, output, |output| {
                self.targets.loss(&task, &model.predict(&task, output, phase)?)
            })
        };
        let losses = encoded.outputs.into_iter().map(loss_of).collect::<multimae::Result<_>>()?;
        let total = sum(losses)?;
        let (gradients, of_balancer) = self.learner.backward(&total);
        let loss = number(&total);
        self.learner.step(gradients, of_balancer, self.lr, self.weight_decay);
        Ok(loss)
    }
}

/// A forward pass.
pub(super) struct Inference {
    model: PeftModel,
    inputs: Inputs,
    prepared: PreparedWeights,
}

impl Inference {
    pub(super) fn new(folder: &CaseFolder, weights: StateDict) -> Result<Self> {
        let device = Device::default();
        let model = peft_model(folder, weights, &device)?.valid();
        let prepared = PreparedWeights::new();
        prepare(&model, &prepared);
        Ok(Self { model, inputs: folder.model_inputs(&device)?, prepared })
    }
}

impl Workload for Inference {
    /// The mean absolute value of all predictions.
    fn step(&mut self) -> Result<f64> {
        let pass = || self.model.forward(self.inputs.clone(), &mut Phase::Evaluation);
        let output = self.prepared.scope(pass)?;
        let (mut sum, mut count) = (0.0, 0);
        for prediction in output.predictions.into_values() {
            let data = match prediction {
                Prediction::Maps(maps) => maps.into_data(),
                Prediction::Classes(logits) => logits.into_data(),
            };
            let values = data.iter::<f32>();
            sum += values.map(|value| f64::from(value.abs())).sum::<f64>();
            count += data.num_elements();
        }
        Ok(sum / count.max(1) as f64)
    }
}
