//! The layers that encoder, decoders and heads are made of.
//!
//! Parameters have the published names and PyTorch's layouts (a linear weight is
//! `(outputs, inputs)`), so that a module's paths are the keys of a checkpoint.

mod attention;
mod block;
mod conv;
mod dropout;
mod layer_norm;
mod linear;
mod lora;
mod mlp;
mod module_map;
mod rows;
mod scale_shift;

pub use attention::{ApartMaps, Attention, CrossAttention};
pub use block::{Block, BlockConditioning, BlockConfig, BlockInput};
pub use conv::{Conv2d, Upconv2d};
pub(crate) use dropout::dropout;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use lora::{Lora, LoraConfig, LoraTarget};
pub use mlp::Mlp;
pub use module_map::ModuleMap;
use rows::Rows;
pub use scale_shift::ScaleShift;

use burn::module::Param;
use burn::tensor::{Device, Shape, Tensor};

/// A trainable parameter of zeros; [`crate::init`] gives it its first values, or a file. Until then it
/// takes no memory: all its places are one number.
pub(crate) fn parameter<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    let zeros = if shape.contains(&0) {
        Tensor::zeros(Shape::from(shape), device)
    } else {
        Tensor::<D>::zeros([1; D], device).expand(shape)
    };
    Param::from_tensor(zeros)
}
