//! Scores of depth, segmentation and classification, accumulated exactly over a whole set.

mod averages;
mod classes;
mod depth;
mod semseg;

pub use averages::DepthAverages;
pub use classes::{ClassMetrics, ClassScores};
pub use depth::{DepthMetrics, DepthScores};
pub use semseg::{SemsegMetrics, SemsegScores};
