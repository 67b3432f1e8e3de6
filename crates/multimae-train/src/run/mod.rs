//! A run on disk: its folder, its checkpoints, its records.

mod checkpoint;
mod folder;
mod logs;
mod memory;
mod result;
mod state;

pub use checkpoint::{Checkpoint, CheckpointStore, Position};
pub use folder::RunFolder;
pub use logs::Logs;
pub use memory::peak_memory;
pub use result::{ParameterCounts, RunResult, SetScores, StepSeconds};
pub use state::State;
