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
//!
//! ```
//! use indexmap::IndexMap;
//! use multimae::modality::Size;
//! use multimae_data::Values;
//! use multimae_eval::TaskScorers;
//! use multimae_tasks::kinds::depth::{Depth, DepthScale};
//! use multimae_tasks::{FramePrediction, TaskCard, TaskPrediction};
//!
//! let scale = DepthScale::Linear { mean: 0.0, std: 1.0 };
//! let card = TaskCard::new(Depth { scale, min: 0.001, max: 10.0 }, None);
//! let mut scorers = TaskScorers::new(&IndexMap::from([("depth".to_owned(), card)]))?;
//!
//! // One frame of 2x2 pixels, every depth 10 % too large.
//! let metres: Vec<f32> = vec![1.0, 2.0, 2.0, 4.0];
//! let predicted = TaskPrediction::Values(metres.iter().map(|depth| 1.1 * depth).collect());
//! let prediction = FramePrediction { tasks: [("depth".to_owned(), predicted)].into() };
//! let annotation = Values::Continuous { channels: 1, data: metres };
//! let frame = ("00000", Size::new(2, 2));
//! scorers.add(frame, &prediction, |_task| Some(annotation.clone()), None)?;
//!
//! let outcomes = scorers.outcomes()?;
//! assert!((outcomes["depth"].scores["rel"] - 0.1).abs() < 1e-5);
//! # Ok::<(), multimae_eval::Error>(())
//! ```

mod agreement;
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

pub use agreement::ModelAgreement;
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
