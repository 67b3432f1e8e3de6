//! Recipes: one YAML format, in which the published configuration files load unchanged.
//!
//! Precedence: built-in default, then the file, then `--set key=value`. An unknown key is an
//! error that suggests the nearest known one.

mod error;
mod file;
mod finetune;
pub mod keys;
mod modalities;
mod pretrain;
mod values;

pub use error::{Error, Result};
pub use file::{Override, Recipe, Resolved, check_key, check_same, read_map, unknown_of};
pub use finetune::{
    Augmentation, CLASSES, DepthOutput, DownstreamLoss, FinetuneRecipe, HeadChoice, TaskKinds,
    WeightingChoice,
};
pub use modalities::{
    COCO_CLASSES, Kind, LossName, Modalities, ModalityDefaults, ModalityRecipe, TaskModality, usual,
};
pub use pretrain::{
    BadSamplesChoice, BalancerChoice, NanSamplesChoice, OptimiserChoice, PrecisionChoice,
    PretrainRecipe, TablesChoice,
};
pub use values::{Alphas, EncoderChoice, Heads, Names, PromptInit, TaskWeights};
