//! A run of fine-tuning: its beginning, in process 0 and in others.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use multimae::tuning::TrainedParameters;
use multimae_data::Loader;
use multimae_group::Group;
use multimae_infer::saved_model::LoadReport;

use super::FinetuneSetup;
use super::evaluation::Evaluated;
use super::prefix_cache::PrefixCache;
use super::queries::QueryCache;
use super::run::{Supervised, constant_on};
use crate::observer::{Baseline, Event, Observer, Outcome};
use crate::run::{RunStart, fingerprint};
use crate::together::{Together, dealt};
use crate::trainer::{Role, Trainer, open_folder, shown_samples};
use crate::{Error, Result};

/// Without evaluation samples, pictures show training samples among this many first ones.
const SHOWN_FROM: usize = 64;

/// A run of fine-tuning.
pub struct Finetuning<'a> {
    role: Role<'a, Supervised>,
}

impl<'a> Finetuning<'a> {
    /// Starts a run in an empty folder, or resumes the one in `out`.
    ///
    /// # Errors
    /// If the folder of a new run holds one, or that of a run to resume holds none; if the data, the
    /// weights, the checkpoint or the recipe are not as they should be.
    pub fn new(
        setup: FinetuneSetup,
        out: &Path,
        start: RunStart,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        Self::together(setup, (out, start), observer, Together::alone())
    }

    /// The same by several processes, each of which calls this. The folder and the observer are
    /// process 0's; others get its state and look at neither, but for a cache of frozen blocks.
    ///
    /// # Errors
    /// As [`Self::new`], in any process; if there are more processes than passes in a step.
    pub fn together(
        setup: FinetuneSetup,
        run: (&Path, RunStart),
        observer: &'a mut dyn Observer,
        together: Together,
    ) -> Result<Self> {
        let first = |(setup, observer), group: &dyn Group| first(setup, run, observer, group);
        let other = |(setup, _), group: &dyn Group| other(setup, run.0, group);
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
fn training(setup: &FinetuneSetup, group: &dyn Group) -> Result<Loader> {
    let optim = &setup.recipe.optim;
    dealt(setup.training_data()?, (optim.batch_size, optim.update_freq), group)
}

/// The run of process 0.
fn first<'a>(
    setup: FinetuneSetup,
    (out, start): (&Path, RunStart),
    observer: &'a mut dyn Observer,
    group: &dyn Group,
) -> Result<Trainer<'a, Supervised>> {
    let training = training(&setup, group)?;
    let evaluation = setup.evaluation_data()?;
    let test = setup.test_data()?;
    let folder = open_folder(out, start)?;
    for notice in &setup.notices {
        observer.event(&Event::Notice(notice.clone()));
    }
    let begun = !folder.checkpoints(1).list()?.is_empty();
    let (first, loaded) =
        if begun { (setup.learner()?, None) } else { setup.pretrained_learner()? };
    for line in loaded.iter().flat_map(LoadReport::lines) {
        observer.event(&Event::Notice(line));
    }
    if let Some(report) = &loaded {
        report.backbone.write(&folder.backbone())?;
    }
    observer.event(&Event::Notice(TrainedParameters::of(&first.model).to_string()));
    let groups = setup.groups(&first.model)?;
    let (prefix, notices) =
        PrefixCache::of(&setup, &first.model, &training, &PrefixCache::folder(&setup, out))?;
    notices.into_iter().for_each(|notice| observer.event(&Event::Notice(notice)));
    let baseline = evaluation
        .as_ref()
        .map(|data| {
            let Evaluated { losses, scores, .. } = constant_on(&setup, data)?;
            Ok::<_, Error>(Baseline { losses, scores, on: "evaluation" })
        })
        .transpose()?;
    let shown = match &evaluation {
        Some(data) => shown_samples(data, setup.recipe.run.log_images)?,
        None => shown_samples(&setup.training_in_order(SHOWN_FROM)?, setup.recipe.run.log_images)?,
    };
    let plan = setup.plan(training.batches_per_epoch());
    let fingerprint = fingerprint(&setup.fingerprint(), &training, evaluation.as_ref())?;
    let task = Supervised {
        queries: QueryCache::of(&setup.recipe),
        prefix,
        setup,
        plan,
        first,
        groups,
        loaded,
        evaluation,
        test,
        shown,
        baseline,
        fingerprint,
        finished: Vec::new(),
    };
    Trainer::new(task, training, folder, start, observer)
}

/// The task and the samples of another process. A cache of frozen blocks is its own, in a folder beside
/// that of process 0.
fn other(setup: FinetuneSetup, out: &Path, group: &dyn Group) -> Result<(Supervised, Loader)> {
    let training = training(&setup, group)?;
    let evaluation = setup.evaluation_data()?;
    let first = setup.learner()?;
    let groups = setup.groups(&first.model)?;
    let own = PrefixCache::folder(&setup, out).join(format!("process-{}", group.rank()));
    let (prefix, _) = PrefixCache::of(&setup, &first.model, &training, &own)?;
    let plan = setup.plan(training.batches_per_epoch());
    let fingerprint = fingerprint(&setup.fingerprint(), &training, evaluation.as_ref())?;
    let task = Supervised {
        queries: QueryCache::of(&setup.recipe),
        prefix,
        setup,
        plan,
        first,
        groups,
        loaded: None,
        // Process 0 measures.
        evaluation: None,
        test: None,
        shown: Vec::new(),
        baseline: None,
        fingerprint,
        finished: Vec::new(),
    };
    Ok((task, training))
}
