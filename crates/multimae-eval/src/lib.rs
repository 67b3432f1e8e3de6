//! Evaluation by named protocols, for model selection and for `evaluate` alike.
//!
//! * An [`Evaluator`] runs a predictor over frames of a data set by [`Protocol`]s and gives
//!   [`Evaluated`] scores with their statement and pictures.
//! * A [`TaskScorers`] holds one streaming scorer per task of a model; a training run and
//!   `evaluate` use the same.
//! * [`GroundTruth`] says where frames carry the annotations of each task.
//!
//! Frames come from `multimae-data`, predictions from `multimae-infer`, scorers from
//! `multimae-tasks`; tables, JSON and pictures go out.

mod data;
mod error;
mod ground_truth;
mod missing;
mod permutation;
mod report;
mod results;
mod run;
mod scorers;
mod statement;
mod view;

pub use data::frames;
pub use error::{Error, Result};
pub use ground_truth::{Annotation, GroundTruth, MASK_FOLDER, mask_modality};
pub use missing::{SubsetScores, subsets, subsets_table};
pub use multimae_tasks::{Images, Outcome, Protocol};
pub use permutation::numpy_permutation;
pub use report::{ScoreFile, markdown, report_files, write_report};
pub use results::Evaluation;
pub use run::{Evaluated, Evaluator};
pub use scorers::TaskScorers;
pub use statement::ProtocolFacts;
