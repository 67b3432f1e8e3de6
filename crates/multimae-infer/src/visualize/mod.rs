//! Visualisation of models: reconstructions from chosen patches, attention of prompts, and use of
//! prompt pools by class.
//!
//! * [`Pretrained`] is a pre-trained model with its recipe; [`VisiblePatches`] chooses the patches that it
//!   sees; a [`PretrainView`] is a frame as it sees it, and [`figure`] draws what it makes of one.
//! * [`attention`] says where the tokens besides the patches look, block by block.
//! * [`usage`] counts how classes use the entries of prompt pools.

pub mod attention;
mod figure;
mod pretrained;
mod spec;
pub mod usage;
mod visible;

pub use figure::ReconstructionFigure;
pub use pretrained::{PretrainView, Pretrained, figure, pictures};
pub use spec::PretrainSpec;
pub use visible::{VisiblePatches, patches_of};
