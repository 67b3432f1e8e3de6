//! Output adapters: from the encoder's tokens to maps.

mod spatial;

pub use spatial::{DecoderConfig, DecoderSurroundings, OutputTask, SpatialOutputAdapter};
