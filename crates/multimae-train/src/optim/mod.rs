//! Optimisation: AdamW over named parameters, gradient norms and clipping.

mod adamw;
mod gradients;
mod groups;
mod rate;

pub use adamw::{AdamW, AdamWConfig};
pub use gradients::{GradientMap, accumulate, clip, norm};
pub use groups::{GroupRules, ParameterGroup, ParameterGroups, decays};
pub use rate::StepRates;
