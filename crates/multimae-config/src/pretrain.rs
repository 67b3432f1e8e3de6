//! The recipe of pre-training: the published keys, and ours.

use multimae::modality::Size;

use super::choices::{BalancerChoice, NanSamplesChoice};
use super::input_schedule::{InputSchedule, InputStage};
use super::keys::recipe_keys;
use super::modalities::TaskModality;
use super::range::at_least;
use super::recipe::Recipe;
use super::shared::{
    DataKeys, ModelKeys, OptimisationKeys, RunKeys, TaskKeys, WeightKeys, problem,
};
use super::usual::{ModalityDefaults, Role, usual};
use super::values::{Alphas, DataSetRecipe, DataSets, Names, PiecewiseConstant};
use crate::Result;

/// The decoder of standardised patches that `extra_norm_pix_loss` adds, and its modality.
pub const NORM_RGB: (&str, &str) = ("norm_rgb", "rgb");

recipe_keys! {
    /// Everything that can be set for pre-training.
    pub struct PretrainRecipe {
        group "Tasks" {
            use tasks: TaskKeys {
                out_domains = Names::joined("rgb-depth-semseg"),
            }
            /// Predict RGB with standardised patches too, with a decoder of its own, `norm_rgb`.
            extra_norm_pix_loss: bool = true,
        }
        group "Model" {
            use arch: ModelKeys {}
            /// Stochastic depth of the last block; it rises linearly from 0 at the first.
            drop_path: f64 [at_least(0.0).below(1.0)] = 0.0,
            /// Attention heads of the decoders.
            decoder_num_heads: usize [at_least(1.0)] = 8,
            /// Queries of a decoder are its task's own tokens, not mask tokens alone.
            decoder_use_task_queries: bool = true,
            /// Cross-attention of the decoders to the visible tokens.
            decoder_use_xattn: bool = true,
        }
        group "Pre-trained weights" {
            use weights: WeightKeys {
                /// Weights to begin with, to continue pre-training: a run's folder, or a file in
                /// safetensors, .pth or .npz, of MultiMAE, MultiViT, timm's ViT (also MAE's) or
                /// Hugging Face's. Input adapters and decoders that it lacks begin fresh. Random
                /// ones if null.
                finetune,
                /// Parameters, by the beginning of their name, that the file need not have, or may
                /// have in another shape; they begin fresh.
                allow_missing,
            }
        }
        group "Masking and losses" {
            /// Visible tokens per sample, over all modalities together.
            num_encoded_tokens: usize [at_least(1.0)] = 98,
            /// Concentration of the Dirichlet distribution that shares them out; smaller is more
            /// one-sided.
            alphas: Alphas = Alphas(vec![1.0]),
            /// First draw one of the non-empty subsets of the modalities.
            sample_tasks_uniformly: bool = false,
            /// Count visible patches in the losses too.
            loss_on_unmasked: bool = false,
            /// Weighting of the tasks.
            task_balancer: BalancerChoice = BalancerChoice::None,
            /// Treatment of samples whose loss is NaN; `ignore` is what the published code does.
            nan_samples: NanSamplesChoice = NanSamplesChoice::Stop,
        }
        group "Progressive training" {
            /// Sizes of the training images over the run, as in `[[0, 128], [0.6, 224]]`: 128 x 128
            /// for the first 60 % of the steps, then the full size. Each is a multiple of
            /// `patch_size`; the last is `input_size`, which evaluation always uses. The number of
            /// visible tokens is scaled with that of patches. `input_size` throughout if null.
            input_size_schedule: Option<PiecewiseConstant<Size>> = None,
            /// Visible tokens per sample over the run, in the same form; the last number is
            /// `num_encoded_tokens`, which evaluation always uses. These numbers are not scaled
            /// with the size.
            num_encoded_tokens_schedule: Option<PiecewiseConstant<usize>> = None,
        }
        group "Optimisation" {
            use optim: OptimisationKeys {}
            /// Learning rate per 256 samples of a step.
            blr: f64 [at_least(0.0)] = 1e-4,
        }
        group "Data" {
            use data: DataKeys {}
            /// Several data sets in place of `data_path` and `split`, as in
            /// `[{path: rooms, weight: 0.5}, {path: photos, modalities: [rgb]}]`: `weight` is the
            /// number of times that an epoch shows each sample. Modalities that a set lacks are
            /// masked in its samples, and count in no loss. One data set if null.
            data_sets: Option<DataSets> = None,
            /// Use no more than this many samples, drawn with `seed`.
            max_images: Option<usize> [at_least(1.0)] = None,
        }
        group "Run" {
            use run: RunKeys {}
        }
    }
}

impl Recipe for PretrainRecipe {
    const WITHOUT_MEANING: &'static [(&'static str, &'static str)] =
        &[("train_interpolation", "no published script of pre-training uses it")];
    const FREE_ON_RESUME: &'static [&'static str] = &["allow_missing_classes"];

    fn optimisation(&self) -> &OptimisationKeys {
        &self.optim
    }

    fn scales_lr(&self) -> bool {
        true
    }

    fn published_processes(&self) -> usize {
        8
    }

    fn check_rules(&self) -> Result<()> {
        self.tasks.check()?;
        self.optim.check()?;
        self.input_schedule().check()?;
        if self.extra_norm_pix_loss && !self.domains().iter().any(|name| name == NORM_RGB.1) {
            return problem(
                "`extra_norm_pix_loss` predicts RGB, but `rgb` is no domain; add it or set \
                 `extra_norm_pix_loss: false`",
            );
        }
        self.domains().iter().try_for_each(|name| self.modality(name).map(|_| ()))?;
        self.check_data_sets()
    }
}

fn modality_of(tasks: &TaskKeys, name: &str) -> Result<TaskModality> {
    let defaults = ModalityDefaults {
        imagenet_normalisation: tasks.imagenet_default_mean_and_std,
        standardize_depth: tasks.standardize_depth,
    };
    tasks.resolve_over(name, usual(name, Role::Pretraining, defaults))
}

impl PretrainRecipe {
    /// All modalities that are loaded: the inputs, then what else is predicted.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        let further =
            self.tasks.out_domains.0.iter().filter(|name| !self.tasks.in_domains.0.contains(name));
        self.tasks.in_domains.0.iter().chain(further).cloned().collect()
    }

    /// A modality with the recipe's properties.
    ///
    /// # Errors
    /// If its properties do not fit together.
    pub fn modality(&self, name: &str) -> Result<TaskModality> {
        modality_of(&self.tasks, name)
    }

    /// The modalities of one of several data sets, in the order of [`Self::domains`].
    ///
    /// # Errors
    /// If the set names a modality that the recipe has not, lacks all inputs, or describes a
    /// modality that the model sees otherwise.
    pub fn modalities_of(&self, set: &DataSetRecipe) -> Result<Vec<TaskModality>> {
        let domains = self.domains();
        let names = set.names();
        let unknown = names.iter().flatten().find(|name| !domains.iter().any(|d| d == *name));
        if let Some(name) = unknown {
            return problem(format!(
                "data set `{}`: `{name}` is none of the recipe's modalities, {}; add it to \
                 `in_domains` or `out_domains`, or leave it out",
                set.name,
                domains.join(", ")
            ));
        }
        let has =
            |name: &&String| names.as_ref().is_none_or(|names| names.contains(&name.as_str()));
        let found: Vec<TaskModality> = domains
            .iter()
            .filter(has)
            .map(|name| self.modality_in(set, name))
            .collect::<Result<_>>()?;
        let inputs = &self.tasks.in_domains.0;
        if !found.iter().any(|modality| inputs.contains(&modality.model.name)) {
            return problem(format!(
                "data set `{}` has none of the inputs, {}; add one to its `modalities`",
                set.name,
                inputs.join(", ")
            ));
        }
        Ok(found)
    }

    /// A modality with the properties of a data set over the recipe's.
    fn modality_in(&self, set: &DataSetRecipe, name: &str) -> Result<TaskModality> {
        let usual = self.modality(name)?;
        let Some(entry) = set.entry(name) else { return Ok(usual) };
        let mut tasks = self.tasks.clone();
        let base = tasks.modalities.0.get(name).cloned().unwrap_or_default();
        tasks.modalities.0.insert(name.to_owned(), entry.clone().over(base));
        let modality = modality_of(&tasks, name)?;
        if modality.model != usual.model {
            return problem(format!(
                "data set `{}`: its `{name}` differs from the recipe's for the model (kind, \
                 channels, classes or stride); a set may differ in how values are stored alone",
                set.name
            ));
        }
        if modality.loss != usual.loss {
            return problem(format!(
                "data set `{}`: the loss of its `{name}` is another than the recipe's, or the label \
                 of its pixels that do not count is; give all sets one loss and one void label, with \
                 a class map if need be",
                set.name
            ));
        }
        Ok(modality)
    }

    fn check_data_sets(&self) -> Result<()> {
        let Some(sets) = &self.data_sets else { return Ok(()) };
        if sets.0.is_empty() {
            return problem("`data_sets` has no entry; use null for one data set");
        }
        for (key, given) in [
            ("data_path", self.data.data_path.is_some()),
            ("split", self.data.split.is_some()),
            ("max_images", self.max_images.is_some()),
        ] {
            if given {
                return problem(format!(
                    "`{key}` and `data_sets` are given; leave one of them out (`--data` sets \
                     `data_path`)"
                ));
            }
        }
        if self.data.eval_split.is_some() && self.data.eval_data_path.is_none() {
            return problem(
                "`eval_split` with `data_sets` needs `eval_data_path`, the data that has the list",
            );
        }
        sets.0.iter().try_for_each(|set| self.modalities_of(set).map(|_| ()))
    }

    /// The stages of the training input in their order, the first from step 0; none without a
    /// schedule.
    #[must_use]
    pub fn input_stages(&self) -> Vec<InputStage> {
        self.input_schedule().stages()
    }

    fn input_schedule(&self) -> InputSchedule<'_> {
        InputSchedule {
            patch_size: self.arch.patch_size,
            input_size: self.arch.input_size,
            num_encoded_tokens: self.num_encoded_tokens,
            modalities: self.tasks.in_domains.0.len(),
            sizes: self.input_size_schedule.as_ref(),
            tokens: self.num_encoded_tokens_schedule.as_ref(),
        }
    }

    /// The learning rate after warm-up: `blr * samples per step / 256`.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.blr * self.optim.samples_per_step() as f64 / 256.0
    }
}
