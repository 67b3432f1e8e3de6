//! Scores of depth and segmentation, accumulated exactly over a whole set.

mod depth;
mod semseg;

pub use depth::{DepthMetrics, DepthScores};
pub use semseg::{SemsegMetrics, SemsegScores};
