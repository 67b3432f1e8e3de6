//! Evaluation by named protocols.
//!
//! A [`Protocol`] says what a score means; a [`DepthScorer`] or [`SemsegScorer`] computes it, one
//! frame at a time.

mod data;
mod depth;
mod error;
mod labels;
mod missing;
mod permutation;
mod pictures;
mod protocol;
mod region;
mod report;
mod results;
mod run;
mod semseg;
mod statement;
mod truth;
mod view;
mod worst;

pub use data::frames;
pub use depth::{DepthFrame, DepthImage, DepthResult, DepthRow, DepthScorer};
pub use error::{Error, Result};
pub use labels::{LabelMap, LabelSet, VOID};
pub use missing::{SubsetScores, subsets, subsets_table};
pub use multimae_infer::labels::Labels;
pub use permutation::numpy_permutation;
pub use protocol::{Average, Caps, DepthProtocol, Images, Protocol, Scores, SemsegProtocol, View};
pub use region::Region;
pub use report::{ScoreFile, markdown, report_files, write_report};
pub use results::{Evaluation, Outcome};
pub use run::{Evaluated, Evaluator};
pub use semseg::{ClassScore, SemsegFrame, SemsegImage, SemsegResult, SemsegRow, SemsegScorer};
pub use statement::Facts;
pub use truth::{DepthTruth, MASK_FOLDER, Truth, mask_modality};
