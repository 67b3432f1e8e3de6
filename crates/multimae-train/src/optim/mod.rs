//! Optimisation: AdamW over named parameters, gradient norms and clipping.

mod adamw;
mod gradients;

pub use adamw::{AdamW, AdamWConfig};
pub use gradients::{GradientMap, accumulate, clip, norm};
