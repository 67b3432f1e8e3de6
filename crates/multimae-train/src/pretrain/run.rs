//! A run of pre-training.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use indexmap::IndexMap;
use multimae::model::MultiMae;
use multimae::state::state_dict;
use multimae::weights::{write_model_config, write_safetensors};
use multimae_data::{Batch, Loader, Sample};
use multimae_group::Group;
use multimae_io::atomic::write_atomically;
use multimae_report::picture::Picture;

use super::evaluation::{evaluate_together, mean_baseline};
use super::pictures::reconstructions;
use super::report::write_report;
use super::step::pretrain_step;
use super::{PretrainSetup, SetRanges, TrainingData, TrainingStages};
use crate::Result;
use crate::learner::Learner;
use crate::observer::{Baseline, Event, Observer, Outcome};
use crate::peers::Peers;
use crate::run::{
    Continuation, ResumeOptions, RunFolder, RunStart, State, check_continues, fingerprint,
};
use crate::step::{StepNumbers, StepPlace};
use crate::together::{Together, dealt};
use crate::trainer::{
    Finished, Role, Trainer, TrainingPlan, TrainingTask, ValidationResult, open_folder,
    shown_samples,
};
use multimae_config::{PretrainRecipe, Recipe as _};
use multimae_infer::saved_model::LoadReport;

/// Without evaluation samples, the baseline is measured on no more training samples than this.
const BASELINE_SAMPLES: usize = 512;

/// A run of pre-training.
pub struct Pretraining<'a> {
    role: Role<'a, Masked>,
}

/// The task of pre-training in the training loop.
struct Masked {
    setup: PretrainSetup,
    plan: TrainingPlan,
    stages: TrainingStages,
    sets: SetRanges,
    /// The learner before the first step, until the trainer takes it.
    first: Cell<Option<Learner>>,
    evaluation: Option<Loader>,
    /// Samples that pictures show.
    shown: Vec<Sample>,
    baseline: Baseline,
    fingerprint: String,
}

impl<'a> Pretraining<'a> {
    /// Starts a run in an empty folder, or resumes the one in `out`.
    ///
    /// # Errors
    /// If the folder of a new run holds one, or that of a run to resume holds none; if the data, the
    /// checkpoint or the recipe are not as they should be.
    pub fn new(
        setup: PretrainSetup,
        out: &Path,
        start: RunStart,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        Self::together(setup, (out, start), observer, Together::alone())
    }

    /// The same by several processes, each of which calls this. The folder and the observer are
    /// process 0's; others get its state and look at neither.
    ///
    /// # Errors
    /// As [`Self::new`], in any process; if there are more processes than passes in a step.
    pub fn together(
        setup: PretrainSetup,
        run: (&Path, RunStart),
        observer: &'a mut dyn Observer,
        together: Together,
    ) -> Result<Self> {
        let first = |(setup, observer), group: &dyn Group| first(setup, run, observer, group);
        let other = |(setup, _), group: &dyn Group| other(setup, group);
        Ok(Self { role: Role::of(together, (setup, observer), first, other)? })
    }

    /// Trains until the last step, or until `stop` is set in any process; then a checkpoint is
    /// written and the run can be resumed.
    ///
    /// # Errors
    /// If a sample is bad, a loss is not finite, or a file cannot be written. Where a step failed, a
    /// checkpoint of the state before it is written; those that were written before stay.
    pub fn run(self, stop: &AtomicBool) -> Result<Outcome> {
        self.role.run(stop)
    }
}

/// The samples that this process trains on.
fn training(setup: &PretrainSetup, group: &dyn Group) -> Result<TrainingData> {
    let TrainingData { loader, sets } = setup.training_data()?;
    let optim = &setup.spec.recipe.optim;
    let loader = dealt(loader, (optim.batch_size, optim.update_freq), group)?;
    Ok(TrainingData { loader, sets })
}

/// The run of process 0.
fn first<'a>(
    setup: PretrainSetup,
    (out, start): (&Path, RunStart),
    observer: &'a mut dyn Observer,
    group: &dyn Group,
) -> Result<Trainer<'a, Masked>> {
    let TrainingData { loader: training, sets } = training(&setup, group)?;
    let evaluation = setup.evaluation_data()?;
    let label_notices = setup.label_notices()?;
    let folder = open_folder(out, start)?;
    let begun = !folder.checkpoints(1).list()?.is_empty();
    let (first, loaded) =
        if begun { (setup.learner()?, None) } else { setup.pretrained_learner()? };
    let steps_per_epoch = training.batches_per_epoch();
    let stages = setup.stages(steps_per_epoch)?;
    let loaded = loaded.iter().flat_map(LoadReport::lines);
    for notice in label_notices.into_iter().chain(loaded).chain(stages.lines()) {
        observer.event(&Event::Notice(notice));
    }
    let measured = match &evaluation {
        Some(loader) => loader.clone(),
        None => setup.training_in_order(BASELINE_SAMPLES)?,
    };
    let baseline = Baseline {
        losses: mean_baseline(&setup, &measured)?,
        scores: IndexMap::new(),
        on: if evaluation.is_some() { "evaluation" } else { "training" },
    };
    let shown = shown_samples(&measured, setup.spec.recipe.run.log_images)?;
    let plan = setup.plan(steps_per_epoch);
    let recipe = setup.spec.recipe.fingerprint();
    let fingerprint = fingerprint(&recipe, &training, evaluation.as_ref())?;
    let first = Cell::new(Some(first));
    let task =
        Masked { setup, plan, stages, sets, first, evaluation, shown, baseline, fingerprint };
    Trainer::new(task, training, folder, start, observer)
}

/// The task and the samples of another process.
fn other(setup: PretrainSetup, group: &dyn Group) -> Result<(Masked, Loader)> {
    let TrainingData { loader: training, sets } = training(&setup, group)?;
    let evaluation = setup.evaluation_data()?;
    let steps_per_epoch = training.batches_per_epoch();
    let (plan, stages) = (setup.plan(steps_per_epoch), setup.stages(steps_per_epoch)?);
    let fingerprint =
        fingerprint(&setup.spec.recipe.fingerprint(), &training, evaluation.as_ref())?;
    let (shown, baseline) = (Vec::new(), Baseline::default());
    let first = Cell::new(None);
    let task =
        Masked { setup, plan, stages, sets, first, evaluation, shown, baseline, fingerprint };
    Ok((task, training))
}

impl TrainingTask for Masked {
    type Model = MultiMae;
    const PICTURES: &'static str = "reconstructions";

    fn plan(&self) -> &TrainingPlan {
        &self.plan
    }

    fn learner(&self) -> Result<Learner> {
        self.first.take().map_or_else(|| self.setup.learner(), Ok)
    }

    fn recipe(&self) -> String {
        self.setup.spec.recipe.to_yaml()
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn check_continues(&self, begun: &str, options: ResumeOptions) -> Result<Continuation> {
        check_continues::<PretrainRecipe>(begun, &self.fingerprint, &[], options)
    }

    fn step(
        &self,
        learner: &mut Learner,
        data: (&Batch, &Peers<'_>),
        place: StepPlace,
    ) -> Result<StepNumbers> {
        pretrain_step((&self.setup, &self.stages, &self.sets), learner, data, place)
    }

    fn evaluates(&self) -> bool {
        self.evaluation.is_some()
    }

    fn evaluate(&self, learner: &Learner, group: &dyn Group) -> Result<Option<ValidationResult>> {
        let Some(data) = &self.evaluation else { return Ok(None) };
        let losses = evaluate_together(&self.setup, learner, data, group)?;
        let rank = losses.values().sum();
        Ok(Some(ValidationResult { losses, scores: IndexMap::new(), rank }))
    }

    fn baseline(&self) -> Option<&Baseline> {
        Some(&self.baseline)
    }

    fn draw(&self, learner: &Learner) -> Result<Option<Picture>> {
        if self.shown.is_empty() {
            return Ok(None);
        }
        reconstructions(&self.setup, learner, &self.shown).map(Some)
    }

    fn report(&self, folder: &RunFolder, state: &State<MultiMae>) -> Result<()> {
        write_report(folder, (&self.setup, &self.stages), state, &self.baseline)
    }

    /// Writes the trained weights with the model's configuration; the averaged ones if there are.
    fn finish(&mut self, run: Finished<'_, MultiMae>) -> Result<()> {
        let model = run.state.evaluated().model;
        let mut metadata: IndexMap<String, String> = [
            ("kind".to_owned(), "pretrained".to_owned()),
            ("recipe".to_owned(), self.setup.spec.recipe.to_yaml()),
            ("step".to_owned(), run.state.position.step.to_string()),
        ]
        .into_iter()
        .collect();
        write_model_config(&self.setup.spec.model, &mut metadata)?;
        let bytes = write_safetensors(&state_dict(&model), &metadata)?;
        Ok(write_atomically(&run.folder.model(), &bytes)?)
    }
}
