//! Recipes: one YAML format, in which the published configuration files load unchanged.
//!
//! Precedence: built-in default, then the file, then `--set key=value`. An unknown key is an
//! error that suggests the nearest known one.

mod file;
mod finetune;
pub mod keys;
mod modalities;
mod pretrain;
mod values;

pub use file::{Override, Recipe, Resolved};
pub(crate) use file::{check_key, check_same, read_map, unknown_of};
pub(crate) use finetune::CLASSES;
pub use finetune::{
    Augmentation, DepthOutput, DownstreamLoss, FinetuneRecipe, HeadChoice, TaskKinds,
    WeightingChoice,
};
pub(crate) use modalities::{COCO_CLASSES, ModalityDefaults, usual};
pub use modalities::{Kind, LossName, Modalities, ModalityRecipe, TaskModality};
pub use pretrain::{
    BadSamplesChoice, BalancerChoice, NanSamplesChoice, OptimiserChoice, PrecisionChoice,
    PretrainRecipe, TablesChoice,
};
pub use values::{Alphas, EncoderChoice, Heads, Names, PromptInit, TaskWeights};
