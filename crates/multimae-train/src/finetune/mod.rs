//! Fine-tuning: from a recipe and pre-trained weights to a model of depth, labels or classes.

mod annotations;
mod data;
mod evaluation;
mod heads;
mod mixing;
mod modalities;
mod native;
mod pictures;
mod prefix_cache;
mod queries;
mod report;
mod run;
mod setup;
mod start;
mod targets;

pub use annotations::Constants;
pub use evaluation::{Evaluated, PredictFn, constant_predictions, evaluate};
pub use mixing::Mixing;
pub use modalities::kind_of_task;
pub use native::NATIVE;
pub use pictures::predictions;
pub use setup::{FinetuneSetup, Task};
pub use start::Finetuning;
