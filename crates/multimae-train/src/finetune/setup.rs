//! From a recipe and its data to the model, the tasks and their losses.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::losses::{SupervisedLoss, TaskBalancer};
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::TaskHead;
use multimae::peft::PeftModel;
use multimae::peft::{random_prompts, self_prompts};
use multimae::state::{parameters, with_trained};
use multimae_data::labels::LabelRule;
use multimae_data::{DataModality, Dataset, stream};

use super::annotations::{Constants, annotation_constants};
use super::data::{DataSplit, class_names, evaluation_geometry, open};
use super::evaluation::{constant_predictions, evaluate};
use super::heads::head;
use super::mixing::Mixing;
use super::modalities::{guessed_units, inputs, target, valid_mask};
use crate::first_weights::first_weights;
use crate::labels::label_notices;
use crate::learner::Learner;
use crate::optim::{AdamW, AdamWConfig, GroupRules, ParameterGroups};
use crate::schedule::{CosineSchedule, warmup_steps};
use crate::step::StepRules;
use crate::trainer::{TrainingPlan, shown_samples};
use crate::{Error, Result};
use multimae_config::{
    BadSamplesChoice, CheckpointChoice, FinetuneRecipe, PromptInit, Recipe as _, TaskModality,
    WeightingChoice,
};
use multimae_infer::device::{device, training_precision};
use multimae_infer::saved_model::{InputModality, ModelCard, TaskCard};
use multimae_infer::saved_model::{LoadReport, load_pretrained, prompts_of};
use multimae_kernels::precision::Precision;
use multimae_tasks::{BuildContext, Built, Constant, kind_of, kinds};

/// Losses are normalised by those of a constant on no more training samples than this.
const NORMALISED_BY: usize = 128;
/// The number of training samples whose tokens prompts can start from.
const PROMPTS_FROM: usize = 32;
/// The keys of a fingerprint that hold statistics of the training annotations.
pub(super) const OF_DATA: [&str; 2] = ["tasks of the data", "weights of the tasks"];
/// Below this share of valid depth, something is likely wrong with its unit.
const FEW_VALID: f64 = 0.5;
/// The mean of depth of any scene, in metres; beyond it, a guessed unit is wrong.
const PLAUSIBLE_DEPTH: std::ops::Range<f64> = 0.05..200.0;

/// One task of a run.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name, of its head too.
    pub name: String,
    /// Its prediction, and the storage of its annotations.
    pub card: TaskCard,
    /// Its loss.
    pub loss: SupervisedLoss,
    /// Factor of its loss.
    pub weight: f64,
}

/// Everything about a run that its recipe and its data fix.
#[derive(Debug)]
pub struct FinetuneSetup {
    /// The recipe.
    pub recipe: FinetuneRecipe,
    /// The model card of the trained model.
    pub card: ModelCard,
    /// The tasks, in the order of the heads.
    pub tasks: Vec<Task>,
    /// Statistics of the training annotations.
    pub constants: Constants,
    /// The mixing of a batch's images, if they are mixed.
    pub mixing: Option<Mixing>,
    /// The device, without autodiff.
    pub device: Device,
    /// The precision of the model's GEMMs.
    pub precision: Precision,
    /// Notices for the user before the run starts.
    pub notices: Vec<String>,
    /// The training samples.
    pub(super) training: Arc<Dataset>,
}

impl FinetuneSetup {
    /// Opens the training data and looks at its annotations.
    ///
    /// # Errors
    /// If the recipe describes no possible run, or the data is not as it should be.
    pub fn new(recipe: FinetuneRecipe) -> Result<Self> {
        recipe.check()?;
        let device = device(&recipe.run.device)?;
        let precision = training_precision(recipe.run.precision, &recipe.run.device, &device)?;
        let inputs = inputs(&recipe)?;
        let targets = targets(&recipe)?;
        let mask = valid_mask(&recipe);
        let stored: Vec<DataModality> = targets.iter().map(|(_, t)| t.data.clone()).collect();
        let read = modalities(inputs.iter().map(|input| &input.card), &stored, mask.as_ref());
        let training = open(&recipe, DataSplit::Training, &read)?.ok_or_else(no_data)?;
        let classes = if recipe.classifies() { class_names(&training) } else { Vec::new() };
        check_classes(&recipe, &classes)?;
        let annotated = annotated(&recipe, &stored, mask.as_ref(), &training)?;
        let mask_name = mask.as_ref().map(|mask| mask.name.as_str());
        let mut constants = annotation_constants(&recipe, &annotated, mask_name, &classes)?;
        let cards = inputs.iter().map(|input| &input.card.data);
        constants.label_notices.extend(notices_of_inputs(&recipe, cards, &training)?);
        let tasks = recipe
            .tasks
            .out_domains
            .0
            .iter()
            .map(|name| task(&recipe, name, targets.get(name), &classes, &constants))
            .collect::<Result<Vec<(Task, TaskHead)>>>()?;
        let (tasks, heads): (Vec<Task>, Vec<TaskHead>) = tasks.into_iter().unzip();
        let mut encoder = recipe.arch.model.config.clone();
        encoder.drop_path = recipe.drop_path_encoder;
        let model = MultiVitConfig {
            encoder,
            patch_size: recipe.arch.patch_size,
            image_size: recipe.arch.input_size,
            num_global_tokens: recipe.arch.num_global_tokens,
            inputs: inputs.iter().map(|input| input.model.clone()).collect(),
            heads,
            tables: recipe.arch.nonsquare_tables.into(),
        };
        recipe.arch.input_size.grid(recipe.arch.patch_size)?;
        let card = ModelCard {
            model,
            peft: recipe.peft(),
            inputs: inputs.into_iter().map(|input| input.card).collect(),
            tasks: tasks.iter().map(|task| (task.name.clone(), task.card.clone())).collect(),
            geometry: evaluation_geometry(&recipe),
            valid_mask: mask,
        };
        card.check().map_err(Error::Recipe)?;
        let notices = notices(&recipe, &tasks, &constants)?;
        let mixing = Mixing::of(&recipe, &card)?;
        let training = Arc::new(training);
        let mut setup =
            Self { recipe, card, tasks, constants, mixing, device, precision, notices, training };
        setup.normalise_weights()?;
        Ok(setup)
    }

    /// Divides the weights of the tasks by the loss of the best constant prediction.
    fn normalise_weights(&mut self) -> Result<()> {
        if self.recipe.task_balancer != WeightingChoice::Normalised {
            return Ok(());
        }
        let samples = self.training_in_order(NORMALISED_BY)?;
        let constant = evaluate(self, &samples, &|samples| constant_predictions(self, samples))?;
        for task in &mut self.tasks {
            let loss = constant.losses.get(&task.name).copied().unwrap_or(0.0);
            if loss > 0.0 {
                task.weight /= loss;
            }
        }
        Ok(())
    }

    /// A model with the recipe's pre-trained weights and fresh heads, and its optimiser; says what
    /// was loaded.
    ///
    /// # Errors
    /// If the weights cannot be read or do not fit.
    pub fn pretrained_learner(&self) -> Result<(Learner<PeftModel>, Option<LoadReport>)> {
        let mut learner = self.learner()?;
        let report = match first_weights(&self.recipe.weights) {
            Some((source, allowed)) => {
                let (model, report) = load_pretrained(learner.model, &source, &allowed)?;
                learner.model = model;
                Some(report)
            }
            None => None,
        };
        learner.model = self.with_first_prompts(learner.model)?;
        Ok((learner, report))
    }

    /// The model with the prompts that the recipe begins with.
    fn with_first_prompts(&self, model: PeftModel) -> Result<PeftModel> {
        match &self.recipe.prompt_init {
            PromptInit::Random => Ok(model),
            PromptInit::SelfPrompt => {
                let samples = shown_samples(&self.training_in_order(PROMPTS_FROM)?, PROMPTS_FROM)?;
                let inputs = self.card.inputs(&samples, &self.device.clone().autodiff())?;
                let own_stream = |name: &str| stream(self.recipe.run.seed, name, 0, 1);
                Ok(self.precision.scope(|| self_prompts(model, inputs, own_stream))?)
            }
            PromptInit::Adapter(path) => Ok(prompts_of(model, Path::new(path))?),
        }
    }

    /// A model of zeros.
    ///
    /// # Errors
    /// If the sizes do not fit together.
    pub fn model(&self, device: &Device) -> Result<PeftModel> {
        Ok(PeftModel::new(&self.card.model, &self.card.peft, device)?)
    }

    /// A fresh model with its optimiser.
    ///
    /// # Errors
    /// If the sizes do not fit together.
    pub fn learner(&self) -> Result<Learner<PeftModel>> {
        let device = self.device.clone().autodiff();
        let recipe = &self.recipe;
        let model = self.model(&device)?;
        // A stream per parameter: its name is the purpose.
        let own_stream = |name: &str| stream(recipe.run.seed, name, 0, 0);
        let model = random_prompts(multimae::init::initialise(model, own_stream), own_stream)?;
        let model = with_trained(model, |name, trained| {
            let table = name.starts_with("input_adapters.") && name.ends_with(".pos_emb");
            let frozen = recipe.freeze_transformer && name.starts_with("encoder.");
            (trained || (table && recipe.learnable_pos_emb)) && !frozen
        });
        let model = recipe.tuning.apply(model, self.card.model.encoder.depth)?;
        let balancer = (recipe.task_balancer == WeightingChoice::Uncertainty).then(|| {
            let tasks = self.tasks.iter().map(|task| task.name.clone());
            TaskBalancer::new(tasks.collect(), &device)
        });
        Ok(Learner {
            model,
            balancer,
            optimiser: AdamW::new(self.optimiser()),
            balancer_lr_scale: recipe.optim.balancer_lr_scale,
        })
    }

    /// Whether a head's gradients are computed before the next head runs.
    pub(super) fn one_head_at_a_time(&self) -> bool {
        self.recipe.checkpoint == CheckpointChoice::Auto && self.tasks.len() > 1
    }

    fn optimiser(&self) -> AdamWConfig {
        let recipe = &self.recipe;
        let [beta_1, beta_2] = recipe.optim.opt_betas.unwrap_or([0.9, 0.999]);
        AdamWConfig {
            beta_1,
            beta_2,
            eps: recipe.optim.opt_eps,
            state: recipe.optim.optimizer_state,
            seed: recipe.run.seed,
        }
    }

    /// The groups of parameters that learn at rates of their own.
    ///
    /// # Errors
    /// If the recipe names a parameter that does not exist.
    pub fn groups(&self, model: &PeftModel) -> Result<ParameterGroups> {
        let rules = GroupRules {
            layer_decay: self.recipe.layer_decay,
            depth: self.card.model.encoder.depth,
            scale_input_lr: self.recipe.scale_input_lr,
            full_rate: self.recipe.no_lr_scale_list.0.clone(),
            backbone_lr_scale: self.recipe.backbone_lr_scale,
            added_lr_scale: self.recipe.added_lr_scale,
        };
        let parameters = parameters(model);
        let known = |name: &String| parameters.iter().any(|parameter| parameter.name == *name);
        if let Some(unknown) = rules.full_rate.iter().find(|name| !known(name)) {
            return Err(Error::Recipe(format!(
                "`no_lr_scale_list`: the model has no parameter `{unknown}`"
            )));
        }
        Ok(ParameterGroups::new(&rules, &parameters))
    }

    /// Returns the plan of a run with this number of steps in an epoch.
    #[must_use]
    pub fn plan(&self, steps_per_epoch: u64) -> TrainingPlan {
        let recipe = &self.recipe;
        let total = recipe.optim.epochs as u64 * steps_per_epoch;
        let warmup = warmup_steps(
            recipe.optim.warmup_steps,
            recipe.optim.warmup_epochs as u64 * steps_per_epoch,
        );
        let decay_end = recipe.optim.weight_decay_end.unwrap_or(recipe.optim.weight_decay);
        TrainingPlan {
            epochs: recipe.optim.epochs as u64,
            lr: CosineSchedule::new(recipe.peak_lr(), recipe.optim.min_lr, warmup, total),
            weight_decay: CosineSchedule::new(recipe.optim.weight_decay, decay_end, 0, total),
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
            pass_size: self.recipe.optim.batch_size,
            clip_grad: self.recipe.optim.clip_grad,
            skip_grad: self.recipe.optim.skip_grad,
            precision: self.precision,
        }
    }

    /// Returns the fingerprint that must not change when a run is resumed: the recipe, and the
    /// statistics of the data.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&self.recipe.fingerprint()).unwrap_or_default();
        let mut tasks = serde_json::to_value(&self.card.tasks).unwrap_or_default();
        without_quantity(&mut tasks);
        text.insert(OF_DATA[0].to_owned(), tasks);
        let weights: IndexMap<&str, f64> =
            self.tasks.iter().map(|task| (task.name.as_str(), task.weight)).collect();
        text.insert(OF_DATA[1].to_owned(), serde_json::json!(weights));
        serde_json::Value::Object(text).to_string()
    }

    /// All modalities that training and evaluation read.
    #[must_use]
    pub fn data_modalities(&self) -> Vec<DataModality> {
        let stored: Vec<DataModality> =
            self.tasks.iter().filter_map(|task| task.card.target.clone()).collect();
        modalities(self.card.inputs.iter(), &stored, self.card.valid_mask.as_ref())
    }
}

/// Leaves out the quantity of annotations: it follows from the kind of task, and runs of before it
/// was recorded can be resumed.
fn without_quantity(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.shift_remove("quantity");
            fields.values_mut().for_each(without_quantity);
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(without_quantity),
        _ => {}
    }
}

fn no_data() -> Error {
    Error::Recipe("no data: give --data DIR, or `data_path` in the recipe".to_owned())
}

fn targets(recipe: &FinetuneRecipe) -> Result<IndexMap<String, TaskModality>> {
    let dense = recipe.tasks.out_domains.0.iter().filter(|_| !recipe.classifies());
    dense.map(|name| Ok((name.clone(), target(recipe, name)?))).collect()
}

fn modalities<'a>(
    inputs: impl Iterator<Item = &'a InputModality>,
    targets: &[DataModality],
    mask: Option<&DataModality>,
) -> Vec<DataModality> {
    inputs.map(|input| &input.data).chain(targets).chain(mask).cloned().collect()
}

/// The training samples with their annotations alone.
fn annotated(
    recipe: &FinetuneRecipe,
    targets: &[DataModality],
    mask: Option<&DataModality>,
    training: &Dataset,
) -> Result<Dataset> {
    if recipe.classifies() {
        return Ok(training.clone());
    }
    let read: Vec<DataModality> = targets.iter().chain(mask).cloned().collect();
    open(recipe, DataSplit::Training, &read)?.ok_or_else(no_data)
}

/// Checks the labels that are inputs, over the training samples.
fn notices_of_inputs<'a>(
    recipe: &FinetuneRecipe,
    inputs: impl Iterator<Item = &'a DataModality>,
    training: &Dataset,
) -> Result<Vec<String>> {
    let labels: Vec<DataModality> =
        inputs.filter(|data| LabelRule::of(&data.encoding).is_some()).cloned().collect();
    if labels.is_empty() {
        return Ok(Vec::new());
    }
    let skips = recipe.data.bad_samples == BadSamplesChoice::Skip;
    let data = annotated(recipe, &labels, None, training)?;
    label_notices(&data, skips, recipe.tasks.allow_missing_classes)
}

fn check_classes(recipe: &FinetuneRecipe, found: &[String]) -> Result<()> {
    if !recipe.classifies() {
        return Ok(());
    }
    let problem = |problem: String| Err(Error::Recipe(problem));
    if found.len() < 2 {
        return problem(
            "classes are folders: DIR/<class>/<image> or DIR/rgb/<class>/<image>, and there are \
             fewer than two"
                .to_owned(),
        );
    }
    match recipe.num_classes {
        Some(said) if said != found.len() => problem(format!(
            "`num_classes` is {said}, and the training samples have {} folders of classes",
            found.len()
        )),
        _ => Ok(()),
    }
}

fn notices(recipe: &FinetuneRecipe, tasks: &[Task], constants: &Constants) -> Result<Vec<String>> {
    let mut notices = constants.label_notices.clone();
    for name in guessed_units(recipe) {
        notices.push(format!(
            "{name} is taken to be stored in millimetres; set modalities.{name}.divisor to the \
             stored units per metre otherwise (6553.6 for the published preparation of NYUv2)"
        ));
    }
    for (task, constant) in &constants.tasks {
        let kind = tasks.iter().find(|own| own.name == *task).map(|own| own.card.task.kind());
        match constant {
            Constant::Values(moments) if kind == Some(kinds::depth::KIND.name) => {
                let (mean, deviation) = moments.linear();
                check_guessed_unit(recipe, task, mean)?;
                notices.push(format!(
                    "training annotations of {task}: mean {mean:.2} m, deviation {deviation:.2} m, {:.1} % of the \
                     pixels valid",
                    100.0 * moments.valid_share()
                ));
                if moments.valid_share() < FEW_VALID {
                    notices.push(format!(
                        "few values of {task} are valid: look at modalities.{task}.divisor and \
                         depth_max"
                    ));
                }
            }
            Constant::Values(_) => {}
            Constant::Frequencies(_) => {}
        }
    }
    Ok(notices)
}

/// # Errors
/// If annotations that nothing says the unit of are no depth in millimetres.
fn check_guessed_unit(recipe: &FinetuneRecipe, task: &str, mean: f64) -> Result<()> {
    let guessed = guessed_units(recipe).contains(&task);
    if !guessed || PLAUSIBLE_DEPTH.contains(&mean) {
        return Ok(());
    }
    Err(Error::Recipe(format!(
        "training annotations of {task} have a mean of {mean:.4} m if they are stored in millimetres, \
         as is assumed; set modalities.{task}.divisor to the stored units per metre (1 if the files \
         hold metres)"
    )))
}

fn task(
    recipe: &FinetuneRecipe,
    name: &str,
    target: Option<&TaskModality>,
    classes: &[String],
    constants: &Constants,
) -> Result<(Task, TaskHead)> {
    let weight = recipe.task_weights.0.get(name).copied().unwrap_or(1.0);
    let constant = constants.tasks.get(name);
    let context = BuildContext { recipe, name, modality: target, constant, classes };
    let Built { task, loss, outputs } = (kind_of(name, target)?.build)(&context)?;
    let head = head(recipe, name, task.head_output(), outputs)?;
    let card = TaskCard { task, target: target.map(|target| target.data.clone()) };
    Ok((Task { name: name.to_owned(), card, loss, weight }, head))
}
