//! A step of masked pre-training.

use multimae::burn::tensor::Device;
use multimae::encoder::Phase;
use multimae::losses::Objective;
use multimae::masking::TokenMasks;
use multimae::model::Inputs;
use multimae::state::{AllowedKeys, StateDict, load};
use multimae_train::learner::Learner;
use multimae_train::optim::AdamW;

use super::Workload;
use crate::Result;
use crate::folder::CaseFolder;

pub(super) struct Pretrain {
    learner: Learner,
    objective: Objective,
    inputs: Inputs,
    masks: TokenMasks,
    lr: f64,
    weight_decay: f64,
}

impl Pretrain {
    pub(super) fn new(folder: &CaseFolder, weights: StateDict, optimiser: AdamW) -> Result<Self> {
        let (case, device) = (&folder.case, Device::default().autodiff());
        let model = load(case.multimae(&device)?, weights, &AllowedKeys::default())?;
        Ok(Self {
            learner: Learner { model, balancer: None, optimiser, balancer_lr_scale: 1.0 },
            objective: case.objective()?,
            inputs: folder.model_inputs(&device)?,
            masks: folder.masks()?,
            lr: case.lr,
            weight_decay: case.weight_decay,
        })
    }
}

impl Workload for Pretrain {
    fn step(&mut self) -> Result<f64> {
        let pass = self.learner.forward(
            &self.objective,
            self.inputs.clone(),
            &self.inputs,
            &self.masks,
            &mut Phase::Evaluation,
        )?;
        let (gradients, of_balancer) = self.learner.backward(&pass.total);
        let loss = super::number(&pass.total);
        self.learner.step(gradients, of_balancer, self.lr, self.weight_decay);
        Ok(loss)
    }
}
