//! Bounds on what files may ask for.

/// The largest number of pixels of a file: 268 megapixels. A photo of that size needs 0.8 GB decoded
/// and as much again while it is turned or resized.
pub const MAX_PIXELS: u64 = 1 << 28;

/// The most bytes that a decoder may allocate for one file.
pub(crate) const MAX_BYTES: usize = 1 << 31;
