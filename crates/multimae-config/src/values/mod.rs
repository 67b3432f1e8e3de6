//! The types that recipe keys can have.

mod by_modality;
mod encoder;
mod scalars;
#[cfg(test)]
mod tests;
mod tuning;

pub use by_modality::{Alphas, Heads, Names, TaskWeights};
pub use encoder::EncoderChoice;
pub use tuning::PromptInit;
