//! The recipe of pre-training: the published keys, and ours.

use multimae::modality::Size;
use multimae::positions::NonSquareTables;

use super::file::Recipe;
use super::keys::{choice, recipe_keys};
use super::modalities::{Modalities, ModalityDefaults, TaskModality};
use super::values::{Alphas, EncoderChoice, Names};
use crate::{Error, Result};

choice! {
    /// How the losses of the tasks are weighted.
    pub enum BalancerChoice {
        /// All alike.
        None = "none",
        /// A learned log-variance per task.
        Uncertainty = "uncertainty",
    }
}

choice! {
    /// The optimiser.
    pub enum OptimiserChoice {
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
    }
}

choice! {
    /// The precision of the factors of matrix products; sums and all else are 32 bits.
    pub enum PrecisionChoice {
        /// 32 bits.
        Fp32 = "fp32",
        /// bfloat16: 8 significant bits.
        Bf16 = "bf16",
    }
}

choice! {
    /// What happens to a sample that cannot be read.
    pub enum BadSamplesChoice {
        /// The run stops.
        Fail = "fail",
        /// It is left out and counted.
        Skip = "skip",
    }
}

choice! {
    /// What happens to a sample whose loss is not a number.
    pub enum NanSamplesChoice {
        /// The run stops and names it.
        Stop = "stop",
        /// It is left out of the mean.
        Ignore = "ignore",
    }
}

choice! {
    /// How position tables that are not square are built.
    pub enum TablesChoice {
        /// By row and column.
        RowColumn = "row_column",
        /// As the published code does, with positions scrambled.
        Scrambled = "scrambled",
    }
}

recipe_keys! {
    /// Everything that can be set for pre-training.
    pub struct PretrainRecipe {
        group "Tasks" {
            /// Input modalities, in the order of their tokens.
            in_domains: Names = Names::joined("rgb-depth-semseg"),
            /// Modalities to predict.
            out_domains: Names = Names::joined("rgb-depth-semseg"),
            /// Properties of modalities: folder, kind, channels, classes, stride, ignore, offset,
            /// divisor, mean, std, interpolation, standardize, loss, palette, unit.
            modalities: Modalities = Modalities::default(),
            /// Standardise depth per sample by the values between its 10th and 90th percentile.
            standardize_depth: bool = false,
            /// Predict RGB with standardised patches too, with a decoder of its own, `norm_rgb`.
            extra_norm_pix_loss: bool = true,
            /// ImageNet's mean and deviation of RGB, not 0.5.
            imagenet_default_mean_and_std: bool = true,
        }
        group "Model" {
            /// Size of the encoder.
            model: EncoderChoice = EncoderChoice::default(),
            /// Side of a patch at full resolution.
            patch_size: usize = 16,
            /// Size of the images.
            input_size: Size = Size::square(224),
            /// Learned tokens that belong to no patch.
            num_global_tokens: usize = 1,
            /// Stochastic depth of the last block; it rises linearly from 0 at the first.
            drop_path: f64 = 0.0,
            /// Width of the decoders.
            decoder_dim: usize = 256,
            /// Self-attention blocks of the decoders.
            decoder_depth: usize = 2,
            /// Attention heads of the decoders.
            decoder_num_heads: usize = 8,
            /// Queries of a decoder are its task's own tokens, not mask tokens alone.
            decoder_use_task_queries: bool = true,
            /// Cross-attention of the decoders to the visible tokens.
            decoder_use_xattn: bool = true,
            /// How position tables that are not square are built; `scrambled` is what the published
            /// code does.
            nonsquare_tables: TablesChoice = TablesChoice::RowColumn,
        }
        group "Masking and losses" {
            /// Visible tokens per sample, over all modalities together.
            num_encoded_tokens: usize = 98,
            /// Concentration of the Dirichlet distribution that shares them out; smaller is more
            /// one-sided.
            alphas: Alphas = Alphas(vec![1.0]),
            /// First draw one of the non-empty subsets of the modalities.
            sample_tasks_uniformly: bool = false,
            /// Count visible patches in the losses too.
            loss_on_unmasked: bool = false,
            /// Weighting of the tasks.
            task_balancer: BalancerChoice = BalancerChoice::None,
            /// Learning rate of the weighting over the model's.
            balancer_lr_scale: f64 = 1.0,
            /// What happens to a sample whose loss is not a number; `ignore` is what the published
            /// code does.
            nan_samples: NanSamplesChoice = NanSamplesChoice::Stop,
        }
        group "Optimisation" {
            /// Samples per forward pass.
            batch_size: usize = 256,
            /// Forward passes per step of the optimiser; they run side by side where there are
            /// processors.
            update_freq: usize = 1,
            /// Passes over the data.
            epochs: usize = 1600,
            /// Optimiser.
            opt: OptimiserChoice = OptimiserChoice::AdamW,
            /// Added to the optimiser's denominator.
            opt_eps: f64 = 1e-8,
            /// Decay of the optimiser's means.
            opt_betas: Option<[f64; 2]> = Some([0.9, 0.95]),
            /// Weight decay, of every trained parameter.
            weight_decay: f64 = 0.05,
            /// Weight decay at the end of a cosine; the same all along if null.
            weight_decay_end: Option<f64> = None,
            /// Learning rate per 256 samples of a step.
            blr: f64 = 1e-4,
            /// Learning rate at the end of the cosine.
            min_lr: f64 = 0.0,
            /// Epochs of linear warm-up from 0.
            warmup_epochs: usize = 40,
            /// Steps of warm-up; overrides `warmup_epochs` if above 0.
            warmup_steps: i64 = -1,
            /// Largest L2 norm of the gradients; larger ones are scaled down to it.
            clip_grad: Option<f64> = None,
            /// Steps whose gradients have at least this L2 norm are left out. Not with `clip_grad`.
            skip_grad: Option<f64> = None,
            /// Keep an exponential moving average of the weights.
            model_ema: bool = false,
            /// Decay of that average per step.
            model_ema_decay: f64 = 0.9999,
        }
        group "Data" {
            /// Folder of the data.
            data_path: Option<String> = None,
            /// Name of the list of samples, `DIR/<split>.txt`. Without it, files are found by folder.
            split: Option<String> = None,
            /// List of samples whose loss is measured during training and chooses the best model.
            eval_split: Option<String> = None,
            /// Folder of those samples, if not `data_path`.
            eval_data_path: Option<String> = None,
            /// Use no more than this many samples, drawn with `seed`.
            max_images: Option<usize> = None,
            /// Smallest and largest share of the image that a crop covers.
            crop_scale: [f64; 2] = [0.2, 1.0],
            /// Smallest and largest aspect of a crop over that of `input_size`.
            crop_ratio: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0],
            /// Probability of a horizontal flip.
            hflip: f64 = 0.5,
            /// What happens to a sample that cannot be read.
            bad_samples: BadSamplesChoice = BadSamplesChoice::Fail,
            /// A new order in every epoch; `false` is what the published code does on one device.
            reshuffle: bool = true,
            /// Threads that read samples; 0 reads them between the steps.
            num_workers: usize = 1,
            /// Samples that are read ahead.
            prefetch: usize = 128,
        }
        group "Run" {
            /// Seed of every random choice.
            seed: u64 = 0,
            /// `cpu`, or a device that this build has.
            device: String = "cpu".to_owned(),
            /// Precision of the factors of matrix products: fp32, or bf16 where the processor has it;
            /// weights, sums and all else are 32 bits.
            precision: PrecisionChoice = PrecisionChoice::Fp32,
            /// Folder of the run.
            output_dir: Option<String> = None,
            /// Continue the run that the folder holds, as `--resume` does.
            auto_resume: bool = false,
            /// Epochs between checkpoints; one is also written after the last.
            save_ckpt_freq: usize = 20,
            /// Steps between further checkpoints; none if null.
            save_ckpt_steps: Option<usize> = None,
            /// Checkpoints that are kept.
            keep_ckpt: usize = 3,
            /// Epochs between measurements on `eval_split`.
            eval_freq: usize = 1,
            /// Steps between entries of `metrics.jsonl`.
            log_freq: usize = 10,
            /// Epochs between pictures.
            log_images_freq: usize = 5,
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

/// Keys of the published files that change nothing here, and why.
const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("warmup_lr", "no published script uses it; warm-up starts at 0"),
    ("train_interpolation", "no published script of pre-training uses it"),
    ("decoder_decay", "it has no effect in the published code"),
    ("momentum", "AdamW has none"),
    ("fp32_output_adapters", "`precision` is that of all products; sums are 32 bits"),
    ("pin_mem", "host memory is not copied to a device"),
    ("find_unused_params", "parameters without gradient are left alone"),
    ("log_wandb", "metrics go to metrics.jsonl and TensorBoard events"),
    ("wandb_project", "metrics go to metrics.jsonl and TensorBoard events"),
    ("wandb_entity", "metrics go to metrics.jsonl and TensorBoard events"),
    ("wandb_run_name", "metrics go to metrics.jsonl and TensorBoard events"),
    ("show_user_warnings", "warnings are always shown"),
    ("world_size", "a run uses one device"),
    ("local_rank", "a run uses one device"),
    ("dist_on_itp", "a run uses one device"),
    ("dist_url", "a run uses one device"),
    ("resume", "continue a run with --resume"),
    ("start_epoch", "a resumed run knows where it was"),
];

/// Keys that may differ when a run is resumed.
const FREE_ON_RESUME: &[&str] = &[
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
];

impl Recipe for PretrainRecipe {
    const WITHOUT_MEANING: &'static [(&'static str, &'static str)] = WITHOUT_MEANING;
    const FREE_ON_RESUME: &'static [&'static str] = FREE_ON_RESUME;

    fn check(&self) -> Result<()> {
        let positive = [
            ("batch_size", self.batch_size),
            ("update_freq", self.update_freq),
            ("epochs", self.epochs),
            ("save_ckpt_freq", self.save_ckpt_freq),
            ("eval_freq", self.eval_freq),
            ("log_freq", self.log_freq),
            ("log_images_freq", self.log_images_freq),
        ];
        let problem = |problem: String| Err(Error::Recipe(problem));
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return problem(format!("`{key}` must be at least 1"));
        }
        if self.save_ckpt_steps == Some(0) {
            return problem("`save_ckpt_steps` must be at least 1, or null".to_owned());
        }
        if self.clip_grad.is_some() && self.skip_grad.is_some() {
            return problem("`clip_grad` and `skip_grad` exclude each other; set one".to_owned());
        }
        if !(0.0..1.0).contains(&self.drop_path) {
            return problem(format!("`drop_path` {} must be in [0, 1)", self.drop_path));
        }
        if self.in_domains.0.is_empty() || self.out_domains.0.is_empty() {
            return problem("`in_domains` and `out_domains` need one modality each".to_owned());
        }
        if self.extra_norm_pix_loss && !self.domains().iter().any(|name| name == "rgb") {
            return problem(
                "`extra_norm_pix_loss` predicts RGB, but `rgb` is no domain; add it or set \
                 `extra_norm_pix_loss: false`"
                    .to_owned(),
            );
        }
        self.domains().iter().try_for_each(|name| self.modality(name).map(|_| ()))
    }
}

impl PretrainRecipe {
    /// All modalities that are loaded: the inputs, then what else is predicted.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        let further = self.out_domains.0.iter().filter(|name| !self.in_domains.0.contains(name));
        self.in_domains.0.iter().chain(further).cloned().collect()
    }

    /// A modality with the recipe's properties.
    ///
    /// # Errors
    /// If its properties do not fit together.
    pub fn modality(&self, name: &str) -> Result<TaskModality> {
        let defaults = ModalityDefaults {
            imagenet_normalisation: self.imagenet_default_mean_and_std,
            standardize_depth: self.standardize_depth,
        };
        self.modalities.resolve(name, defaults)
    }

    /// The learning rate after warm-up: `blr * samples per step / 256`.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.blr * (self.batch_size * self.update_freq) as f64 / 256.0
    }
}

impl From<TablesChoice> for NonSquareTables {
    fn from(choice: TablesChoice) -> Self {
        match choice {
            TablesChoice::RowColumn => Self::RowColumn,
            TablesChoice::Scrambled => Self::Scrambled,
        }
    }
}
