//! Recipes: one YAML format, in which the published configuration files load unchanged.
//!
//! Precedence: built-in default, then the file, then `--set key=value`. An unknown key is an
//! error that suggests the nearest known one.
//!
//! Files and overrides come from the command line; recipes go to training, which records them with
//! a run. Nothing here opens data or weights.
//!
//! ```
//! use multimae_config::{FinetuneRecipe, Override, Resolved};
//!
//! let load = |keys: &[&str]| {
//!     let overrides: Vec<Override> = keys.iter().map(|key| key.parse()).collect::<Result<_, _>>()?;
//!     let recipe = Resolved::<FinetuneRecipe>::load(None, &overrides)?.recipe;
//!     Ok::<_, Box<dyn std::error::Error>>(recipe)
//! };
//! let recipe = load(&["out_domains=depth-semseg", "num_classes=40"])?;
//! assert_eq!(recipe.tasks.out_domains.0, ["depth", "semseg"]);
//! let error = load(&["out_domains=depth", "bach_size=4"]).unwrap_err();
//! assert!(error.to_string().contains("did you mean `batch_size`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod choices;
mod classes;
mod error;
mod file;
mod finetune;
mod heads;
mod input_schedule;
pub mod keys;
mod known;
mod modalities;
mod modality_entry;
mod overrides;
mod pretrain;
pub mod range;
mod reading;
mod recipe;
pub mod reference;
mod resume;
pub mod schema;
mod shared;
mod usual;
mod values;

pub use choices::{
    Augmentation, BadSamplesChoice, BalancerChoice, CheckpointChoice, ClassFolders, DepthOutput,
    DownstreamLoss, HeadChoice, InterpolateMode, MixupMode, NanSamplesChoice, OptimiserChoice,
    OptimiserStateChoice, PrecisionChoice, TablesChoice, ValidValuesChoice, WeightingChoice,
};
pub use classes::Classes;
pub use error::{Error, Result};
pub use file::{Resolved, read_map};
pub use finetune::{CLASSES, FinetuneRecipe, MASK, TaskKinds};
pub use heads::{
    ConvNeXtSizes, DptSizes, HeadEntry, HeadOutput, HeadRecipe, Heads, LightSizes, LinearSizes,
    SegmenterSizes,
};
pub use input_schedule::InputStage;
pub use known::{check_key, unknown_of};
pub use modalities::{Modalities, TaskModality};
pub use modality_entry::{Kind, LossName, ModalityRecipe, StoredAs};
pub use overrides::Override;
pub use pretrain::{NORM_RGB, PretrainRecipe};
pub use reading::ReadingKeys;
pub use recipe::Recipe;
pub use resume::{Difference, check_same, differing};
pub use shared::{DataKeys, ModelKeys, OptimisationKeys, RunKeys, TaskKeys, WeightKeys};
pub use usual::{COCO_CLASSES, ModalityDefaults, Role, adapter_of, task_kind, usual, usual_target};
pub use values::{
    Alphas, DataSetRecipe, DataSets, EncoderChoice, Names, PiecewiseConstant, PromptInit,
    SetModalities, Stage, TaskWeights,
};
