//! The samples of a run of pre-training.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::modality::Size;
use multimae_config::{BadSamplesChoice, DataSetRecipe, TaskModality};
use multimae_data::labels::LabelRule;
use multimae_data::{
    BadSamples, DataModality, Dataset, Geometry, Layout, Loader, LoaderConfig, MixedSet,
    MixedSource, Pipeline, SampleSource, StagedSource, stream,
};
use rand::Rng as _;

use super::PretrainSetup;
use super::TrainingStages;
use super::sets::SetRanges;
use crate::labels::label_notices;
use crate::sample_order::order_of;
use crate::{Error, Result};

/// The samples that a run trains on.
#[derive(Debug)]
pub struct TrainingData {
    /// The batches.
    pub loader: Loader,
    /// The samples of each data set, where there are several; else empty.
    pub sets: SetRanges,
}

/// One data set that is trained on.
#[derive(Debug, Clone)]
struct TrainingSet<'a> {
    dataset: Arc<Dataset>,
    /// Its entry, if the recipe lists data sets.
    entry: Option<&'a DataSetRecipe>,
}

impl PretrainSetup {
    fn data_modalities(&self) -> Vec<DataModality> {
        self.spec.modalities.values().map(|modality| modality.data.clone()).collect()
    }

    /// The training samples with augmentation, each batch at the size of its step.
    ///
    /// # Errors
    /// If a folder is not as it should be.
    pub fn training_data(&self) -> Result<TrainingData> {
        let recipe = &self.spec.recipe;
        let sets = self.training_sets(|_| true)?;
        let first =
            self.source(&sets, self.training_geometry(recipe.arch.input_size), Weights::Own)?;
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
        let steps_per_epoch = config.batches_per_epoch(first.samples.len());
        let stages = self.stages(steps_per_epoch)?;
        sets.iter().try_for_each(|set| self.check_tokens(set, &stages))?;
        let mut staged = StagedSource::new(first.samples, steps_per_epoch);
        for stage in stages.scheduled() {
            let source = self.source(&sets, self.training_geometry(stage.size), Weights::Own)?;
            staged = staged.with_stage(stage.first_step, source.samples);
        }
        let loader = Loader::new(staged, config)?.with_order(order_of(&recipe.data))?;
        Ok(TrainingData { loader, sets: first.ranges })
    }

    /// Checks that the inputs that a set has make enough tokens for the visible ones.
    fn check_tokens(&self, set: &TrainingSet<'_>, stages: &TrainingStages) -> Result<()> {
        let has = |name: &String| set.dataset.modalities().iter().any(|m| m.name == *name);
        for stage in stages.all() {
            let inputs = self.spec.recipe.tasks.in_domains.0.iter().zip(&stage.tokens_per_task);
            let tokens: usize =
                inputs.filter(|(name, _)| has(name)).map(|(_, &tokens)| tokens).sum();
            let visible = stage.masking.num_encoded_tokens;
            if tokens < visible {
                return Err(Error::Recipe(format!(
                    "data set `{}` lacks modalities: its inputs have {tokens} tokens, fewer than \
                     the {visible} visible ones; lower `num_encoded_tokens`",
                    set.entry.map(|entry| entry.name.as_str()).unwrap_or_default()
                )));
            }
        }
        Ok(())
    }

    /// Checks the labels of the training samples, and returns notices about them.
    ///
    /// # Errors
    /// If they cannot be trained on: a label is no class, or classes are missing.
    pub fn label_notices(&self) -> Result<Vec<String>> {
        let labels = |modality: &DataModality| LabelRule::of(&modality.encoding).is_some();
        let skips = self.bad_samples() == BadSamples::Skip;
        let several = self.spec.recipe.data_sets.is_some();
        // A set of several need not show every class.
        let allow_missing = self.spec.recipe.tasks.allow_missing_classes || several;
        let mut notices = Vec::new();
        for set in self.training_sets(labels)? {
            let own = label_notices(&set.dataset, skips, allow_missing)?.into_iter();
            notices.extend(own.map(|notice| match set.entry {
                Some(entry) => format!("{}: {notice}", entry.name),
                None => notice,
            }));
        }
        Ok(notices)
    }

    /// At most `count` training samples, centred and not augmented.
    ///
    /// # Errors
    /// If a folder is not as it should be.
    pub fn training_in_order(&self, count: usize) -> Result<Loader> {
        let mut sets = self.training_sets(|_| true)?;
        let all: usize = sets.iter().map(|set| set.dataset.len()).sum();
        for set in &mut sets {
            // As large a part of each.
            let share = (set.dataset.len() * count).div_ceil(all.max(1));
            let limited = set.dataset.as_ref().clone();
            set.dataset = Arc::new(limited.limit(Some(share), self.spec.recipe.run.seed));
        }
        self.in_order(&sets)
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
        let dataset = Arc::new(Dataset::open(root, &layout, &self.data_modalities())?);
        self.in_order(&[TrainingSet { dataset, entry: None }]).map(Some)
    }

    /// The data sets with those of their modalities that are `wanted`; sets without one are left out.
    fn training_sets(
        &self,
        wanted: impl Fn(&DataModality) -> bool,
    ) -> Result<Vec<TrainingSet<'_>>> {
        let recipe = &self.spec.recipe;
        let Some(sets) = &recipe.data_sets else {
            let root = recipe.data.data_path.as_deref().ok_or_else(|| {
                Error::Recipe(
                    "no data: give --data DIR, or `data_path` or `data_sets` in the recipe"
                        .to_owned(),
                )
            })?;
            let modalities = self.data_modalities().into_iter().filter(&wanted).collect::<Vec<_>>();
            if modalities.is_empty() {
                return Ok(Vec::new());
            }
            let layout = Layout::of(recipe.data.split.as_deref());
            let dataset = Dataset::open(Path::new(root), &layout, &modalities)?;
            let dataset = Arc::new(dataset.limit(recipe.max_images, recipe.run.seed));
            return Ok(vec![TrainingSet { dataset, entry: None }]);
        };
        let mut found = Vec::with_capacity(sets.0.len());
        for entry in &sets.0 {
            let modalities = recipe.modalities_of(entry)?.into_iter();
            let modalities: Vec<DataModality> =
                modalities.map(|TaskModality { data, .. }| data).filter(&wanted).collect();
            if !modalities.is_empty() {
                let layout = Layout::of(entry.split.as_deref());
                let dataset = Dataset::open(Path::new(&entry.path), &layout, &modalities)?;
                found.push(TrainingSet { dataset: Arc::new(dataset), entry: Some(entry) });
            }
        }
        Ok(found)
    }

    /// The samples of data sets as one source.
    fn source(
        &self,
        sets: &[TrainingSet<'_>],
        geometry: Geometry,
        weights: Weights,
    ) -> Result<Source> {
        let seed = self.spec.recipe.run.seed;
        if let [TrainingSet { dataset, entry: None }] = sets {
            let pipeline = Pipeline::new(Arc::clone(dataset), geometry, seed)?;
            return Ok(Source { samples: Arc::new(pipeline), ranges: SetRanges::default() });
        }
        let set = |(index, set): (usize, &TrainingSet<'_>)| {
            // Samples of the same number in two sets have crops of their own.
            let own = stream(seed, "data_set", 0, index as u64).next_u64();
            let entry = set.entry;
            Ok(MixedSet {
                name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
                weight: match weights {
                    Weights::Own => entry.map_or(1.0, |entry| entry.weight),
                    Weights::One => 1.0,
                },
                source: Pipeline::new(Arc::clone(&set.dataset), geometry, own)?,
            })
        };
        let sets = sets.iter().enumerate().map(set).collect::<Result<Vec<_>>>()?;
        let mixed = MixedSource::new(sets, seed)?;
        let ranges: IndexMap<_, _> = mixed.ranges();
        Ok(Source { samples: Arc::new(mixed), ranges: SetRanges(ranges) })
    }

    /// Samples of sets in their order, centred and not augmented.
    fn in_order(&self, sets: &[TrainingSet<'_>]) -> Result<Loader> {
        let size = self.spec.recipe.arch.input_size;
        let geometry = Geometry::CenterFit { size: (size.height, size.width) };
        let samples = self.source(sets, geometry, Weights::One)?.samples;
        let config = LoaderConfig {
            batch_size: self.spec.recipe.optim.batch_size.min(samples.len().max(1)),
            workers: self.spec.recipe.data.num_workers,
            prefetch: self.spec.recipe.data.prefetch,
            seed: self.spec.recipe.run.seed,
            shuffle: false,
            reshuffle: false,
            drop_last: false,
            bad_samples: self.bad_samples(),
        };
        Ok(Loader::new(samples, config)?)
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

    fn bad_samples(&self) -> BadSamples {
        match self.spec.recipe.data.bad_samples {
            BadSamplesChoice::Fail => BadSamples::Fail,
            BadSamplesChoice::Skip => BadSamples::Skip,
        }
    }
}

/// The number of times that an epoch shows the samples of a set.
#[derive(Debug, Clone, Copy)]
enum Weights {
    /// As its entry says.
    Own,
    /// Once.
    One,
}

/// Samples, and the data sets that they belong to.
struct Source {
    samples: Arc<dyn SampleSource>,
    ranges: SetRanges,
}
