//! Output adapters: from the encoder's tokens to maps.
//!
//! [`SpatialOutputAdapter`] is the decoder of pre-training; the others are [`Head`]s of downstream
//! tasks.

mod convnext;
mod dpt;
mod head;
mod light;
mod linear;
mod segmenter;
mod spatial;

pub use convnext::{ConvNeXtBlock, ConvNeXtConfig, ConvNeXtHead, Upsampling};
pub use dpt::{
    DptConfig, DptHead, DptOutput, FusionBlock, Reassembly, ResidualUnit, Scratch, merge_aliases,
    with_aliases,
};
pub use head::{Head, HeadConfig, HeadContext, Prediction, TaskHead};
pub use light::{LightBlock, LightConfig, LightHead, LightInput};
pub use linear::{LinearConfig, LinearHead};
pub use segmenter::{SegmenterConfig, SegmenterHead};
pub use spatial::{DecoderConfig, DecoderContext, OutputTask, SpatialOutputAdapter};
