//! The types that recipe keys can have.

mod by_modality;
mod data_sets;
mod encoder;
pub(crate) mod json_schema;
mod piecewise;
mod scalars;
#[cfg(test)]
mod tests;
mod tuning;
pub(crate) mod tuning_list;

pub(crate) use by_modality::by_name;
pub use by_modality::{Alphas, Names, TaskWeights};
pub use data_sets::{DataSetRecipe, DataSets, SetModalities};
pub use encoder::EncoderChoice;
pub use piecewise::{PiecewiseConstant, Stage};
pub use tuning::PromptInit;
