//! What training changes, and one step of changing it.

use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::burn::tensor::Tensor;
use multimae::encoder::Phase;
use multimae::losses::{Objective, TaskBalancer, TaskLoss, weighted_loss};
use multimae::masking::TokenMasks;
use multimae::model::{Inputs, MultiMae, Reconstruction};
use multimae::state::{take_gradients, update};

use crate::optim::{AdamW, GradientMap};

/// The prefix of the balancer's parameters in the optimiser's state.
const BALANCER: &str = "balancer";

/// A model, the balancer of its losses and the optimiser of both.
#[derive(Debug, Clone)]
pub struct Learner {
    /// On a device with autodiff.
    pub model: MultiMae,
    /// Only for uncertainty weighting.
    pub balancer: Option<TaskBalancer>,
    /// The optimiser of both.
    pub optimiser: AdamW,
    /// The balancer's learning rate over the model's.
    pub balancer_lr_scale: f64,
}

/// One forward and backward pass.
#[derive(Debug)]
pub struct Pass {
    /// Predictions and token layout.
    pub output: Reconstruction,
    /// Unweighted, by task.
    pub losses: IndexMap<String, TaskLoss>,
    /// Balanced, by task, `(1)` each.
    pub weighted: IndexMap<String, Tensor<1>>,
    /// The sum of the balanced losses, `(1)`.
    pub total: Tensor<1>,
}

impl Learner {
    /// The same on the device without autodiff, for evaluation.
    #[must_use]
    pub fn without_autodiff(self) -> Self {
        Self {
            model: self.model.valid(),
            balancer: self.balancer.map(|balancer| balancer.valid()),
            ..self
        }
    }

    /// The same values as parameters that share no gradient tape with the original's.
    #[must_use]
    pub fn with_new_leaves(self) -> Self {
        Self {
            model: update(self.model, |_, value| Some(value)),
            balancer: self.balancer.map(|balancer| update(balancer, |_, value| Some(value))),
            ..self
        }
    }

    /// Predictions and losses of a batch.
    ///
    /// # Errors
    /// If inputs, targets or masks do not fit the model.
    pub fn forward(
        &self,
        objective: &Objective,
        inputs: Inputs,
        targets: &Inputs,
        masks: &TokenMasks,
        phase: &mut Phase<'_>,
    ) -> multimae::Result<Pass> {
        let output = self.model.forward(inputs, masks, phase)?;
        let losses = objective.forward(&output, targets, masks)?;
        let weighted = weighted_loss(self.balancer.as_ref(), &losses);
        let total = weighted
            .values()
            .cloned()
            .reduce(|sum, loss| sum + loss)
            .ok_or_else(|| multimae::Error::Config("no task to learn".to_owned()))?;
        Ok(Pass { output, losses, weighted, total })
    }

    /// Gradients of `loss` for the model and for the balancer. Both are empty where nothing that
    /// is trained enters the loss.
    #[must_use]
    pub fn backward(&self, loss: &Tensor<1>) -> (GradientMap, GradientMap) {
        if !loss.is_tracked() {
            return (GradientMap::new(), GradientMap::new());
        }
        let mut gradients = loss.backward();
        let of_balancer = self
            .balancer
            .as_ref()
            .map(|balancer| take_gradients(balancer, &mut gradients))
            .unwrap_or_default();
        (take_gradients(&self.model, &mut gradients), of_balancer)
    }

    /// One step of the optimiser. Parameters without gradient stay as they are.
    #[must_use]
    pub fn step(
        mut self,
        mut gradients: GradientMap,
        mut of_balancer: GradientMap,
        lr: f64,
        weight_decay: f64,
    ) -> Self {
        let optimiser = &mut self.optimiser;
        self.model = update(self.model, |name, value| {
            let gradient = gradients.swap_remove(name)?;
            Some(optimiser.step(name, value, gradient, lr, weight_decay))
        });
        let lr = lr * self.balancer_lr_scale;
        self.balancer = self.balancer.map(|balancer| {
            update(balancer, |name, value| {
                let gradient = of_balancer.swap_remove(name)?;
                Some(optimiser.step(
                    &format!("{BALANCER}.{name}"),
                    value,
                    gradient,
                    lr,
                    weight_decay,
                ))
            })
        });
        self
    }
}
