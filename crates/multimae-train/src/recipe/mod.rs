//! Recipes: one YAML format, in which the published configuration files load unchanged.
//!
//! Precedence: built-in default, then the file, then `--set key=value`. An unknown key is an
//! error that suggests the nearest known one.

mod file;
pub mod keys;
mod modalities;
mod pretrain;
mod values;

pub use file::{Override, Resolved};
pub use modalities::{Kind, LossName, Modalities, ModalityRecipe, TaskModality};
pub use pretrain::{
    BadSamplesChoice, BalancerChoice, NanSamplesChoice, OptimiserChoice, PretrainRecipe,
    TablesChoice,
};
pub use values::{Alphas, EncoderChoice, Names};
