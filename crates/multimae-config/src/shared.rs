//! The keys that pre-training and fine-tuning share, by group, and the rules about them.
//!
//! The defaults are those of both recipes; where they differ, those of pre-training.

use multimae::modality::Size;
use multimae_data::Valid;

use super::choices::{
    BadSamplesChoice, OptimiserChoice, OptimiserStateChoice, PrecisionChoice, TablesChoice,
    ValidValuesChoice,
};
use super::keys::recipe_keys;
use super::modalities::{Modalities, TaskModality};
use super::modality_entry::ModalityRecipe;
use super::range::{above, at_least};
use super::values::{EncoderChoice, Names};
use crate::{Error, Result};

recipe_keys! {
    /// Modalities and their properties.
    pub struct TaskKeys {
        group "Tasks" {
            /// Input modalities, in the order of their tokens.
            in_domains: Names = Names::joined("rgb-depth-semseg"),
            /// Modalities to predict.
            out_domains: Names = Names(Vec::new()),
            /// Properties of modalities: folder, `strip_prefix`, `strip_suffix`, column, kind,
            /// channels, classes, stride, ignore, offset,
            /// values, divisor, mean, std, interpolation, standardize, quantity, valid, stored, zero, flip, select, clamp, loss, palette, unit.
            modalities: Modalities = Modalities::default(),
            /// Valid numbers of modalities whose entry has no `valid`: `quantity` leaves out 0 and
            /// the largest value of the file's type where the quantity is a distance, `all` counts
            /// every finite number, as the published code does.
            valid_values: ValidValuesChoice = ValidValuesChoice::Quantity,
            /// Train even if two or more of few classes never occur in the training samples.
            allow_missing_classes: bool = false,
            /// Standardise depth per sample by the values between its 10th and 90th percentile.
            standardize_depth: bool = false,
            /// ImageNet's mean and deviation of RGB, not 0.5.
            imagenet_default_mean_and_std: bool = true,
        }
    }
}

recipe_keys! {
    /// The architecture.
    pub struct ModelKeys {
        group "Model" {
            /// Size of the encoder.
            model: EncoderChoice = EncoderChoice::default(),
            /// Side of a patch at full resolution.
            patch_size: usize [at_least(1.0)] = 16,
            /// Size of the images.
            input_size: Size = Size::square(224),
            /// Learned tokens that belong to no patch.
            num_global_tokens: usize = 1,
            /// Construction of position tables that are not square; `scrambled` is what the
            /// published code does.
            nonsquare_tables: TablesChoice = TablesChoice::RowColumn,
            /// Embedding dimension of the decoders.
            decoder_dim: usize [at_least(1.0)] = 256,
            /// Self-attention blocks of the decoders.
            decoder_depth: usize = 2,
        }
    }
}

recipe_keys! {
    /// The weights that a run begins with.
    pub struct WeightKeys {
        group "Pre-trained weights" {
            /// Weights to begin with: a run's folder, or a file in safetensors, .pth or .npz, of
            /// MultiMAE, MultiViT, timm's ViT or Hugging Face's. Random ones if null.
            finetune: Option<String> = None,
            /// Key of the state dict in a file of several, such as `model_ema`. The usual one if
            /// null.
            weights_key: Option<String> = None,
            /// Parameters, by the beginning of their name, that the file need not have.
            allow_missing: Names = Names(Vec::new()),
            /// Tensors of the file, by the beginning of their name, that may be left unused;
            /// decoders, heads and adapters of other inputs always may.
            allow_unexpected: Names = Names(Vec::new()),
        }
    }
}

recipe_keys! {
    /// The optimiser, its schedules and the size of a step.
    pub struct OptimisationKeys {
        group "Optimisation" {
            /// Samples per forward pass.
            batch_size: usize [at_least(1.0)] = 256,
            /// Forward passes per step of the optimiser; they run side by side where there are
            /// processors.
            update_freq: usize [at_least(1.0)] = 1,
            /// Passes over the data.
            epochs: usize [at_least(1.0)] = 1600,
            /// Optimiser.
            opt: OptimiserChoice = OptimiserChoice::AdamW,
            /// Added to the optimiser's denominator.
            opt_eps: f64 [above(0.0)] = 1e-8,
            /// Decay of the optimiser's means.
            opt_betas: Option<[f64; 2]> [at_least(0.0).below(1.0)] = Some([0.9, 0.95]),
            /// Storage of the optimiser's two moments, in memory and in checkpoints: fp32 takes 8
            /// bytes per trained value, bf16 4 and 8bit 2. Updates are computed in fp32.
            optimizer_state: OptimiserStateChoice = OptimiserStateChoice::Fp32,
            /// Weight decay, of every trained parameter.
            weight_decay: f64 [at_least(0.0)] = 0.05,
            /// Weight decay at the end of a cosine; the same all along if null.
            weight_decay_end: Option<f64> [at_least(0.0)] = None,
            /// Learning rate at the end of the cosine.
            min_lr: f64 [at_least(0.0)] = 0.0,
            /// Epochs of linear warm-up from 0.
            warmup_epochs: usize = 40,
            /// Steps of warm-up; overrides `warmup_epochs` if above 0.
            warmup_steps: i64 [at_least(-1.0)] = -1,
            /// Largest L2 norm of the gradients; larger ones are scaled down to it.
            clip_grad: Option<f64> [above(0.0)] = None,
            /// Steps whose gradients have at least this L2 norm are left out. Not with `clip_grad`.
            skip_grad: Option<f64> [above(0.0)] = None,
            /// Keep an exponential moving average of the weights.
            model_ema: bool = false,
            /// Decay of that average per step.
            model_ema_decay: f64 [at_least(0.0).at_most(1.0)] = 0.9999,
            /// Multiplier of the learning rate of the uncertainty weighting (`task_balancer`).
            balancer_lr_scale: f64 [at_least(0.0)] = 1.0,
        }
    }
}

recipe_keys! {
    /// Samples, crops and the loader.
    pub struct DataKeys {
        group "Data" {
            /// Folder of the data.
            data_path: Option<String> = None,
            /// Name of the list of samples, `DIR/<split>.txt`. Without it, files are found by folder.
            split: Option<String> = None,
            /// List of samples that are measured during training and choose the best model.
            eval_split: Option<String> = None,
            /// Folder of those samples, if not `data_path`.
            eval_data_path: Option<String> = None,
            /// Smallest and largest share of the image that a crop covers.
            crop_scale: [f64; 2] [above(0.0).at_most(1.0).ordered()] = [0.2, 1.0],
            /// Smallest and largest aspect of a crop over that of `input_size`.
            crop_ratio: [f64; 2] [above(0.0).ordered()] = [3.0 / 4.0, 4.0 / 3.0],
            /// Probability of a horizontal flip.
            hflip: f64 [at_least(0.0).at_most(1.0)] = 0.5,
            /// Treatment of samples that cannot be read.
            bad_samples: BadSamplesChoice = BadSamplesChoice::Fail,
            /// A new order in every epoch; `false` is what the published code does on one device.
            reshuffle: bool = true,
            /// Shards that are mixed at a time: samples are shuffled within such a window, and
            /// the shards among each other, for disks that are slow at random places. All samples
            /// among each other if null.
            shard_window: Option<usize> [at_least(1.0)] = None,
            /// Threads that read samples; 0 reads them between the steps.
            num_workers: usize = 1,
            /// Samples that are read ahead.
            prefetch: usize = 128,
        }
    }
}

recipe_keys! {
    /// The run: randomness, device, folder, checkpoints and records.
    pub struct RunKeys {
        group "Run" {
            /// Seed of every random choice.
            seed: u64 = 0,
            /// `cpu`, or a device that this build has.
            device: String = "cpu".to_owned(),
            /// Precision of the operands of GEMMs: fp32, or bf16 where the processor has it;
            /// weights, sums and all else are fp32.
            precision: PrecisionChoice = PrecisionChoice::Fp32,
            /// Folder of the run.
            output_dir: Option<String> = None,
            /// Continue the run that the folder holds, as `--resume` does.
            auto_resume: bool = false,
            /// Epochs between checkpoints; one is also written after the last.
            save_ckpt_freq: usize [at_least(1.0)] = 20,
            /// Steps between further checkpoints; none if null.
            save_ckpt_steps: Option<usize> [at_least(1.0)] = None,
            /// Checkpoints that are kept.
            keep_ckpt: usize [at_least(1.0)] = 3,
            /// Epochs between evaluations on `eval_split`.
            eval_freq: usize [at_least(1.0)] = 1,
            /// Steps between entries of `metrics.jsonl`.
            log_freq: usize [at_least(1.0)] = 10,
            /// Epochs between pictures.
            log_images_freq: usize [at_least(1.0)] = 5,
            /// Samples in a picture.
            log_images: usize = 4,
        }
    }
}

impl Default for EncoderChoice {
    fn default() -> Self {
        // The name is one of the known ones; the numbers are the same.
        Self::named("pretrain_multimae_base").unwrap_or_else(Self::base)
    }
}

/// Keys of the published files of both kinds that change nothing here, and why.
pub(super) const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("decoder_decay", "it has no effect in the published code"),
    ("dist_on_itp", "a run uses one device"),
    ("dist_url", "a run uses one device"),
    ("find_unused_params", "parameters without gradient are left alone"),
    ("fp32_output_adapters", "`precision` is that of all GEMMs; sums are fp32"),
    ("local_rank", "a run uses one device"),
    ("log_wandb", "metrics go to metrics.jsonl and TensorBoard events"),
    ("momentum", "AdamW has none"),
    ("pin_mem", "host memory is not copied to a device"),
    ("resume", "continue a run with --resume"),
    ("show_user_warnings", "warnings are always shown"),
    ("start_epoch", "a resumed run continues where it stopped"),
    ("wandb_entity", "metrics go to metrics.jsonl and TensorBoard events"),
    ("wandb_project", "metrics go to metrics.jsonl and TensorBoard events"),
    ("wandb_run_name", "metrics go to metrics.jsonl and TensorBoard events"),
    ("warmup_lr", "no published script uses it; warm-up starts at 0"),
    ("world_size", "a run uses one device"),
];

/// Keys of both kinds that may differ when a run is resumed.
pub(super) const FREE_ON_RESUME: &[&str] = &[
    "data_path",
    "eval_data_path",
    "output_dir",
    "auto_resume",
    "device",
    "num_workers",
    "prefetch",
    "bad_samples",
    "save_ckpt_freq",
    "save_ckpt_steps",
    "keep_ckpt",
    "log_freq",
    "log_images_freq",
    "log_images",
    "finetune",
    "weights_key",
    "allow_missing",
    "allow_unexpected",
];

/// Keys of both kinds that are newer than some runs, with the values that stand for the behaviour
/// before them, where these are not their defaults.
pub(super) const FORMER: &[(&str, &str)] = &[("valid_values", "all")];

impl TaskKeys {
    /// A modality with the recipe's properties over these.
    ///
    /// # Errors
    /// If the properties do not fit together, or too little is known.
    pub fn resolve_over(&self, name: &str, usual: ModalityRecipe) -> Result<TaskModality> {
        let mut modality = self.modalities.resolve_over(name, usual)?;
        let own = self.modalities.0.get(name).is_some_and(|entry| entry.valid.is_some());
        if self.valid_values == ValidValuesChoice::All && !own {
            modality.data.rules.valid = Valid::All;
        }
        Ok(modality)
    }

    /// Checks that there is something to read and to predict.
    pub(super) fn check(&self) -> Result<()> {
        if self.in_domains.0.is_empty() || self.out_domains.0.is_empty() {
            return problem("`in_domains` and `out_domains` need one entry each");
        }
        Ok(())
    }
}

impl OptimisationKeys {
    /// Checks that its keys do not exclude each other.
    pub(super) fn check(&self) -> Result<()> {
        if self.clip_grad.is_some() && self.skip_grad.is_some() {
            return problem("`clip_grad` and `skip_grad` exclude each other; set one");
        }
        Ok(())
    }

    /// Samples of a step.
    #[must_use]
    pub fn samples_per_step(&self) -> usize {
        self.batch_size * self.update_freq
    }
}

/// A recipe that cannot be followed.
pub(super) fn problem<T>(problem: impl Into<String>) -> Result<T> {
    Err(Error::Recipe(problem.into()))
}
