//! Scores of depth and segmentation, accumulated exactly over a whole set.

mod averages;
mod depth;
mod semseg;

pub use averages::DepthAverages;
pub use depth::{DepthMetrics, DepthScores};
pub use semseg::{SemsegMetrics, SemsegScores};
