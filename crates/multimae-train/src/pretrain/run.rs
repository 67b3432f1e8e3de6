//! A run of pre-training.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use indexmap::IndexMap;
use multimae::model::MultiMae;
use multimae::state::state_dict;
use multimae::weights::{write_model_config, write_safetensors};
use multimae_data::{Batch, Loader, Sample};
use multimae_io::atomic::write_atomically;
use multimae_report::picture::Picture;

use super::evaluation::{evaluate, mean_baseline};
use super::pictures::reconstructions;
use super::report::write_report;
use super::step::pretrain_step;
use super::{PretrainSetup, SetRanges, TrainingData, TrainingStages};
use crate::Result;
use crate::learner::Learner;
use crate::observer::{Baseline, Event, Observer, Outcome};
use crate::run::{
    Continuation, ResumeOptions, RunFolder, RunStart, State, check_continues, fingerprint,
};
use crate::step::{StepNumbers, StepPlace};
use crate::trainer::{
    Finished, Trainer, TrainingPlan, TrainingTask, ValidationResult, open_folder, shown_samples,
};
use multimae_config::{PretrainRecipe, Recipe as _};
use multimae_infer::saved_model::LoadReport;

/// Without evaluation samples, the baseline is measured on no more training samples than this.
const BASELINE_SAMPLES: usize = 512;

/// A run of pre-training.
pub struct Pretraining<'a> {
    trainer: Trainer<'a, Masked>,
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
        let TrainingData { loader: training, sets } = setup.training_data()?;
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
        Ok(Self { trainer: Trainer::new(task, training, folder, start, observer)? })
    }

    /// Trains until the last step, or until `stop` is set; then a checkpoint is written and the
    /// run can be resumed.
    ///
    /// # Errors
    /// If a sample is bad, a loss is not finite, or a file cannot be written. Checkpoints that
    /// were written before stay.
    pub fn run(self, stop: &AtomicBool) -> Result<Outcome> {
        self.trainer.run(stop)
    }
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

    fn step(&self, learner: &mut Learner, batch: &Batch, place: StepPlace) -> Result<StepNumbers> {
        pretrain_step((&self.setup, &self.stages, &self.sets), learner, batch, place)
    }

    fn evaluates(&self) -> bool {
        self.evaluation.is_some()
    }

    fn evaluate(&self, learner: &Learner) -> Result<Option<ValidationResult>> {
        let Some(data) = &self.evaluation else { return Ok(None) };
        let losses = evaluate(&self.setup, learner, data)?;
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
