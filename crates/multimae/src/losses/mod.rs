//! Losses: of reconstruction and of downstream tasks, and their balancing.

mod balancer;
mod cross_entropy;
mod masked;
mod objective;
mod regression;
mod supervised;
mod valid;

pub use balancer::{TaskBalancer, weighted_loss};
pub use masked::{CountedPixels, ReconstructionLoss, ReconstructionTarget, TaskLoss};
pub use objective::{Objective, TaskObjective};
pub use regression::RegressionLoss;
pub use supervised::{SupervisedLoss, SupervisedTarget};
pub use valid::{Targets, ValidMask, ValidMasks};
