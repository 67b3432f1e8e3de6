//! Visualisation of models: reconstructions from chosen patches, attention of prompts, and use of
//! prompt pools by class.
//!
//! * [`Pretrained`] is a pre-trained model with its recipe; [`VisiblePatches`] chooses the visible
//!   patches; a [`PretrainView`] is a frame at the model's size, and [`figure`] draws its
//!   reconstruction.
//! * [`attention`] computes attention maps of prompts, the global token and prefixes, block by
//!   block.
//! * [`usage`] counts how classes use the entries of prompt pools.

pub mod attention;
mod figure;
mod pretrained;
mod published;
mod spec;
pub mod usage;
mod visible;

pub use figure::ReconstructionFigure;
pub use pretrained::{PretrainView, Pretrained, figure, pictures};
pub use published::recipe_of;
pub use spec::PretrainSpec;
pub use visible::{VisiblePatches, patches_of};
