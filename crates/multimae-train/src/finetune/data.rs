//! The data of a run: its sets, its pipelines, its loaders.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use multimae_data::{
    BadSamples, Base, ColorAugmentation, DataModality, Dataset, Geometry, Layout, Loader,
    LoaderConfig, Pipeline, has_folder,
};

use super::FinetuneSetup;
use super::native::NativeSource;
use super::prefix_cache::FixedViews;
use crate::sample_order::order_of;
use crate::{Error, Result};
use multimae_config::{Augmentation, BadSamplesChoice, FinetuneRecipe};

/// Factors of large-scale jitter in the published segmentation.
const LARGE_SCALE_JITTER: [f64; 2] = [0.1, 2.0];
/// Below this side, the centre that is evaluated is smaller than the image.
const CROP_PCT_BELOW: usize = 384;
const CROP_PCT: f64 = 224.0 / 256.0;
/// Of fixed views, which runs of all seeds share.
const VIEWS_SEED: u64 = 0;

/// One of a recipe's sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataSplit {
    Training,
    Evaluation,
    Test,
}

/// Opens a set, if the recipe names it.
///
/// # Errors
/// If it is not as it should be.
pub(super) fn open(
    recipe: &FinetuneRecipe,
    set: DataSplit,
    modalities: &[DataModality],
) -> Result<Option<Dataset>> {
    let (split, own_root, max) = match set {
        DataSplit::Training => (&recipe.data.split, &None, recipe.max_train_images),
        DataSplit::Evaluation => {
            (&recipe.data.eval_split, &recipe.data.eval_data_path, recipe.max_val_images)
        }
        DataSplit::Test => (&recipe.test_split, &recipe.test_data_path, recipe.max_test_images),
    };
    if set != DataSplit::Training && split.is_none() && own_root.is_none() {
        return Ok(None);
    }
    let root = own_root.as_deref().or(recipe.data.data_path.as_deref()).ok_or_else(|| {
        Error::Recipe("no data: give --data DIR, or `data_path` in the recipe".to_owned())
    })?;
    let root = Path::new(root);
    let modalities: Vec<DataModality> = modalities
        .iter()
        .map(|modality| {
            let mut modality = modality.clone();
            // Folders of classes may lie right below the root, as in ImageNet.
            let alone = recipe.classifies() && modalities.len() == 1;
            if alone && !has_folder(root, &modality.source()) {
                modality.folder = ".".to_owned();
            }
            modality
        })
        .collect();
    let dataset = Dataset::open(root, &Layout::of(split.as_deref()), &modalities)?;
    Ok(Some(dataset.limit(max, recipe.run.seed)))
}

/// The classes of images: the first folders of the samples, sorted.
pub(super) fn class_names(data: &Dataset) -> Vec<String> {
    let folders: BTreeSet<String> =
        data.ids().filter_map(|id| Some(id.split_once('/')?.0.to_owned())).collect();
    folders.into_iter().collect()
}

/// Returns the geometry of evaluation.
pub(super) fn evaluation_geometry(recipe: &FinetuneRecipe) -> Geometry {
    let size = (recipe.arch.input_size.height, recipe.arch.input_size.width);
    if recipe.classifies() {
        let side = size.0.min(size.1);
        let usual = if side < CROP_PCT_BELOW { CROP_PCT } else { 1.0 };
        return Geometry::CenterCrop { size, share: recipe.crop_pct.unwrap_or(usual) };
    }
    match recipe.aug_name {
        Augmentation::Simple => Geometry::Inside { size },
        Augmentation::NyuAugs => Geometry::CenterFit { size },
    }
}

fn training_geometry(recipe: &FinetuneRecipe) -> Geometry {
    let size = (recipe.arch.input_size.height, recipe.arch.input_size.width);
    let hflip = recipe.data.hflip;
    if recipe.classifies() {
        let ([low, high], [narrow, wide]) = (recipe.data.crop_scale, recipe.data.crop_ratio);
        return Geometry::RandomResizedCrop {
            size,
            scale: (low, high),
            ratio: (narrow, wide),
            hflip,
        };
    }
    let (base, usual) = match recipe.aug_name {
        Augmentation::Simple => (Base::Inside, LARGE_SCALE_JITTER),
        Augmentation::NyuAugs => (Base::Cover, [1.0; 2]),
    };
    let [low, high] = recipe.scale_jitter.unwrap_or(usual);
    Geometry::ScaleJitter { size, base, zoom: (low, high), hflip }
}

fn colors(recipe: &FinetuneRecipe) -> Option<ColorAugmentation> {
    if recipe.classifies() {
        let strength = recipe.color_jitter;
        let jitter = ColorAugmentation::around(strength, strength, strength, 0.0);
        return (strength > 0.0).then_some(ColorAugmentation { probability: 1.0, ..jitter });
    }
    let simple = recipe.aug_name == Augmentation::Simple;
    recipe.color_augs.unwrap_or(simple).then(|| match recipe.aug_name {
        Augmentation::Simple => ColorAugmentation::around(0.4, 0.4, 0.2, 0.1),
        Augmentation::NyuAugs => {
            ColorAugmentation { grey: 0.3, ..ColorAugmentation::around(0.1255, 0.4, 0.5, 0.2) }
        }
    })
}

impl FinetuneSetup {
    fn pipeline(&self, data: Arc<Dataset>, geometry: Geometry, seed: u64) -> Result<Pipeline> {
        let mut pipeline = Pipeline::new(data, geometry, seed)?;
        for task in &self.tasks {
            let classes = task.card.task.classes().len();
            if self.recipe.seg_use_void_label && classes > 0 {
                pipeline = pipeline.with_label_padding(&task.name, classes as i64);
            }
        }
        Ok(pipeline)
    }

    fn loader_config(&self, samples: usize, training: bool) -> LoaderConfig {
        let recipe = &self.recipe;
        let batch = recipe.optim.batch_size * if training { recipe.optim.update_freq } else { 1 };
        LoaderConfig {
            batch_size: if training { batch } else { batch.min(samples.max(1)) },
            workers: recipe.data.num_workers,
            prefetch: recipe.data.prefetch,
            seed: recipe.run.seed,
            shuffle: training,
            reshuffle: recipe.data.reshuffle,
            drop_last: training,
            bad_samples: match recipe.data.bad_samples {
                BadSamplesChoice::Fail => BadSamples::Fail,
                BadSamplesChoice::Skip => BadSamples::Skip,
            },
        }
    }

    /// The training samples with augmentation.
    ///
    /// # Errors
    /// If the set has no whole batch.
    pub fn training_data(&self) -> Result<Loader> {
        let data = Arc::clone(&self.training);
        let config = self.loader_config(data.len(), true);
        let views = self.recipe.cache_views as u64;
        let order = order_of(&self.recipe.data);
        let seed = if views > 0 { VIEWS_SEED } else { self.recipe.run.seed };
        let mut pipeline = self.pipeline(data, training_geometry(&self.recipe), seed)?;
        if let Some(colors) = colors(&self.recipe) {
            pipeline = pipeline.with_color(colors)?;
        }
        if views > 0 {
            let views = FixedViews { pipeline, views };
            return Ok(Loader::new(views, config)?.with_order(order)?);
        }
        Ok(Loader::new(pipeline, config)?.with_order(order)?)
    }

    /// The fixed views of training frames, in words that differ where these do.
    pub(super) fn views(&self) -> String {
        let recipe = &self.recipe;
        format!("{:?}, {:?}, {}", training_geometry(recipe), colors(recipe), recipe.cache_views)
    }

    /// At most `count` training samples in their order, as evaluation sees them.
    ///
    /// # Errors
    /// If the geometry does not fit.
    pub fn training_in_order(&self, count: usize) -> Result<Loader> {
        let count = count.min(self.training.len());
        self.in_order(self.training.as_ref().clone().limit(Some(count), self.recipe.run.seed))
    }

    /// The samples that choose the best model, if the recipe names some.
    ///
    /// # Errors
    /// If the folder is not as it should be.
    pub fn evaluation_data(&self) -> Result<Option<Loader>> {
        self.set_in_order(DataSplit::Evaluation)
    }

    /// The samples that the best model is measured on at the end, if the recipe names some.
    ///
    /// # Errors
    /// If the folder is not as it should be.
    pub fn test_data(&self) -> Result<Option<Loader>> {
        self.set_in_order(DataSplit::Test)
    }

    fn set_in_order(&self, set: DataSplit) -> Result<Option<Loader>> {
        let data = open(&self.recipe, set, &self.data_modalities())?;
        data.map(|data| self.in_order(data)).transpose()
    }

    fn in_order(&self, data: Dataset) -> Result<Loader> {
        let config = self.loader_config(data.len(), false);
        let mut names: Vec<String> = self.tasks.iter().map(|task| task.name.clone()).collect();
        names.extend(self.card.valid_mask.iter().map(|mask| mask.name.clone()));
        let seed = self.recipe.run.seed;
        let pipeline = self.pipeline(Arc::new(data), self.card.geometry, seed)?;
        Ok(Loader::new(NativeSource { pipeline, card: self.card.clone(), names }, config)?)
    }
}
