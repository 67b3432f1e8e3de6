//! The kinds of tasks: everything that differs between predicting depth, labels, normals, other
//! values and classes of images.
//!
//! * A [`Task`] is one task of a model: target, decoding, scores, files, pictures, and the best
//!   constant prediction. Each kind is one file in `kinds/`.
//! * A [`TaskKind`] is a line of the [registry]: its name, how a recipe or a saved model
//!   becomes a task of it, its protocols and its scores.
//! * A [`Scorer`] accumulates scores over frames by [`ScoreRules`]; model selection, `result.json`
//!   and `evaluate` all use it.
//!
//! Annotations come from `multimae-data`, predictions from heads of `multimae`; targets go to
//! training, decoded predictions to files, the server and evaluation.
//!
//! ```
//! use multimae_tasks::{kinds::depth::{Depth, DepthScale}, Task, kind};
//!
//! let task = Depth { scale: DepthScale::Linear { mean: 2.5, std: 1.0 }, min: 0.001, max: 10.0 };
//! assert_eq!(task.kind(), "depth");
//! // A saved model holds the task as JSON, tagged with its kind.
//! let read = multimae_tasks::from_json(multimae_tasks::to_json(&task)).unwrap();
//! assert_eq!(read.summary(), "depth from 0.001 to 10 m");
//! assert!(kind("normals").is_ok());
//! assert!(kind("depht").unwrap_err().contains("did you mean `depth`"));
//! ```

mod card;
pub mod classes;
mod decoding;
mod error;
mod frame_sums;
mod kind;
pub mod kinds;
pub mod maps;
mod medians;
mod overlay;
pub mod pictures;
mod prediction;
mod protocol;
mod statistics;
mod target;
mod task;
pub mod tensors;
mod validity;

pub use card::TaskCard;
pub use decoding::DecodingStep;
pub use error::{Error, Result};
pub use frame_sums::{FrameSum, FrameSums};
pub use kind::{BuildContext, Built, Score, TaskKind};
pub use kinds::{from_json, kind, kind_of, kinds as registry, to_json};
pub use medians::{ImageMedians, far_apart};
pub use multimae_config::HeadOutput;
pub use prediction::{FramePrediction, TaskPrediction};
pub use protocol::{EvaluationView, Images, Protocol};
pub use statistics::{AnnotationStatistics, Constant, Moments};
pub use target::{AnnotationBatch, Target, class_of};
pub use task::{
    ClassInfo, FrameFacts, NamedPicture, Outcome, ScoreRules, ScoredFrame, Scorer, Task,
};
pub use validity::{mask_values, valid_values};
