//! A frame of a prepared folder, in memory.

/// Stored units of depth per metre.
pub(crate) const DEPTH_PER_METRE: f32 = 1000.0;

/// The maps of one frame, row by row. Every map becomes a picture in its own folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// `(H, W, 3)`.
    pub(crate) rgb: Vec<u8>,
    /// `(H, W)`, millimetres; 0 where unknown.
    pub(crate) depth: Option<Vec<u16>>,
    /// `(H, W)`, class ids; 0 is void.
    pub(crate) labels: Option<Vec<u8>>,
    /// `(H, W)`, 255 where depth is valid, 0 elsewhere.
    pub(crate) valid: Option<Vec<u8>>,
}
