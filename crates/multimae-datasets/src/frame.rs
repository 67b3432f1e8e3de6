//! A frame of a prepared folder, in memory.

use std::path::PathBuf;

/// Stored units of depth per metre, unless a data set keeps files with another unit.
pub(crate) const DEPTH_PER_METRE: f32 = 1000.0;

/// The maps of one frame, row by row. Every map becomes a file in its own folder: its values are
/// encoded as a picture, unless [`kept`](Self::kept) has a file of it. Values of a kept file are for the
/// statistics alone, and may be left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// `(H, W, 3)`.
    pub(crate) rgb: Vec<u8>,
    /// `(H, W)`, millimetres or the unit of the kept file; 0 where unknown.
    pub(crate) depth: Option<Vec<u16>>,
    /// `(H, W)`, class ids; 0 is void.
    pub(crate) labels: Option<Vec<u8>>,
    /// `(H, W)`, 255 where depth is valid, 0 elsewhere.
    pub(crate) valid: Option<Vec<u8>>,
    /// `(H, W, 3)` each, in the order of [`Maps::further`](crate::folder::Maps::further).
    pub(crate) further: Vec<Vec<u8>>,
    /// Files that are kept as they are, with the folder of their map.
    pub(crate) kept: Vec<(&'static str, PathBuf)>,
}
