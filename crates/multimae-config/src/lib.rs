//! Recipes: one YAML format, in which the published configuration files load unchanged.
//!
//! Precedence: built-in default, then the file, then `--set key=value`. An unknown key is an
//! error that suggests the nearest known one.

mod choices;
mod error;
mod file;
mod finetune;
mod heads;
pub mod keys;
mod known;
mod modalities;
mod overrides;
mod pretrain;
pub mod range;
mod recipe;
pub mod reference;
mod resume;
mod shared;
mod values;

pub use choices::{
    Augmentation, BadSamplesChoice, BalancerChoice, ClassFolders, DepthOutput, DownstreamLoss,
    HeadChoice, InterpolateMode, MixupMode, NanSamplesChoice, OptimiserChoice, PrecisionChoice,
    TablesChoice, WeightingChoice,
};
pub use error::{Error, Result};
pub use file::{Resolved, read_map};
pub use finetune::{CLASSES, FinetuneRecipe, TaskKinds};
pub use heads::{
    ConvNeXtSizes, DptSizes, HeadEntry, HeadOutput, HeadRecipe, Heads, LightSizes, LinearSizes,
    SegmenterSizes,
};
pub use known::{check_key, unknown_of};
pub use modalities::{
    COCO_CLASSES, Kind, LossName, Modalities, ModalityDefaults, ModalityRecipe, TaskModality, usual,
};
pub use overrides::Override;
pub use pretrain::PretrainRecipe;
pub use recipe::Recipe;
pub use resume::{Difference, check_same, differing};
pub use shared::{DataKeys, ModelKeys, OptimisationKeys, RunKeys, TaskKeys};
pub use values::{Alphas, EncoderChoice, Names, PromptInit, TaskWeights};
