//! The trained state, and one step of training.

use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::burn::tensor::Tensor;
use multimae::encoder::Phase;
use multimae::losses::{Objective, Targets, TaskBalancer, TaskLoss, weighted_loss};
use multimae::masking::TokenMasks;
use multimae::model::{Inputs, MultiMae, Reconstruction};
use multimae::state::{take_gradients, update, update_in_place};

use crate::optim::{AdamW, GradientMap, StepRates};
use crate::set_sums::SetSums;

/// The prefix of the balancer's parameters in the optimiser's state.
const BALANCER: &str = "balancer";

/// A model, the balancer of its losses and the optimiser of both.
#[derive(Debug, Clone)]
pub struct Learner<M = MultiMae> {
    /// On a device with autodiff.
    pub model: M,
    /// Only for uncertainty weighting.
    pub balancer: Option<TaskBalancer>,
    /// The optimiser of both.
    pub optimiser: AdamW,
    /// The balancer's learning rate over the model's.
    pub balancer_lr_scale: f64,
}

/// The losses of one forward pass.
#[derive(Debug)]
pub struct Losses {
    /// Unweighted, by task.
    pub unweighted: IndexMap<String, TaskLoss>,
    /// Balanced, by task, `(1)` each.
    pub weighted: IndexMap<String, Tensor<1>>,
    /// The sum of the balanced losses, `(1)`.
    pub total: Tensor<1>,
    /// By data set, where there are several.
    pub sets: SetSums,
}

impl Losses {
    /// Balances losses and adds them up.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(
        unweighted: IndexMap<String, TaskLoss>,
        balancer: Option<&TaskBalancer>,
    ) -> multimae::Result<Self> {
        let weighted = weighted_loss(balancer, &unweighted);
        let total = weighted
            .values()
            .cloned()
            .reduce(|sum, loss| sum + loss)
            .ok_or_else(|| multimae::Error::Config("no task to learn".to_owned()))?;
        Ok(Self { unweighted, weighted, total, sets: SetSums::default() })
    }

    /// The losses with terms that belong to no task, `(1)` each; they are not balanced.
    #[must_use]
    pub fn with_terms(mut self, terms: IndexMap<String, Tensor<1>>) -> Self {
        for (name, value) in terms {
            self.total = self.total + value.clone();
            self.weighted.insert(name.clone(), value.clone());
            let loss = TaskLoss { per_sample: value.clone(), value, empty: false, samples: 1 };
            self.unweighted.insert(name, loss);
        }
        self
    }
}

impl<M: Module> Learner<M> {
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

    /// One step of the optimiser, all parameters alike. Those without gradient stay as they are.
    pub fn step(
        &mut self,
        gradients: GradientMap,
        of_balancer: GradientMap,
        lr: f64,
        weight_decay: f64,
    ) {
        let rate = StepRates { lr, weight_decay };
        self.step_with_rates(gradients, of_balancer, rate, |_| rate);
    }

    /// One step of the optimiser. `rate` says how fast each parameter of the model learns, by its
    /// name; the balancer learns at `of_all`. Parameters without gradient stay as they are.
    pub fn step_with_rates(
        &mut self,
        mut gradients: GradientMap,
        mut of_balancer: GradientMap,
        of_all: StepRates,
        rate: impl Fn(&str) -> StepRates,
    ) {
        let optimiser = &mut self.optimiser;
        update_in_place(&mut self.model, |name, value| match gradients.swap_remove(name) {
            Some(gradient) => {
                let StepRates { lr, weight_decay } = rate(name);
                optimiser.step(name, value, gradient, lr, weight_decay)
            }
            None => value,
        });
        let lr = of_all.lr * self.balancer_lr_scale;
        self.balancer = self.balancer.take().map(|balancer| {
            update(balancer, |name, value| {
                let gradient = of_balancer.swap_remove(name)?;
                Some(optimiser.step(
                    &format!("{BALANCER}.{name}"),
                    value,
                    gradient,
                    lr,
                    of_all.weight_decay,
                ))
            })
        });
    }
}

/// One forward pass of pre-training.
#[derive(Debug)]
pub struct ForwardPass {
    /// Predictions and token layout.
    pub output: Reconstruction,
    /// Unweighted, by task.
    pub losses: IndexMap<String, TaskLoss>,
    /// Balanced, by task, `(1)` each.
    pub weighted: IndexMap<String, Tensor<1>>,
    /// The sum of the balanced losses, `(1)`.
    pub total: Tensor<1>,
}

impl From<ForwardPass> for Losses {
    fn from(pass: ForwardPass) -> Self {
        let ForwardPass { losses: unweighted, weighted, total, .. } = pass;
        Self { unweighted, weighted, total, sets: SetSums::default() }
    }
}

impl Learner {
    /// Predictions and losses of a batch under masks.
    ///
    /// # Errors
    /// If inputs, targets or masks do not fit the model.
    pub fn forward<'a>(
        &self,
        objective: &Objective,
        inputs: Inputs,
        targets: impl Into<Targets<'a>>,
        masks: &TokenMasks,
        phase: &mut Phase<'_>,
    ) -> multimae::Result<ForwardPass> {
        let output = self.model.forward(inputs, masks, phase)?;
        let losses = objective.forward(&output, targets, masks)?;
        let Losses { unweighted, weighted, total, .. } =
            Losses::new(losses, self.balancer.as_ref())?;
        Ok(ForwardPass { output, losses: unweighted, weighted, total })
    }
}
