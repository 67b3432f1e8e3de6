//! A run on disk: its folder, its checkpoints.

mod checkpoint;
mod folder;

pub use checkpoint::{Checkpoint, CheckpointStore, Position};
pub use folder::RunFolder;
