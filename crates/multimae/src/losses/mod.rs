//! Reconstruction losses and their balancing.

mod balancer;
mod masked;
mod objective;

pub use balancer::{TaskBalancer, weighted_loss};
pub use masked::{ReconstructionLoss, ReconstructionTarget, TaskLoss};
pub use objective::{Objective, TaskObjective};
