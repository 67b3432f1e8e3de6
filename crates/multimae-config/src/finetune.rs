//! The recipe of fine-tuning: the published keys of classification, segmentation, depth and dense
//! regression, and ours.

use multimae::modality::Size;
use multimae::nn::LoraConfig;
use multimae::peft::PeftConfig;
use multimae::prompts::PromptConfig;
use multimae::tuning::{Tuning, TuningPart};
use serde_json::{Map, Value, json};

use super::file::Recipe;
use super::keys::{Keys as _, choice, recipe_keys};
use super::modalities::Modalities;
use super::pretrain::{BadSamplesChoice, OptimiserChoice, PrecisionChoice, TablesChoice};
use super::values::{EncoderChoice, Heads, Names, PromptInit, TaskWeights};
use crate::{Error, Result};

/// The task of classes per image.
pub const CLASSES: &str = "cls";

choice! {
    /// How the losses of the tasks are weighted.
    pub enum WeightingChoice {
        /// By `task_weights` alone.
        None = "none",
        /// A learned log-variance per task.
        Uncertainty = "uncertainty",
        /// Each over the loss of predicting a constant.
        Normalised = "normalised",
    }
}

choice! {
    /// The loss of depth and of other real values.
    pub enum DownstreamLoss {
        /// Reversed Huber.
        BerHu = "berhu",
        /// Absolute error.
        L1 = "l1",
        /// Scale-invariant logarithmic error.
        Silog = "silog",
    }
}

choice! {
    /// What the output of a depth head stands for.
    pub enum DepthOutput {
        /// Depth.
        Linear = "linear",
        /// Its logarithm.
        Log = "log",
    }
}

choice! {
    /// How training samples of dense tasks are augmented.
    pub enum Augmentation {
        /// The whole image fits, large-scale jitter, padding, colours.
        Simple = "simple",
        /// The image covers the input, random crop, colours where `color_augs` is set.
        NyuAugs = "nyu-augs",
    }
}

choice! {
    /// A kind of head.
    pub enum HeadChoice {
        /// Dense prediction transformer.
        Dpt = "dpt",
        /// ConvNeXt blocks.
        ConvNeXt = "convnext",
        /// Segmenter.
        Segmenter = "segmenter",
        /// A light head.
        Light = "light",
    }
}

choice! {
    /// How a head's prediction is brought to the resolution of the image.
    pub enum InterpolateMode {
        /// Linearly.
        Bilinear = "bilinear",
        /// The nearest value.
        Nearest = "nearest",
    }
}

choice! {
    /// How samples are mixed.
    pub enum MixupMode {
        /// All of a batch alike.
        Batch = "batch",
    }
}

choice! {
    /// How classes are stored: in folders, under either name.
    pub enum ClassFolders {
        /// The published name of ImageNet.
        ImageNet = "IMNET",
        /// Any folders.
        ImageFolder = "image_folder",
    }
}

recipe_keys! {
    /// Everything that can be set for fine-tuning.
    pub struct FinetuneRecipe {
        group "Tasks" {
            /// Input modalities, in the order of their tokens.
            in_domains: Names = Names::joined("rgb"),
            /// Tasks: depth, semseg, cls (a class per image), or any modality of real values.
            /// Where it is not given, it is told by the other keys, as in the published files.
            out_domains: Names = Names(Vec::new()),
            /// Properties of modalities: folder, kind, channels, classes, stride, ignore, offset,
            /// divisor, mean, std, interpolation, standardize, palette, unit. Depth divided by its
            /// divisor is in metres.
            modalities: Modalities = Modalities::default(),
            /// Number of classes; of cls, that of the folders if null.
            num_classes: Option<usize> = None,
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
            /// Standardise input depth per sample by the valid values between its 10th and 90th
            /// percentile. Depth that is predicted is in metres in any case.
            standardize_depth: bool = true,
            /// Smallest valid depth in metres; 0 and less are holes.
            depth_min: f64 = 1e-3,
            /// Largest valid depth in metres: annotations above do not count, predictions are
            /// clamped to it.
            depth_max: f64 = 10.0,
            /// What a depth head's output stands for; log for the loss silog, else linear, if null.
            depth_output: Option<DepthOutput> = None,
            /// Mean depth in metres (of its logarithm for log) at an output of 0; that of the
            /// training samples if null.
            depth_mean: Option<f64> = None,
            /// Deviation of depth in metres (of its logarithm for log) at an output of 1; that of
            /// the training samples if null.
            depth_std: Option<f64> = None,
            /// ImageNet's mean and deviation of RGB, not 0.5.
            imagenet_default_mean_and_std: bool = true,
        }
        group "Losses" {
            /// Loss of depth and other real values.
            loss: DownstreamLoss = DownstreamLoss::BerHu,
            /// How far silog forgives an error of the scale: from 0, not at all, to 1.
            silog_focus: f64 = 0.85,
            /// Share of a target's mass that is spread over all classes.
            smoothing: f64 = 0.0,
            /// Factors of the tasks' losses; 1 where none is given.
            task_weights: TaskWeights = TaskWeights::default(),
            /// What else weights the tasks: `normalised` divides each loss by that of predicting a
            /// constant, the mean depth or the class frequencies of the training samples.
            task_balancer: WeightingChoice = WeightingChoice::None,
            /// Learning rate of the uncertainty weighting over the model's.
            balancer_lr_scale: f64 = 1.0,
        }
        group "Model" {
            /// Size of the encoder.
            model: EncoderChoice = EncoderChoice::multivit_base(),
            /// Side of a patch at full resolution.
            patch_size: usize = 16,
            /// Size of the images.
            input_size: Size = Size::square(256),
            /// Learned tokens that belong to no patch.
            num_global_tokens: usize = 1,
            /// Stochastic depth of the last block; it rises linearly from 0 at the first.
            drop_path_encoder: f64 = 0.0,
            /// Train the position tables of the inputs.
            learnable_pos_emb: bool = false,
            /// How position tables that are not square are built; `scrambled` is what the published
            /// code does.
            nonsquare_tables: TablesChoice = TablesChoice::RowColumn,
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
            /// Width of ConvNeXt and Segmenter heads.
            decoder_dim: usize = 6144,
            /// Blocks of ConvNeXt and Segmenter heads.
            decoder_depth: usize = 4,
            /// Predictions per patch of ConvNeXt heads, a square number.
            decoder_preds_per_patch: usize = 16,
            /// How ConvNeXt heads reach the resolution of the image.
            decoder_interpolate_mode: InterpolateMode = InterpolateMode::Bilinear,
            /// Stochastic depth of Segmenter heads.
            drop_path_decoder: f64 = 0.0,
            /// Classify the mean of all tokens, not the last one.
            use_mean_pooling: bool = true,
        }
        group "Tuning" {
            /// What is trained besides the heads: full (everything), head (nothing), bias (all
            /// biases), norm (all LayerNorms of the encoder), ssf (scale and shift of features),
            /// lora (low-rank adaptation), prompts (see `prompts`), last-1, last-2 and so on (the
            /// last blocks), or several of them as in prompts+norm. The rest stays as it is, to
            /// the bit.
            tuning: Tuning = Tuning::Full,
            /// Prompts of the encoder, for `tuning: prompts`: {kind: shallow | deep, count, first,
            /// layers, dropout, rank, gate} are tokens, {kind: prefix, count, first, layers,
            /// dropout} keys and values, {kind: l2p, entries, length, top_n, form: tokens | prefix,
            /// first, layers, keys: shared | per_layer, query: patches | global | embeddings,
            /// pull_weight, diversity_weight}, {kind: dual, ...} and {kind: coda, entries, length,
            /// first, layers, query, orthogonality_weight} are pools.
            prompts: Option<PromptConfig> = None,
            /// The block from which on every task has prompts of its own: 0 gives every task its
            /// own pass, the number of blocks one pass to all; one pass if null.
            branch_at: Option<usize> = None,
            /// Rank of scale and shift behind the norms of the blocks, which are made from the
            /// sample's prompts and begin without effect; none if null.
            prompt_norms: Option<usize> = None,
            /// How prompts begin: random; self, from the tokens of training images in front of the
            /// same block; or the values in an adapter, the file of another run.
            prompt_init: PromptInit = PromptInit::Random,
            /// Sizes of low-rank adaptation, for `tuning: lora`: {rank, alpha, targets: [qkv, proj,
            /// fc1, fc2]}; rank 8 of qkv and proj if null.
            lora: Option<LoraConfig> = None,
            /// A LayerNorm per task on every layer that its head reads.
            entry_norms: bool = false,
            /// Learning rate of what tuning adds (prompts, low-rank adaptation, scale and shift)
            /// over that of the heads. It is not decayed by layer and has no weight decay.
            added_lr_scale: f64 = 1.0,
            /// Learning rate of the pre-trained weights over that of the heads, besides
            /// `layer_decay`.
            backbone_lr_scale: f64 = 1.0,
        }
        group "Pre-trained weights" {
            /// Weights to begin with: a run's folder, or a file in safetensors, .pth or .npz, of
            /// MultiMAE, MultiViT or timm's ViT. Random ones if null.
            finetune: Option<String> = None,
            /// Parameters, by the beginning of their name, that the file need not have.
            allow_missing: Names = Names(Vec::new()),
            /// Tensors of the file, by the beginning of their name, that may be left unused;
            /// decoders, heads and adapters of other inputs always may.
            allow_unexpected: Names = Names(Vec::new()),
        }
        group "Optimisation" {
            /// Samples per forward pass.
            batch_size: usize = 16,
            /// Forward passes per step of the optimiser; they run side by side where there are
            /// processors.
            update_freq: usize = 1,
            /// Passes over the data.
            epochs: usize = 200,
            /// Optimiser.
            opt: OptimiserChoice = OptimiserChoice::AdamW,
            /// Added to the optimiser's denominator.
            opt_eps: f64 = 1e-8,
            /// Decay of the optimiser's means.
            opt_betas: Option<[f64; 2]> = Some([0.9, 0.999]),
            /// Weight decay; norms, biases, tokens and embeddings have none.
            weight_decay: f64 = 0.05,
            /// Weight decay at the end of a cosine; the same all along if null.
            weight_decay_end: Option<f64> = None,
            /// Learning rate of the heads. Set this or `blr`.
            lr: Option<f64> = Some(1e-4),
            /// Learning rate of the heads per 256 samples of a step.
            blr: Option<f64> = None,
            /// Learning rate at the end of the cosine.
            min_lr: f64 = 0.0,
            /// Factor of the learning rate from each block to the one before it.
            layer_decay: f64 = 0.75,
            /// Whether input adapters and global tokens, before the first block, are slowed too.
            scale_input_lr: bool = true,
            /// Parameters that learn at the full rate, joined by `-` or in a list.
            no_lr_scale_list: Names = Names(Vec::new()),
            /// Epochs of linear warm-up from 0.
            warmup_epochs: usize = 1,
            /// Steps of warm-up; overrides `warmup_epochs` if above 0.
            warmup_steps: i64 = -1,
            /// Largest L2 norm of the gradients; larger ones are scaled down to it.
            clip_grad: Option<f64> = None,
            /// Steps whose gradients have at least this L2 norm are left out. Not with `clip_grad`.
            skip_grad: Option<f64> = None,
            /// Keep an exponential moving average of the weights, and evaluate and save it.
            model_ema: bool = false,
            /// Decay of that average per step.
            model_ema_decay: f64 = 0.9999,
        }
        group "Data" {
            /// Folder of the data.
            data_path: Option<String> = None,
            /// Name of the list of samples, `DIR/<split>.txt`. Without it, files are found by folder.
            split: Option<String> = None,
            /// List of samples that choose the best model.
            eval_split: Option<String> = None,
            /// Folder of those samples, if not `data_path`.
            eval_data_path: Option<String> = None,
            /// List of samples that the best model is measured on once, at the end.
            test_split: Option<String> = None,
            /// Folder of those samples, if not `data_path`.
            test_data_path: Option<String> = None,
            /// Use no more than this many training samples, drawn with `seed`.
            max_train_images: Option<usize> = None,
            /// Use no more than this many evaluation samples, drawn with `seed`.
            max_val_images: Option<usize> = None,
            /// Use no more than this many test samples, drawn with `seed`.
            max_test_images: Option<usize> = None,
            /// Classes of images are folders.
            data_set: ClassFolders = ClassFolders::ImageFolder,
            /// Augmentation of dense tasks.
            aug_name: Augmentation = Augmentation::Simple,
            /// Random colours; for `simple` if null, as in the published code.
            color_augs: Option<bool> = None,
            /// Smallest and largest factor of random scaling; [0.1, 2] for `simple` and none for
            /// `nyu-augs` if null. Depth is divided by the factor.
            scale_jitter: Option<[f64; 2]> = None,
            /// Probability of a horizontal flip.
            hflip: f64 = 0.5,
            /// Smallest and largest share of the image that a crop covers, for cls.
            crop_scale: [f64; 2] = [0.08, 1.0],
            /// Smallest and largest aspect of a crop over that of `input_size`, for cls.
            crop_ratio: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0],
            /// Share of the centre that is evaluated, for cls; 224/256 below 384 pixels, else 1, if
            /// null.
            crop_pct: Option<f64> = None,
            /// Strength of random brightness, contrast and saturation, for cls.
            color_jitter: f64 = 0.4,
            /// Mixing of two images' pixels: both parameters of the beta distribution; 0 for none.
            mixup: f64 = 0.8,
            /// Mixing of two images by a rectangle, likewise.
            cutmix: f64 = 1.0,
            /// Smallest and largest side of the rectangle over the image's, instead of `cutmix`.
            cutmix_minmax: Option<[f64; 2]> = None,
            /// Probability that a batch is mixed.
            mixup_prob: f64 = 1.0,
            /// Share of rectangles where both kinds of mixing are on.
            mixup_switch_prob: f64 = 0.5,
            /// How samples are mixed.
            mixup_mode: MixupMode = MixupMode::Batch,
            /// What happens to a sample that cannot be read.
            bad_samples: BadSamplesChoice = BadSamplesChoice::Fail,
            /// A new order in every epoch; `false` is what the published code does on one device.
            reshuffle: bool = true,
            /// Threads that read samples; 0 reads them between the steps.
            num_workers: usize = 1,
            /// Samples that are read ahead.
            prefetch: usize = 64,
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
            keep_ckpt: usize = 2,
            /// Epochs between evaluations.
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

/// What kind of tasks a recipe is about: the published scripts have defaults of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKinds {
    /// A class per image.
    Classification,
    /// A class per pixel.
    Segmentation,
    /// Depth.
    Depth,
    /// Several dense tasks.
    Joint,
    /// Other real values.
    Regression,
}

impl TaskKinds {
    fn of(tasks: &Names) -> Self {
        match tasks.0.as_slice() {
            [only] if only == CLASSES => Self::Classification,
            [only] if only == "semseg" => Self::Segmentation,
            [only] if only == "depth" => Self::Depth,
            [_] => Self::Regression,
            _ => Self::Joint,
        }
    }

    /// The tasks that the keys of a published file are about, and the key that tells.
    fn told_by(map: &Map<String, Value>) -> Option<(Self, &'static str, &'static str)> {
        let has = |key: &str| map.get(key).is_some_and(|value| !value.is_null());
        let pixels = ["seg_reduce_zero_label", "seg_use_void_label"];
        let images = ["use_mean_pooling", "data_set", "mixup", "cutmix", "smoothing", "crop_pct"];
        let labels = pixels.into_iter().find(|key| has(key));
        let images = images.into_iter().find(|key| has(key));
        let depth = has("loss").then_some("loss");
        match (images, labels, depth) {
            (Some(key), ..) => Some((Self::Classification, key, CLASSES)),
            (None, Some(key), None) => Some((Self::Segmentation, key, "semseg")),
            (None, None, Some(key)) => Some((Self::Depth, key, "depth")),
            (None, Some(_), Some(key)) => Some((Self::Joint, key, "depth-semseg")),
            (None, None, None) if has("num_classes") => {
                Some((Self::Segmentation, "num_classes", "semseg"))
            }
            (None, None, None) => None,
        }
    }

    /// The defaults of the published scripts, where they differ from those of joint training.
    fn defaults(self) -> Value {
        match self {
            Self::Classification => json!({
                "input_size": 224, "batch_size": 128, "epochs": 100, "drop_path_encoder": 0.1,
                "layer_decay": 0.65, "lr": null, "blr": 5e-4, "min_lr": 1e-6, "warmup_epochs": 5,
                "smoothing": 0.1,
            }),
            Self::Segmentation => json!({
                "num_classes": 150, "input_size": 512, "batch_size": 4, "epochs": 64,
                "drop_path_encoder": 0.1,
            }),
            Self::Depth => json!({
                "batch_size": 64, "epochs": 2000, "weight_decay": 1e-4, "warmup_epochs": 100,
                "standardize_depth": false, "decoder_preds_per_patch": 64, "aug_name": "nyu-augs",
                "save_ckpt_freq": 200,
            }),
            Self::Joint => json!({}),
            Self::Regression => json!({
                "input_size": 384, "batch_size": 32, "epochs": 100, "drop_path_encoder": 0.1,
                "lr": 3e-4, "loss": "l1", "aug_name": "nyu-augs", "hflip": 0.0,
            }),
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
    const FREE_ON_RESUME: &'static [&'static str] = FREE_ON_RESUME;
    const ALIASES: &'static [(&'static str, &'static str)] =
        &[("nb_classes", "num_classes"), ("drop_path", "drop_path_encoder")];

    fn start(map: &Map<String, Value>) -> Result<(Self, Vec<String>)> {
        use super::keys::RecipeValue as _;
        let mut recipe = Self::default();
        let mut notices = Vec::new();
        let given = map.get("out_domains").map(Names::read).transpose().map_err(Error::Recipe)?;
        let kinds = match given.filter(|names| !names.0.is_empty()) {
            Some(names) => TaskKinds::of(&names),
            None => {
                let (kinds, key, tasks) = TaskKinds::told_by(map).ok_or_else(|| {
                    Error::Recipe(
                        "say what to learn: `out_domains: depth`, `semseg`, `depth-semseg` or `cls`"
                            .to_owned(),
                    )
                })?;
                notices.push(format!("`out_domains` is taken to be {tasks}, as `{key}` is set"));
                recipe.out_domains = Names::joined(tasks);
                kinds
            }
        };
        if let Value::Object(defaults) = kinds.defaults() {
            for (key, value) in defaults {
                recipe.set(&key, &value).transpose().map_err(Error::Recipe)?;
            }
        }
        // One of the two rates is meant, the one that is named.
        match (map.contains_key("lr"), map.contains_key("blr")) {
            (true, false) => recipe.blr = None,
            (false, true) => recipe.lr = None,
            _ => {}
        }
        Ok((recipe, notices))
    }

    fn check(&self) -> Result<()> {
        let positive = [
            ("batch_size", self.batch_size),
            ("update_freq", self.update_freq),
            ("epochs", self.epochs),
            ("save_ckpt_freq", self.save_ckpt_freq),
            ("save_ckpt_steps", self.save_ckpt_steps.unwrap_or(1)),
            ("eval_freq", self.eval_freq),
            ("log_freq", self.log_freq),
            ("log_images_freq", self.log_images_freq),
            ("num_classes", self.num_classes.unwrap_or(1)),
        ];
        let shares = [
            ("smoothing", self.smoothing),
            ("mixup_prob", self.mixup_prob),
            ("mixup_switch_prob", self.mixup_switch_prob),
            ("hflip", self.hflip),
            ("silog_focus", self.silog_focus),
            ("crop_pct", self.crop_pct.unwrap_or(1.0)),
        ];
        let problem = |problem: String| Err(Error::Recipe(problem));
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return problem(format!("`{key}` must be at least 1"));
        }
        if let Some((key, value)) = shares.iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return problem(format!("`{key}` {value} must be from 0 to 1"));
        }
        if self.clip_grad.is_some() && self.skip_grad.is_some() {
            return problem("`clip_grad` and `skip_grad` exclude each other; set one".to_owned());
        }
        if self.lr.is_some() == self.blr.is_some() {
            return problem("set one of `lr` and `blr`, and not both".to_owned());
        }
        if !(0.0..1.0).contains(&self.drop_path_encoder) {
            return problem(format!(
                "`drop_path_encoder` {} must be in [0, 1)",
                self.drop_path_encoder
            ));
        }
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            return problem(format!("`layer_decay` {} must be in (0, 1]", self.layer_decay));
        }
        if !(self.depth_min > 0.0 && self.depth_min < self.depth_max) {
            return problem("`depth_min` must be above 0 and below `depth_max`".to_owned());
        }
        if self.depth_std.is_some_and(|std| std <= 0.0) {
            return problem("`depth_std` must be above 0".to_owned());
        }
        if !(self.added_lr_scale > 0.0 && self.backbone_lr_scale > 0.0) {
            return problem("`added_lr_scale` and `backbone_lr_scale` must be above 0".to_owned());
        }
        self.check_tuning()?;
        self.check_tasks()
    }
}

impl FinetuneRecipe {
    fn check_tasks(&self) -> Result<()> {
        let problem = |problem: String| Err(Error::Recipe(problem));
        let (inputs, tasks) = (&self.in_domains.0, &self.out_domains.0);
        if inputs.is_empty() || tasks.is_empty() {
            return problem("`in_domains` and `out_domains` need one entry each".to_owned());
        }
        if tasks.len() > 1 && tasks.iter().any(|task| task == CLASSES) {
            return problem(format!("`{CLASSES}` cannot be learned beside other tasks"));
        }
        if let Some(both) = inputs.iter().find(|input| tasks.contains(input)) {
            return problem(format!(
                "`{both}` is an input and a task: the answer would be given away"
            ));
        }
        if let Some(name) = self.decoder_main_tasks.0.iter().find(|name| !inputs.contains(name))
            && self.decoder_main_tasks.0 != ["rgb"]
        {
            return problem(format!("`decoder_main_tasks`: `{name}` is none of `in_domains`"));
        }
        let known = |name: &String| tasks.contains(name);
        if let Some(name) = self.task_weights.0.keys().find(|name| !known(name)) {
            return problem(format!("`task_weights`: `{name}` is none of `out_domains`"));
        }
        if let Some(name) = self.heads.0.keys().find(|name| !known(name)) {
            return problem(format!("`heads`: `{name}` is none of `out_domains`"));
        }
        Ok(())
    }

    /// What is added must be trained, and what is trained must be there.
    fn check_tuning(&self) -> Result<()> {
        let problem = |problem: String| Err(Error::Recipe(problem));
        let tuning = &self.tuning;
        let full = *tuning == Tuning::Full;
        let prompts = tuning.has(TuningPart::Prompts);
        if prompts && self.prompts.is_none() {
            return problem(format!(
                "`tuning: {tuning}`: say which prompts, as in `prompts: {{kind: deep, count: 10}}`"
            ));
        }
        if self.prompts.is_some() && !prompts && !full {
            return problem(format!(
                "`prompts` are not trained by `tuning: {tuning}`; add +prompts"
            ));
        }
        if self.prompts.is_none() && self.prompt_init != PromptInit::Random {
            return problem("`prompt_init` is set, and there are no `prompts`".to_owned());
        }
        if self.lora.is_some() && !tuning.has(TuningPart::Lora) && !full {
            return problem(format!("`lora` is not trained by `tuning: {tuning}`; add +lora"));
        }
        Ok(())
    }

    /// What tuning adds to the model.
    #[must_use]
    pub fn peft(&self) -> PeftConfig {
        let lora = self.tuning.has(TuningPart::Lora).then(LoraConfig::default);
        PeftConfig {
            prompts: self.prompts.clone(),
            branch_at: self.branch_at,
            prompt_norms: self.prompt_norms,
            lora: self.lora.clone().or(lora),
            ssf: self.tuning.has(TuningPart::Ssf),
            entry_norms: self.entry_norms,
        }
    }

    /// Whether images get one class each.
    #[must_use]
    pub fn classifies(&self) -> bool {
        self.out_domains.0.iter().any(|task| task == CLASSES)
    }

    /// The inputs whose tokens the heads read. The default, RGB, means the first input where there
    /// is no RGB.
    #[must_use]
    pub fn main_tasks(&self) -> Vec<String> {
        let wanted = &self.decoder_main_tasks.0;
        if wanted.iter().all(|name| self.in_domains.0.contains(name)) {
            return wanted.clone();
        }
        self.in_domains.0.iter().take(1).cloned().collect()
    }

    /// The learning rate of the heads after warm-up.
    #[must_use]
    pub fn peak_lr(&self) -> f64 {
        let samples = (self.batch_size * self.update_freq) as f64;
        self.lr.unwrap_or_else(|| self.blr.unwrap_or_default() * samples / 256.0)
    }
}

const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("aa", "automatic augmentation policies are not implemented; `color_jitter` is used"),
    ("reprob", "random erasing is not implemented; it is off by default in the published code"),
    ("remode", "random erasing is not implemented"),
    ("recount", "random erasing is not implemented"),
    ("attn_drop_rate", "the model has no dropout"),
    ("decoder_decay", "it has no effect in the published code"),
    ("decoder_num_heads", "no published head uses it"),
    ("disable_eval_during_finetuning", "without eval_split or eval_data_path there is none"),
    ("dist_eval", "a run uses one device"),
    ("dist_on_itp", "a run uses one device"),
    ("dist_url", "a run uses one device"),
    ("drop", "the model has no dropout"),
    ("eval", "use multimae evaluate"),
    ("find_unused_params", "parameters without gradient are left alone"),
    ("fp16", "set `precision: bf16` for products of 16 bits"),
    ("fp32_output_adapters", "`precision` is that of all products; sums are 32 bits"),
    ("init_scale", "it has no effect in the published code"),
    ("local_rank", "a run uses one device"),
    ("log_images_wandb", "pictures go to the run's folder and TensorBoard events"),
    ("log_wandb", "metrics go to metrics.jsonl and TensorBoard events"),
    ("model_ema_force_cpu", "averages are kept where the model is"),
    ("model_key", "no published script uses it"),
    ("model_prefix", "no published script uses it"),
    ("momentum", "AdamW has none"),
    ("pin_mem", "host memory is not copied to a device"),
    ("resplit", "no published script uses it"),
    ("resume", "continue a run with --resume"),
    ("save_ckpt", "checkpoints are always written"),
    ("show_user_warnings", "warnings are always shown"),
    ("start_epoch", "a resumed run knows where it was"),
    ("test", "set test_split or test_data_path"),
    ("tmp", "name the run's folder as you like"),
    ("train_interpolation", "colours are resized bicubically"),
    ("wandb_entity", "metrics go to metrics.jsonl and TensorBoard events"),
    ("wandb_group", "metrics go to metrics.jsonl and TensorBoard events"),
    ("wandb_project", "metrics go to metrics.jsonl and TensorBoard events"),
    ("wandb_run_name", "metrics go to metrics.jsonl and TensorBoard events"),
    ("warmup_lr", "no published script uses it; warm-up starts at 0"),
    ("world_size", "a run uses one device"),
];

const FREE_ON_RESUME: &[&str] = &[
    "data_path",
    "eval_data_path",
    "test_data_path",
    "test_split",
    "max_test_images",
    "finetune",
    "allow_missing",
    "allow_unexpected",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resolved;

    fn load(text: &str) -> Result<Resolved<FinetuneRecipe>> {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        let Value::Object(map) = value else { panic!("{text}") };
        Resolved::from_map(&map, "recipe.yaml")
    }

    fn named(resolved: &Resolved<FinetuneRecipe>) -> Vec<&str> {
        resolved.notices.iter().filter_map(|notice| notice.split('`').nth(1)).collect()
    }

    /// The keys that the published files share.
    const SHARED: &str = "
model: multivit_base
patch_size: 16
num_global_tokens: 1
opt: adamw
warmup_lr: 0.000001
fp16: True
find_unused_params: False
log_wandb: False
wandb_project: null
wandb_entity: null
wandb_run_name: ft
dist_eval: True
finetune: '/path/to/weights'
output_dir: 'output/finetune/ft'
";

    #[test]
    fn the_published_segmentation_files_load_unchanged() {
        let text = format!(
            "{SHARED}
in_domains: rgb-depth
decoder_main_tasks: rgb
use_mask_valid: True
drop_path_encoder: 0.1
learnable_pos_emb: False
output_adapter: convnext
decoder_dim: 6144
decoder_preds_per_patch: 16
decoder_depth: 4
epochs: 200
lr: 0.0001
min_lr: 0.
warmup_epochs: 1
batch_size: 2
input_size: 640
layer_decay: 0.75
aug_name: simple
num_classes: 40
dataset_name: nyu
eval_freq: 20
seg_reduce_zero_label: True
seg_use_void_label: False
log_images_wandb: True
log_images_freq: 20
test_data_path: null
data_path: /d/train
eval_data_path: /d/test
"
        );
        let resolved = load(&text).unwrap();
        let recipe = &resolved.recipe;
        assert_eq!(recipe.out_domains.0, ["semseg"]);
        assert_eq!((recipe.num_classes, recipe.epochs, recipe.weight_decay), (Some(40), 200, 0.05));
        assert!(recipe.standardize_depth && recipe.use_mask_valid && recipe.seg_reduce_zero_label);
        assert_eq!((recipe.peak_lr(), recipe.layer_decay), (1e-4, 0.75));
        let expected =
            ["out_domains", "warmup_lr", "fp16", "wandb_run_name", "dist_eval", "log_images_wandb"];
        assert_eq!(named(&resolved), expected);
    }

    #[test]
    fn the_published_depth_files_load_unchanged() {
        let text = format!(
            "{SHARED}
in_domains: rgb
decoder_main_tasks: rgb
use_mask_valid: True
drop_path_encoder: 0.0
output_adapter: dpt
loss: berhu
epochs: 2000
lr: 0.0001
warmup_epochs: 100
batch_size: 64
input_size: 256
layer_decay: 0.75
weight_decay: 0.0001
aug_name: nyu-augs
color_augs: True
dataset_name: nyu
standardize_depth: False
eval_freq: 250
log_images_freq: 250
"
        );
        let recipe = load(&text).unwrap().recipe;
        assert_eq!(recipe.out_domains.0, ["depth"]);
        assert_eq!((recipe.epochs, recipe.weight_decay), (2000, 1e-4));
        assert_eq!((recipe.aug_name, recipe.color_augs), (Augmentation::NyuAugs, Some(true)));
        // What the file does not say is the depth script's own.
        assert_eq!((recipe.decoder_preds_per_patch, recipe.save_ckpt_freq), (64, 200));
    }

    #[test]
    fn the_published_classification_files_load_unchanged() {
        let text = format!(
            "{SHARED}
use_mean_pooling: True
drop_path: 0.1
epochs: 100
blr: 0.0005
weight_decay: 0.05
warmup_epochs: 5
batch_size: 128
layer_decay: 0.65
nb_classes: 1000
data_set: IMNET
mixup: 0.8
cutmix: 1.0
aa: rand-m9-mstd0.5-inc1
"
        );
        let resolved = load(&text).unwrap();
        let recipe = &resolved.recipe;
        assert_eq!(recipe.out_domains.0, [CLASSES]);
        assert!((recipe.peak_lr() - 2.5e-4).abs() < 1e-12 && recipe.lr.is_none());
        assert_eq!((recipe.drop_path_encoder, recipe.num_classes), (0.1, Some(1000)));
        assert_eq!((recipe.smoothing, recipe.min_lr), (0.1, 1e-6));
        assert!(named(&resolved).contains(&"aa"));
    }

    #[test]
    fn the_published_joint_and_regression_files_load_unchanged() {
        let joint = "
in_domains: rgb
use_mask_valid: False
decoder_dim: 256
decoder_preds_per_patch: 16
decoder_depth: 4
drop_path_encoder: 0.0
loss: berhu
epochs: 200
warmup_epochs: 100
batch_size: 32
input_size: 256
aug_name: simple
color_augs: True
num_classes: 40
seg_reduce_zero_label: True
freeze_transformer: True
";
        let recipe = load(joint).unwrap().recipe;
        assert_eq!(recipe.out_domains.0, ["depth", "semseg"]);
        assert!(recipe.freeze_transformer);
        let text = format!(
            "{SHARED}
out_domains: principal_curvature
epochs: 100
lr: 0.0003
warmup_epochs: 5
batch_size: 8
input_size: 384
drop_path_encoder: 0.1
max_train_images: 800
max_val_images: 200
max_test_images: 54514
eval_freq: 5
"
        );
        let recipe = load(&text).unwrap().recipe;
        assert_eq!((recipe.loss, recipe.max_train_images), (DownstreamLoss::L1, Some(800)));
    }

    #[test]
    fn the_written_recipe_reads_back() {
        for text in ["num_classes: 4\n", "out_domains: cls\n", "loss: silog\nlr: 0.01\n"] {
            let recipe = load(text).unwrap().recipe;
            let again = load(&recipe.to_yaml()).unwrap();
            assert_eq!(again.recipe, recipe);
            assert!(again.notices.is_empty(), "{:?}", again.notices);
        }
    }

    #[test]
    fn keys_must_fit_together() {
        let problem = |text: &str| load(text).unwrap_err().to_string();
        assert!(problem("epochs: 3").contains("out_domains"));
        assert!(problem("out_domains: depth\nlr: 1\nblr: 1").contains("`blr`"));
        assert!(problem("out_domains: cls-depth").contains("beside"));
        assert!(problem("out_domains: depth\nin_domains: depth").contains("given away"));
        assert!(problem("out_domains: depth\nlayer_decay: 1.5").contains("layer_decay"));
        assert!(problem("out_domains: cls\nnb_classes: 3\nnum_classes: 3").contains("same key"));
        assert!(problem("out_domains: depth\ntask_weights: {semseg: 1}").contains("task_weights"));
        assert!(problem("out_domains: depth\nmixup_mode: pair").contains("mixup_mode"));
    }
}
