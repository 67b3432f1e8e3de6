//! Evaluation by named protocols.
//!
//! A [`Protocol`] says what a score means; a [`DepthScorer`] or [`SemsegScorer`] computes it, one
//! frame at a time.

mod depth;
mod labels;
mod permutation;
mod protocol;
mod region;
mod semseg;

pub use depth::{DepthFrame, DepthImage, DepthResult, DepthRow, DepthScorer};
pub use labels::{LabelMap, LabelSet, Labels, VOID};
pub use permutation::numpy_permutation;
pub use protocol::{Average, Caps, DepthProtocol, Images, Protocol, Scores, SemsegProtocol, View};
pub use region::Region;
pub use semseg::{ClassScore, SemsegFrame, SemsegImage, SemsegResult, SemsegRow, SemsegScorer};
