//! A run on disk: its folder, its checkpoints, its records.

mod checkpoint;
mod folder;
mod frames;
mod logs;
mod result;
mod resume;
mod state;

pub use checkpoint::{Checkpoint, CheckpointStore, LatestCheckpoint, Position};
pub use folder::RunFolder;
pub use frames::{RunFrames, SetFrames};
pub use logs::Logs;
pub use multimae_io::memory::peak_memory;
pub use result::{ParameterCounts, RunResult, SetScores, StepSeconds};
pub(crate) use resume::check_position;
pub use resume::{Continuation, ResumeOptions, RunStart, check_continues, fingerprint};
pub use state::State;
