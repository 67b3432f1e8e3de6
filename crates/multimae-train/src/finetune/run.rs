//! A run of fine-tuning.

use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;
use multimae::burn::tensor::{Tensor, TensorData};
use multimae::encoder::Phase;
use multimae::losses::{SupervisedTarget, TaskLoss};
use multimae::peft::{PeftEncoding, PeftModel};
use multimae::state::{AllowedKeys, load, state_dict};
use multimae::tuning::Tuning;
use multimae_data::{Batch, Loader, Sample, stream};
use multimae_group::Group;
use multimae_report::picture::Picture;

use super::FinetuneSetup;
use super::evaluation::{Evaluated, constant_predictions, evaluate, evaluate_model};
use super::pictures::predictions;
use super::prefix_cache::PrefixCache;
use super::queries::{QueryCache, TRAINING};
use super::report::{Parts, write_report};
use super::setup::OF_DATA;
use super::targets::{loss, targets};
use crate::head_loss::settled;
use crate::learner::{Learner, Losses};
use crate::observer::{Baseline, Event};
use crate::optim::ParameterGroups;
use crate::peers::Peers;
use crate::run::{
    Continuation, ParameterCounts, ResumeOptions, RunFolder, RunFrames, RunResult, SetFrames,
    SetScores, State, StepSeconds, check_continues,
};
use crate::step::{StepNumbers, StepPlace, train_step};
use crate::trainer::{Finished, TrainingPlan, TrainingTask, ValidationResult};
use crate::{Error, Result};
use multimae_config::keys::Keys as _;
use multimae_config::{FinetuneRecipe, Recipe as _};
use multimae_infer::checkpoint::evaluated_weights;
use multimae_infer::saved_model::LoadReport;
use multimae_infer::saved_model::{Adapter, Backbone, SavedModel};
use multimae_tasks::class_of;

/// Names of sets of samples.
const EVALUATION: &str = "evaluation";
const TEST: &str = "test";

/// The task of fine-tuning in the training loop.
pub(super) struct Supervised {
    pub(super) setup: FinetuneSetup,
    pub(super) plan: TrainingPlan,
    /// The queries of prompt pools, if they stay the same.
    pub(super) queries: Option<QueryCache>,
    /// The outputs of frozen blocks, if they are kept.
    pub(super) prefix: Option<PrefixCache>,
    /// The learner before the first step.
    pub(super) first: Learner<PeftModel>,
    pub(super) groups: ParameterGroups,
    pub(super) loaded: Option<LoadReport>,
    pub(super) evaluation: Option<Loader>,
    pub(super) test: Option<Loader>,
    /// Samples that pictures show.
    pub(super) shown: Vec<Sample>,
    pub(super) baseline: Option<Baseline>,
    pub(super) fingerprint: String,
    /// The finished model by the set it was measured on, with the scores of the constant prediction
    /// there.
    pub(super) finished: Vec<(String, Evaluated, IndexMap<String, f64>)>,
}

impl Supervised {
    /// The losses of a forward pass over samples.
    fn losses(
        &self,
        learner: &Learner<PeftModel>,
        samples: &[Sample],
        epoch: u64,
        number_of_pass: u64,
    ) -> Result<Losses> {
        let setup = &self.setup;
        let device = setup.device.clone().autodiff();
        let seed = setup.recipe.run.seed;
        let mut inputs = setup.card.inputs(samples, &device)?;
        let mut mixed = None;
        if let (Some(mixing), Some(task)) = (&setup.mixing, setup.tasks.first()) {
            let names = task.card.task.image_classes();
            let classes = samples
                .iter()
                .map(|sample| class_of(names, &sample.id))
                .collect::<multimae_tasks::Result<Vec<_>>>()?;
            let mut rng = stream(seed, "mixing", epoch, number_of_pass);
            let (new, shares) = mixing.mix(inputs, &classes, &mut rng)?;
            inputs = new;
            let data = TensorData::new(shares, [samples.len(), names.len()]);
            mixed = Some(SupervisedTarget::Distributions(Tensor::from_data(data, &device)));
        }
        let mut drop_path = stream(seed, "drop_path", epoch, number_of_pass);
        let phase = &mut Phase::Training(&mut drop_path);
        let model = &learner.model;
        let PeftEncoding { mut outputs, terms, .. } = match (&self.prefix, &self.queries) {
            (Some(prefix), _) => prefix.encode(model, (samples, &inputs), epoch, phase)?,
            (None, Some(cache)) => {
                let queries = cache.queries(TRAINING, samples, model, &inputs)?;
                model.encode(inputs, queries, phase)?
            }
            (None, None) => model.encode(inputs, None, phase)?,
        };
        let one_by_one = setup.one_head_at_a_time();
        let mut unweighted: IndexMap<String, TaskLoss> = IndexMap::new();
        let mut scaled: IndexMap<String, TaskLoss> = IndexMap::new();
        for task in &setup.tasks {
            let output = outputs.swap_remove(&task.name).ok_or_else(|| {
                Error::Recipe(format!("the model has no head for `{}`", task.name))
            })?;
            let target = match &mixed {
                Some(target) => target.clone(),
                None => targets(setup, task, samples, &device)?.target,
            };
            let mut of_head =
                |output| loss(task, &model.predict(&task.name, output, phase)?, &target);
            let loss = match one_by_one {
                true => settled(model, output, of_head)?,
                false => of_head(output)?,
            };
            let value = if task.weight == 1.0 {
                loss.value.clone()
            } else {
                loss.value.clone().mul_scalar(task.weight)
            };
            scaled.insert(task.name.clone(), TaskLoss { value, ..loss.clone() });
            unweighted.insert(task.name.clone(), loss);
        }
        let losses = Losses::new(scaled, learner.balancer.as_ref())?;
        Ok(Losses { unweighted, ..losses }.with_terms(terms))
    }

    /// `set` is a name for the samples that is not that of others.
    fn evaluate_on(
        &self,
        (set, data): (&'static str, &Loader),
        learner: &Learner<PeftModel>,
    ) -> Result<Evaluated> {
        evaluate_model(&self.setup, learner, data, |samples, inputs| match &self.queries {
            Some(cache) => cache.queries(set, samples, &learner.model, inputs),
            None => Ok(None),
        })
    }

    /// The finished model: the best by its score, or the last where nothing was measured or the best
    /// is damaged.
    fn best_model(&self, run: &mut Finished<'_, PeftModel>) -> Result<(PeftModel, String)> {
        let model = self.setup.model(&self.setup.device)?;
        let best = if self.evaluation.is_some() { run.checkpoints.best() } else { Ok(None) };
        let best = best.unwrap_or_else(|error| {
            let notice =
                format!("the best checkpoint is damaged, the last model is used ({error})");
            run.observer.event(&Event::Notice(notice));
            None
        });
        let (weights, step) = match best {
            Some(best) => (evaluated_weights(&best.tensors), best.position.step),
            None => (state_dict(&run.state.evaluated().model), run.state.position.step),
        };
        Ok((load(model, weights, &AllowedKeys::default())?, step.to_string()))
    }

    /// Writes what was trained as an adapter, if the run began with a backbone that it keeps.
    fn save_adapter(&self, saved: &SavedModel, folder: &RunFolder) -> Result<()> {
        let tuning = &self.setup.recipe.tuning;
        if *tuning == Tuning::Full || !folder.backbone().exists() {
            return Ok(());
        }
        let backbone = Backbone::read(&folder.backbone())?;
        Ok(Adapter::of(saved, tuning, backbone).save(&folder.adapter())?)
    }

    /// Measures the finished model beside the constant prediction, whose scores are measured too
    /// where they are not known.
    fn measure(
        &mut self,
        run: &mut Finished<'_, PeftModel>,
        (kind, name): (&'static str, &str),
        data: &Loader,
        learner: &Learner<PeftModel>,
        constant: Option<IndexMap<String, f64>>,
    ) -> Result<()> {
        let set = if kind == TEST { TEST } else { EVALUATION };
        let model = self.evaluate_on((set, data), learner)?;
        let constant = match constant {
            Some(scores) => scores,
            None => constant_on(&self.setup, data)?.scores,
        };
        let position = &run.state.position;
        run.logs.measured(kind, (position.step, position.epoch), &model.losses, &model.scores)?;
        run.observer.event(&Event::Scored {
            on: name.to_owned(),
            scores: model.scores.clone(),
            baseline: constant.clone(),
        });
        self.finished.push((name.to_owned(), model, constant));
        Ok(())
    }
}

impl Supervised {
    /// Returns the sums behind the scores of the finished run.
    fn frames(&self) -> Result<RunFrames> {
        let recipe = &self.setup.recipe;
        let mut measured = self.finished.iter().map(|(_, model, _)| model.frames.clone());
        let mut of = |exists: bool, own_root: &Option<String>| {
            let Some(frames) = exists.then(|| measured.next()).flatten() else { return Ok(None) };
            let root = own_root.as_deref().or(recipe.data.data_path.as_deref());
            SetFrames::new(frames, root.map(Path::new)).map(Some)
        };
        // They were measured in this order.
        let validation = of(self.evaluation.is_some(), &recipe.data.eval_data_path)?;
        let test = of(self.test.is_some(), &recipe.test_data_path)?;
        Ok(RunFrames { validation, test })
    }

    /// Returns the cost and the scores of the finished run.
    fn result(&self, run: &Finished<'_, PeftModel>) -> Result<RunResult> {
        let (recipe, position) = (&self.setup.recipe, &run.state.position);
        let mut measured = self.finished.iter().map(|(set, model, constant)| SetScores {
            set: set.clone(),
            model: model.scores.clone(),
            constant: constant.clone(),
        });
        // They were measured in this order.
        let validation = self.evaluation.as_ref().and_then(|_| measured.next());
        let test = self.test.as_ref().and_then(|_| measured.next());
        // A finished run that is resumed does no step: what was measured stays.
        let before = || RunResult::read(&run.folder.result()).ok()?.step_seconds;
        Ok(RunResult {
            format_version: RunResult::VERSION,
            tuning: recipe.tuning.to_string(),
            seed: recipe.run.seed,
            steps: position.step,
            training_seconds: position.seconds,
            step_seconds: StepSeconds::of(run.step_seconds).or_else(before),
            peak_memory: position.peak_memory,
            parameters: ParameterCounts::of(&run.state.learner.model),
            model_bytes: fs::metadata(run.folder.model())?.len(),
            adapter_bytes: fs::metadata(run.folder.adapter()).ok().map(|m| m.len()),
            validation,
            test,
            recipe: recipe.values().into_iter().map(|(key, v)| (key.to_owned(), v)).collect(),
        })
    }
}

/// Evaluates constant predictions on a set.
pub(super) fn constant_on(setup: &FinetuneSetup, data: &Loader) -> Result<Evaluated> {
    evaluate(setup, data, &|samples| constant_predictions(setup, samples))
}

fn set_name(split: Option<&String>, otherwise: &str) -> String {
    split.cloned().unwrap_or_else(|| otherwise.to_owned())
}

impl TrainingTask for Supervised {
    type Model = PeftModel;
    const PICTURES: &'static str = "predictions";

    fn plan(&self) -> &TrainingPlan {
        &self.plan
    }

    fn learner(&self) -> Result<Learner<PeftModel>> {
        Ok(self.first.clone())
    }

    fn recipe(&self) -> String {
        self.setup.recipe.to_yaml()
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn check_continues(&self, begun: &str, options: ResumeOptions) -> Result<Continuation> {
        check_continues::<FinetuneRecipe>(begun, &self.fingerprint, &OF_DATA, options)
    }

    fn step(
        &self,
        learner: &mut Learner<PeftModel>,
        (batch, peers): (&Batch, &Peers<'_>),
        place: StepPlace,
    ) -> Result<StepNumbers> {
        let losses = |learner: &Learner<PeftModel>, samples: &[Sample], index: u64| {
            let number_of_pass = batch.batch * self.setup.recipe.optim.update_freq as u64 + index;
            self.losses(learner, samples, batch.epoch, number_of_pass)
        };
        let rate = |name: &str| self.groups.rate(name, place.rate());
        train_step(&self.setup.step_rules(), learner, (batch, peers), place, &losses, rate)
    }

    fn evaluates(&self) -> bool {
        self.evaluation.is_some()
    }

    fn evaluate(
        &self,
        learner: &Learner<PeftModel>,
        _group: &dyn Group,
    ) -> Result<Option<ValidationResult>> {
        let Some(data) = &self.evaluation else { return Ok(None) };
        let evaluated = self.evaluate_on((EVALUATION, data), learner)?;
        let rank = -evaluated.score();
        Ok(Some(ValidationResult { losses: evaluated.losses, scores: evaluated.scores, rank }))
    }

    fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    fn draw(&self, learner: &Learner<PeftModel>) -> Result<Option<Picture>> {
        if self.shown.is_empty() {
            return Ok(None);
        }
        predictions(&self.setup, learner, &self.shown).map(Some)
    }

    fn report(&self, folder: &RunFolder, state: &State<PeftModel>) -> Result<()> {
        let parts = Parts {
            setup: &self.setup,
            state,
            groups: &self.groups,
            loaded: self.loaded.as_ref(),
            baseline: self.baseline.as_ref(),
            finished: &self.finished,
        };
        write_report(folder, &parts)
    }

    /// Writes the best model, reads it back strictly and measures that.
    fn finish(&mut self, mut run: Finished<'_, PeftModel>) -> Result<()> {
        let (model, step) = self.best_model(&mut run)?;
        let notes = [("recipe".to_owned(), self.setup.recipe.to_yaml()), ("step".to_owned(), step)];
        let path = run.folder.model();
        let saved = SavedModel {
            model,
            card: self.setup.card.clone(),
            notes: notes.into_iter().collect(),
            precision: self.setup.precision,
        };
        saved.save(&path)?;
        self.save_adapter(&saved, run.folder)?;
        let read = SavedModel::load(&path, &self.setup.device)?;
        let learner = Learner { model: read.model, ..run.state.evaluated() };
        let recipe = &self.setup.recipe;
        let validated = set_name(recipe.data.eval_split.as_ref(), "evaluation");
        let tested = set_name(recipe.test_split.as_ref(), "test");
        if let Some(data) = self.evaluation.clone() {
            let constant = self.baseline.as_ref().map(|baseline| baseline.scores.clone());
            self.measure(&mut run, ("final", &validated), &data, &learner, constant)?;
        }
        if let Some(data) = self.test.clone() {
            self.measure(&mut run, (TEST, &tested), &data, &learner, None)?;
        }
        self.frames()?.write(&run.folder.frames())?;
        self.result(&run)?.write(&run.folder.result())
    }
}
