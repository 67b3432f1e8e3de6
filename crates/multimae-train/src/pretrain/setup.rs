//! From a recipe to the model, the losses and the masks of a run.

use multimae::burn::tensor::Device;
use multimae::losses::TaskBalancer;
use multimae::model::MultiMae;
use multimae_data::stream;

use super::TrainingStages;
use crate::Result;
use crate::first_weights::first_weights;
use crate::learner::Learner;
use crate::optim::{AdamW, AdamWConfig};
use crate::schedule::{CosineSchedule, warmup_steps};
use crate::step::StepRules;
use crate::trainer::TrainingPlan;
use multimae_config::{BalancerChoice, PretrainRecipe};
use multimae_infer::device::{device, training_precision};
use multimae_infer::saved_model::{LoadReport, load_for_pretraining};
use multimae_infer::visualize::PretrainSpec;
use multimae_kernels::precision::Precision;

/// Everything about a run that its recipe fixes.
#[derive(Debug)]
pub struct PretrainSetup {
    /// The recipe, the modalities, the model's shape and its losses.
    pub spec: PretrainSpec,
    /// The device, without autodiff.
    pub device: Device,
    /// The precision of the model's matrix multiplications.
    pub precision: Precision,
}

impl PretrainSetup {
    /// # Errors
    /// If the recipe describes no possible run.
    pub fn new(recipe: PretrainRecipe) -> Result<Self> {
        let spec = PretrainSpec::new(recipe)?;
        let recipe = &spec.recipe;
        let device = device(&recipe.run.device)?;
        let precision = training_precision(recipe.run.precision, &recipe.run.device, &device)?;
        Ok(Self { device, precision, spec })
    }

    /// A fresh model with its optimiser.
    ///
    /// # Errors
    /// If the sizes do not fit together.
    pub fn learner(&self) -> Result<Learner> {
        let device = self.device.clone().autodiff();
        let seed = self.spec.recipe.run.seed;
        let model = MultiMae::new(&self.spec.model, &device)?;
        // A stream per parameter: its name is the purpose.
        let model = multimae::init::initialise(model, |name| stream(seed, name, 0, 0));
        let balancer =
            matches!(self.spec.recipe.task_balancer, BalancerChoice::Uncertainty).then(|| {
                let tasks = self.spec.objective.tasks.iter().map(|task| task.name.clone());
                TaskBalancer::new(tasks.collect(), &device)
            });
        Ok(Learner {
            model,
            balancer,
            optimiser: AdamW::new(self.optimiser()),
            balancer_lr_scale: self.spec.recipe.optim.balancer_lr_scale,
        })
    }

    /// A model with the recipe's pre-trained weights, if it names some, and its optimiser; says what
    /// was loaded.
    ///
    /// # Errors
    /// If the weights cannot be read or do not fit.
    pub fn pretrained_learner(&self) -> Result<(Learner, Option<LoadReport>)> {
        let mut learner = self.learner()?;
        let Some((source, allowed)) = first_weights(&self.spec.recipe.weights) else {
            return Ok((learner, None));
        };
        let (model, report) = load_for_pretraining(learner.model, &source, &allowed)?;
        learner.model = model;
        Ok((learner, Some(report)))
    }

    /// The constants of the optimiser.
    #[must_use]
    pub fn optimiser(&self) -> AdamWConfig {
        // PyTorch's own betas where the recipe has none.
        let recipe = &self.spec.recipe;
        let [beta_1, beta_2] = recipe.optim.opt_betas.unwrap_or([0.9, 0.999]);
        AdamWConfig {
            beta_1,
            beta_2,
            eps: recipe.optim.opt_eps,
            state: recipe.optim.optimizer_state,
            seed: recipe.run.seed,
        }
    }

    /// Learning rate and weight decay over the steps of the run.
    #[must_use]
    pub fn schedules(&self, steps_per_epoch: u64) -> (CosineSchedule, CosineSchedule) {
        let recipe = &self.spec.recipe;
        let total = recipe.optim.epochs as u64 * steps_per_epoch;
        let warmup = warmup_steps(
            recipe.optim.warmup_steps,
            recipe.optim.warmup_epochs as u64 * steps_per_epoch,
        );
        let decay_end = recipe.optim.weight_decay_end.unwrap_or(recipe.optim.weight_decay);
        (
            CosineSchedule::new(recipe.lr(), recipe.optim.min_lr, warmup, total),
            CosineSchedule::new(recipe.optim.weight_decay, decay_end, 0, total),
        )
    }

    /// Returns the plan of a run with this number of steps in an epoch.
    #[must_use]
    pub fn plan(&self, steps_per_epoch: u64) -> TrainingPlan {
        let recipe = &self.spec.recipe;
        let (lr, weight_decay) = self.schedules(steps_per_epoch);
        TrainingPlan {
            epochs: recipe.optim.epochs as u64,
            lr,
            weight_decay,
            log_freq: recipe.run.log_freq as u64,
            save_ckpt_freq: recipe.run.save_ckpt_freq as u64,
            save_ckpt_steps: recipe.run.save_ckpt_steps.map(|steps| steps as u64),
            keep_ckpt: recipe.run.keep_ckpt,
            eval_freq: recipe.run.eval_freq as u64,
            log_images_freq: recipe.run.log_images_freq as u64,
            ema_decay: recipe.optim.model_ema.then_some(recipe.optim.model_ema_decay),
            optimiser: self.optimiser(),
            device: self.device.clone(),
        }
    }

    /// Returns the rules of a step.
    #[must_use]
    pub fn step_rules(&self) -> StepRules {
        StepRules {
            pass_size: self.spec.recipe.optim.batch_size,
            clip_grad: self.spec.recipe.optim.clip_grad,
            skip_grad: self.spec.recipe.optim.skip_grad,
            precision: self.precision,
        }
    }

    /// Returns the stages of a run with this number of steps in an epoch.
    ///
    /// # Errors
    /// If the patches do not divide a size.
    pub fn stages(&self, steps_per_epoch: u64) -> Result<TrainingStages> {
        let epochs = self.spec.recipe.optim.epochs as u64;
        TrainingStages::new(&self.spec, epochs * steps_per_epoch)
    }
}
