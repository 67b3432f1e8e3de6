//! Optimisation: AdamW over named parameters, gradient norms and clipping.

mod adamw;
mod gradients;
mod groups;
mod moments;
mod rate;

#[cfg(test)]
mod tests;

pub use adamw::{AdamW, AdamWConfig};
pub use gradients::{GradientMap, accumulate, clip, norm};
pub use groups::{GroupRules, ParameterGroup, ParameterGroups, decays};
pub use multimae_config::OptimiserStateChoice;
pub use rate::StepRates;
