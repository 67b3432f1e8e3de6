//! From a recipe to the model, the losses, the masks and the data of a run.

use std::path::Path;
use std::sync::Arc;

use multimae::burn::tensor::Device;
use multimae::losses::TaskBalancer;
use multimae::modality::Size;
use multimae::model::MultiMae;
use multimae_data::labels::LabelRule;
use multimae_data::{
    BadSamples, DataModality, Dataset, Geometry, Layout, Loader, LoaderConfig, Pipeline,
    StagedPipeline, stream,
};

use super::TrainingStages;
use crate::first_weights::first_weights;
use crate::labels::label_notices;
use crate::learner::Learner;
use crate::optim::{AdamW, AdamWConfig};
use crate::schedule::{CosineSchedule, warmup_steps};
use crate::step::StepRules;
use crate::trainer::TrainingPlan;
use crate::{Error, Result};
use multimae_config::{BadSamplesChoice, BalancerChoice, PretrainRecipe};
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

    fn data_modalities(&self) -> Vec<DataModality> {
        self.spec.modalities.values().map(|modality| modality.data.clone()).collect()
    }

    /// Returns the stages of a run with this number of steps in an epoch.
    ///
    /// # Errors
    /// If the patches do not divide a size.
    pub fn stages(&self, steps_per_epoch: u64) -> Result<TrainingStages> {
        let epochs = self.spec.recipe.optim.epochs as u64;
        TrainingStages::new(&self.spec, epochs * steps_per_epoch)
    }

    /// The random crops of training at a size.
    fn training_geometry(&self, size: Size) -> Geometry {
        let data = &self.spec.recipe.data;
        let ([low, high], [narrow, wide]) = (data.crop_scale, data.crop_ratio);
        Geometry::RandomResizedCrop {
            size: (size.height, size.width),
            scale: (low, high),
            ratio: (narrow, wide),
            hflip: data.hflip,
        }
    }

    /// The training samples with augmentation, each batch at the size of its step.
    ///
    /// # Errors
    /// If the folder is not as it should be.
    pub fn training_data(&self) -> Result<Loader> {
        let recipe = &self.spec.recipe;
        let dataset = self.training_set()?;
        let config = LoaderConfig {
            batch_size: recipe.optim.batch_size * recipe.optim.update_freq,
            workers: recipe.data.num_workers,
            prefetch: recipe.data.prefetch,
            seed: recipe.run.seed,
            shuffle: true,
            reshuffle: recipe.data.reshuffle,
            drop_last: true,
            bad_samples: self.bad_samples(),
        };
        let steps_per_epoch = config.batches_per_epoch(dataset.len());
        let geometry = self.training_geometry(recipe.arch.input_size);
        let pipeline = Pipeline::new(Arc::new(dataset), geometry, recipe.run.seed)?;
        let mut staged = StagedPipeline::new(pipeline, steps_per_epoch);
        for stage in self.stages(steps_per_epoch)?.scheduled() {
            staged = staged.with_stage(stage.first_step, self.training_geometry(stage.size))?;
        }
        Ok(Loader::new(staged, config)?)
    }

    /// Checks the labels of the training samples, and returns notices about them.
    ///
    /// # Errors
    /// If they cannot be trained on: a label is no class, or classes are missing.
    pub fn label_notices(&self) -> Result<Vec<String>> {
        let labels = |modality: &DataModality| LabelRule::of(&modality.encoding).is_some();
        let modalities: Vec<DataModality> =
            self.data_modalities().into_iter().filter(labels).collect();
        if modalities.is_empty() {
            return Ok(Vec::new());
        }
        let skips = self.bad_samples() == BadSamples::Skip;
        let allow_missing = self.spec.recipe.tasks.allow_missing_classes;
        label_notices(&self.training_samples(&modalities)?, skips, allow_missing)
    }

    fn training_set(&self) -> Result<Dataset> {
        self.training_samples(&self.data_modalities())
    }

    /// The training samples with these of their modalities.
    fn training_samples(&self, modalities: &[DataModality]) -> Result<Dataset> {
        let recipe = &self.spec.recipe;
        let root = recipe.data.data_path.as_deref().ok_or_else(|| {
            Error::Recipe("no data: give --data DIR, or `data_path` in the recipe".to_owned())
        })?;
        let layout = Layout::of(recipe.data.split.as_deref());
        let dataset = Dataset::open(Path::new(root), &layout, modalities)?;
        Ok(dataset.limit(recipe.max_images, recipe.run.seed))
    }

    /// At most `count` training samples, centred and not augmented.
    ///
    /// # Errors
    /// If the folder is not as it should be.
    pub fn training_in_order(&self, count: usize) -> Result<Loader> {
        let set = self.training_set()?;
        let count = count.min(set.len());
        self.in_order(Arc::new(set.limit(Some(count), self.spec.recipe.run.seed)))
    }

    /// The evaluation samples in their order, if the recipe names some.
    ///
    /// # Errors
    /// If the folder is not as it should be.
    pub fn evaluation_data(&self) -> Result<Option<Loader>> {
        let recipe = &self.spec.recipe;
        if recipe.data.eval_split.is_none() && recipe.data.eval_data_path.is_none() {
            return Ok(None);
        }
        let root = recipe.data.eval_data_path.as_deref().or(recipe.data.data_path.as_deref());
        let layout = Layout::of(recipe.data.eval_split.as_deref());
        let root = Path::new(root.unwrap_or("."));
        let dataset = Dataset::open(root, &layout, &self.data_modalities())?;
        self.in_order(Arc::new(dataset)).map(Some)
    }

    /// Samples of a set in their order, centred and not augmented.
    fn in_order(&self, dataset: Arc<Dataset>) -> Result<Loader> {
        let config = LoaderConfig {
            batch_size: self.spec.recipe.optim.batch_size.min(dataset.len().max(1)),
            workers: self.spec.recipe.data.num_workers,
            prefetch: self.spec.recipe.data.prefetch,
            seed: self.spec.recipe.run.seed,
            shuffle: false,
            reshuffle: false,
            drop_last: false,
            bad_samples: self.bad_samples(),
        };
        let size = self.spec.recipe.arch.input_size;
        let geometry = Geometry::CenterFit { size: (size.height, size.width) };
        Ok(Loader::new(Pipeline::new(dataset, geometry, self.spec.recipe.run.seed)?, config)?)
    }

    fn bad_samples(&self) -> BadSamples {
        match self.spec.recipe.data.bad_samples {
            BadSamplesChoice::Fail => BadSamples::Fail,
            BadSamplesChoice::Skip => BadSamples::Skip,
        }
    }
}
