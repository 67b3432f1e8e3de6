//! The recipe of fine-tuning: the published keys of classification, segmentation, depth and dense
//! regression, and ours.

mod check;
mod heads;
mod kinds;
#[cfg(test)]
mod tests;

use multimae::modality::Size;
use multimae::nn::LoraConfig;
use multimae::peft::{PeftConfig, SideConfig};
use multimae::prompts::PromptConfig;
use multimae::tuning::{Tuning, TuningPart};
use serde_json::{Map, Value};

use super::choices::{
    Augmentation, CheckpointChoice, ClassFolders, DepthOutput, DownstreamLoss, HeadChoice,
    InterpolateMode, MixupMode, WeightingChoice,
};
use super::heads::Heads;
use super::keys::recipe_keys;
use super::range::{above, at_least};
use super::recipe::Recipe;
use super::shared::{DataKeys, ModelKeys, OptimisationKeys, RunKeys, TaskKeys, WeightKeys};
use super::values::{EncoderChoice, Names, PromptInit, TaskWeights, tuning_list};
use crate::Result;

pub use kinds::TaskKinds;

/// The task of classes per image.
pub const CLASSES: &str = "cls";
/// The modality of masks of valid pixels, and its published folder.
pub const MASK: &str = "mask_valid";

recipe_keys! {
    /// Everything that can be set for fine-tuning.
    pub struct FinetuneRecipe {
        group "Tasks" {
            use tasks: TaskKeys {
                in_domains = Names::joined("rgb"),
                /// Tasks: depth, semseg, cls (a class per image), or any modality of real values.
                /// Where it is not given, it is inferred from the other keys, as in the published
                /// files.
                out_domains,
                /// Properties of modalities: folder, `strip_prefix`, `strip_suffix`, column, kind,
                /// channels, classes, stride, ignore, offset, values, divisor, mean, std, interpolation, standardize, quantity, valid, stored, zero, flip, select, clamp, palette, unit. Depth
                /// divided by its divisor is in metres.
                modalities,
                /// Standardise input depth per sample by the valid values between its 10th and
                /// 90th percentile. Depth that is predicted is in metres in any case.
                standardize_depth = true,
            }
            /// Number of classes; of cls, that of the folders if null.
            num_classes: Option<usize> [at_least(1.0)] = None,
            /// Data set whose class names and colours are shown: ade20k, hypersim, nyu.
            dataset_name: Option<String> = None,
            /// Stored label 0 is unlabelled, the others count from 1.
            seg_reduce_zero_label: bool = false,
            /// Padding is a class of its own, which scores leave out.
            seg_use_void_label: bool = false,
            /// Read masks in the folder mask_valid: depth and other real values are valid at 255.
            use_mask_valid: bool = false,
            /// Read depth from the folder pseudo_depth.
            load_pseudo_depth: bool = false,
            /// Smallest valid depth in metres; 0 and less are holes.
            depth_min: f64 [above(0.0)] = 1e-3,
            /// Largest valid depth in metres: annotations above do not count, predictions are
            /// clamped to it.
            depth_max: f64 [above(0.0)] = 10.0,
            /// Meaning of a depth head's output; log for the loss silog, else linear, if null.
            depth_output: Option<DepthOutput> = None,
            /// Mean depth in metres (of its logarithm for log) at an output of 0; that of the
            /// training samples if null.
            depth_mean: Option<f64> = None,
            /// Deviation of depth in metres (of its logarithm for log) at an output of 1; that of
            /// the training samples if null.
            depth_std: Option<f64> [above(0.0)] = None,
        }
        group "Losses" {
            /// Loss of depth and other real values.
            loss: DownstreamLoss = DownstreamLoss::BerHu,
            /// Weight of silog's scale term: 0 penalises an error of the scale fully, 1 ignores it.
            silog_focus: f64 [at_least(0.0).at_most(1.0)] = 0.85,
            /// Share of a target's mass that is spread over all classes.
            smoothing: f64 [at_least(0.0).below(1.0)] = 0.0,
            /// Factors of the tasks' losses; 1 where none is given.
            task_weights: TaskWeights = TaskWeights::default(),
            /// Further weighting of the tasks: `normalised` divides each loss by that of predicting
            /// a constant, the mean depth or the class frequencies of the training samples.
            task_balancer: WeightingChoice = WeightingChoice::None,
        }
        group "Model" {
            use arch: ModelKeys {
                model = EncoderChoice::multivit_base(),
                input_size = Size::square(256),
                /// Embedding dimension of ConvNeXt and Segmenter heads.
                decoder_dim = 6144,
                /// Blocks of ConvNeXt and Segmenter heads.
                decoder_depth = 4,
            }
            /// Stochastic depth of the last block; it rises linearly from 0 at the first.
            drop_path_encoder: f64 [at_least(0.0).below(1.0)] = 0.0,
            /// Train the position tables of the inputs.
            learnable_pos_emb: bool = false,
            /// Leave the encoder's blocks as they are.
            freeze_transformer: bool = false,
            /// Head of dense tasks; DPT for real values and ConvNeXt for labels if null. Where
            /// several tasks are trained, dpt and convnext mean the same, as in the published joint
            /// training.
            output_adapter: Option<HeadChoice> = None,
            /// Heads by task, over `output_adapter`: {depth: {kind: light, width: 64}}.
            heads: Heads = Heads::default(),
            /// Input modalities whose tokens heads read.
            decoder_main_tasks: Names = Names::joined("rgb"),
            /// Predictions per patch of ConvNeXt heads, a square number.
            decoder_preds_per_patch: usize [at_least(1.0)] = 16,
            /// Upsampling of ConvNeXt heads to the resolution of the image.
            decoder_interpolate_mode: InterpolateMode = InterpolateMode::Bilinear,
            /// Stochastic depth of Segmenter heads.
            drop_path_decoder: f64 [at_least(0.0).below(1.0)] = 0.0,
            /// Classify the mean of all tokens, not the last one.
            use_mean_pooling: bool = true,
        }
        group "Tuning" {
            /// Parameters that are trained besides the heads: full (all), head (none), bias (all
            /// biases), norm (all LayerNorms of the encoder), ssf (scale and shift of features),
            /// lora (low-rank adaptation), prompts (see `prompts`), last-1, last-2 and so on (the
            /// last blocks), or several of them as in prompts+norm. All other parameters stay
            /// frozen. Or a list whose modules have their sizes with them, as in
            /// [norm, {kind: lora, rank: 8}, {kind: deep, count: 10}].
            tuning: Tuning = Tuning::Full,
            /// Prompts of the encoder, for `tuning: prompts`: {kind: shallow | deep, count, first,
            /// layers, dropout, rank | bilinear, gate} are tokens, {kind: prefix, count, first, layers,
            /// dropout} keys and values; {kind: rein, count, rank, map_rank, own, first, layers} tokens that
            /// every patch attends to behind each block, {kind: cross, count, first, layers, dropout}
            /// inside each block, {kind: evp, rank, modality, first, layers} additions made of the
            /// image's patches and edges; {kind: l2p, entries, length, top_n, form: tokens | prefix,
            /// first, layers, keys: shared | per_layer, query: patches | global | embeddings,
            /// pull_weight, diversity_weight}, {kind: dual, ...} and {kind: coda, entries, length,
            /// first, layers, query, orthogonality_weight} are pools.
            prompts: Option<PromptConfig> = None,
            /// The block from which on every task has prompts of its own: 0 gives every task its
            /// own pass, the number of blocks one pass to all; one pass if null.
            branch_at: Option<usize> = None,
            /// Rank of scale and shift behind the norms of the blocks, which are made from the
            /// sample's prompts and begin without effect; none if null.
            prompt_norms: Option<usize> [at_least(1.0)] = None,
            /// First values of prompts: random; self, from the tokens of training images in front
            /// of the same block; or the values in an adapter, the file of another run.
            prompt_init: PromptInit = PromptInit::Random,
            /// Sizes of low-rank adaptation, for `tuning: lora`: {rank, alpha, targets: [qkv, proj,
            /// fc1, fc2]}; rank 8 of qkv and proj if null.
            lora: Option<LoraConfig> = None,
            /// Sizes of a ladder beside the encoder, for `tuning: side`: {width, taps}; taps are blocks that it
            /// reads besides those of the heads. 32 channels and no further taps if null.
            side: Option<SideConfig> = None,
            /// A LayerNorm per task on every layer that its head reads.
            entry_norms: bool = false,
            /// Fixed augmented views of every training frame, which epochs take in turn. Outputs of frozen,
            /// unprompted first blocks over them are computed once, rounded to 16 bits, and kept in a file.
            /// With 0 every epoch draws new views, and nothing is kept.
            cache_views: usize = 0,
            /// Folder of that file, which runs on the same weights and frames share; prefix-cache in the
            /// folder of the run if null.
            cache_dir: Option<String> = None,
            /// With `auto`, gradients of a head are computed before the next head runs, so that the activations of
            /// one head are held at a time; nothing is computed twice. With `none`, those of all.
            checkpoint: CheckpointChoice = CheckpointChoice::Auto,
            /// Learning rate of what tuning adds (prompts, low-rank adaptation, scale and shift)
            /// over that of the heads. It is not decayed by layer and has no weight decay.
            added_lr_scale: f64 [above(0.0)] = 1.0,
            /// Learning rate of the pre-trained weights over that of the heads, besides
            /// `layer_decay`.
            backbone_lr_scale: f64 [above(0.0)] = 1.0,
        }
        group "Pre-trained weights" {
            use weights: WeightKeys {}
        }
        group "Optimisation" {
            use optim: OptimisationKeys {
                batch_size = 16,
                epochs = 200,
                opt_betas = Some([0.9, 0.999]),
                /// Weight decay; norms, biases, tokens and embeddings have none.
                weight_decay,
                warmup_epochs = 1,
                /// Keep an exponential moving average of the weights, and evaluate and save it.
                model_ema,
            }
            /// Learning rate of the heads. Set this or `blr`.
            lr: Option<f64> [at_least(0.0)] = Some(1e-4),
            /// Learning rate of the heads per 256 samples of a step.
            blr: Option<f64> [at_least(0.0)] = None,
            /// Factor of the learning rate from each block to the one before it.
            layer_decay: f64 [above(0.0).at_most(1.0)] = 0.75,
            /// Whether input adapters and global tokens, before the first block, are slowed too.
            scale_input_lr: bool = true,
            /// Parameters that learn at the full rate, joined by `-` or in a list.
            no_lr_scale_list: Names = Names(Vec::new()),
        }
        group "Data" {
            use data: DataKeys {
                /// Smallest and largest share of the image that a crop covers, for cls.
                crop_scale = [0.08, 1.0],
                /// Smallest and largest aspect of a crop over that of `input_size`, for cls.
                crop_ratio,
                prefetch = 64,
            }
            /// List of samples that the best model is measured on once, at the end.
            test_split: Option<String> = None,
            /// Folder of those samples, if not `data_path`.
            test_data_path: Option<String> = None,
            /// Use no more than this many training samples, drawn with `seed`.
            max_train_images: Option<usize> [at_least(1.0)] = None,
            /// Use no more than this many evaluation samples, drawn with `seed`.
            max_val_images: Option<usize> [at_least(1.0)] = None,
            /// Use no more than this many test samples, drawn with `seed`.
            max_test_images: Option<usize> [at_least(1.0)] = None,
            /// Classes of images are folders.
            data_set: ClassFolders = ClassFolders::ImageFolder,
            /// Augmentation of dense tasks.
            aug_name: Augmentation = Augmentation::Simple,
            /// Random colours; for `simple` if null, as in the published code.
            color_augs: Option<bool> = None,
            /// Smallest and largest factor of random scaling; [0.1, 2] for `simple` and none for
            /// `nyu-augs` if null. Depth is divided by the factor.
            scale_jitter: Option<[f64; 2]> [above(0.0).ordered()] = None,
            /// Share of the centre that is evaluated, for cls; 224/256 below 384 pixels, else 1, if
            /// null.
            crop_pct: Option<f64> [above(0.0).at_most(1.0)] = None,
            /// Strength of random brightness, contrast and saturation, for cls.
            color_jitter: f64 [at_least(0.0)] = 0.4,
            /// Mixing of two images' pixels: both parameters of the beta distribution; 0 for none.
            mixup: f64 [at_least(0.0)] = 0.8,
            /// Mixing of two images by a rectangle, likewise.
            cutmix: f64 [at_least(0.0)] = 1.0,
            /// Smallest and largest side of the rectangle over the image's, instead of `cutmix`.
            cutmix_minmax: Option<[f64; 2]> [above(0.0).below(1.0).ordered()] = None,
            /// Probability that a batch is mixed.
            mixup_prob: f64 [at_least(0.0).at_most(1.0)] = 1.0,
            /// Share of rectangles where both kinds of mixing are on.
            mixup_switch_prob: f64 [at_least(0.0).at_most(1.0)] = 0.5,
            /// Mixing of samples.
            mixup_mode: MixupMode = MixupMode::Batch,
        }
        group "Run" {
            use run: RunKeys {
                keep_ckpt = 2,
            }
        }
    }
}

impl EncoderChoice {
    fn multivit_base() -> Self {
        Self::named("multivit_base").unwrap_or_else(Self::base)
    }
}

impl Recipe for FinetuneRecipe {
    const WITHOUT_MEANING: &'static [(&'static str, &'static str)] = WITHOUT_MEANING;
    const FREE_ON_RESUME: &'static [&'static str] =
        &["allow_missing_classes", "test_data_path", "test_split", "max_test_images", "cache_dir"];
    const ALIASES: &'static [(&'static str, &'static str)] =
        &[("nb_classes", "num_classes"), ("drop_path", "drop_path_encoder")];

    fn expand(map: &mut Map<String, Value>) -> Result<(), String> {
        tuning_list::expand(map)
    }

    fn start(map: &Map<String, Value>) -> Result<(Self, Vec<String>)> {
        kinds::start(map)
    }

    fn optimisation(&self) -> &OptimisationKeys {
        &self.optim
    }

    fn scales_lr(&self) -> bool {
        self.blr.is_some()
    }

    fn published_processes(&self) -> usize {
        TaskKinds::of(&self.tasks.out_domains, &self.tasks.modalities).published_processes()
    }

    fn check_rules(&self) -> Result<()> {
        self.tasks.check()?;
        self.optim.check()?;
        self.check_rates_and_depth()?;
        self.check_tuning()?;
        self.check_mask()?;
        self.check_tasks()
    }
}

impl FinetuneRecipe {
    /// Returns the configuration of the PEFT modules.
    #[must_use]
    pub fn peft(&self) -> PeftConfig {
        let lora = self.tuning.has(TuningPart::Lora).then(LoraConfig::default);
        let side = self.tuning.has(TuningPart::Side).then(SideConfig::default);
        PeftConfig {
            prompts: self.prompts.clone(),
            branch_at: self.branch_at,
            prompt_norms: self.prompt_norms,
            lora: self.lora.clone().or(lora),
            ssf: self.tuning.has(TuningPart::Ssf),
            side: self.side.clone().or(side),
            entry_norms: self.entry_norms,
        }
    }

    /// Whether images get one class each.
    #[must_use]
    pub fn classifies(&self) -> bool {
        self.tasks.out_domains.0.iter().any(|task| task == CLASSES)
    }

    /// The inputs whose tokens the heads read. The default, RGB, means the first input where there
    /// is no RGB.
    #[must_use]
    pub fn main_tasks(&self) -> Vec<String> {
        let wanted = &self.decoder_main_tasks.0;
        if wanted.iter().all(|name| self.tasks.in_domains.0.contains(name)) {
            return wanted.clone();
        }
        self.tasks.in_domains.0.iter().take(1).cloned().collect()
    }

    /// The learning rate of the heads after warm-up.
    #[must_use]
    pub fn peak_lr(&self) -> f64 {
        let samples = self.optim.samples_per_step() as f64;
        self.lr.unwrap_or_else(|| self.blr.unwrap_or_default() * samples / 256.0)
    }
}

const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("aa", "automatic augmentation policies are not implemented; `color_jitter` is used"),
    ("reprob", "random erasing is not implemented; it is off by default in the published code"),
    ("remode", "random erasing is not implemented"),
    ("recount", "random erasing is not implemented"),
    ("attn_drop_rate", "the model has no dropout"),
    ("decoder_num_heads", "no published head uses it"),
    ("disable_eval_during_finetuning", "without eval_split or eval_data_path there is none"),
    ("dist_eval", "a run uses one device"),
    ("drop", "the model has no dropout"),
    ("eval", "use multimae evaluate"),
    ("fp16", "set `precision: bf16` for products of 16 bits"),
    ("init_scale", "it has no effect in the published code"),
    ("log_images_wandb", "pictures go to the run's folder and TensorBoard events"),
    ("model_ema_force_cpu", "averages are kept where the model is"),
    ("model_key", "no published script uses it"),
    ("model_prefix", "no published script uses it"),
    ("resplit", "no published script uses it"),
    ("save_ckpt", "checkpoints are always written"),
    ("test", "set test_split or test_data_path"),
    ("tmp", "name the run's folder as you like"),
    ("train_interpolation", "colours are resized bicubically"),
    ("wandb_group", "metrics go to metrics.jsonl and TensorBoard events"),
];
