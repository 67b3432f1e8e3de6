//! Fusing a coarse map with the next finer one (RefineNet; Lin et al., 2017, as used in DPT).

// `resConfUnit1` is a published parameter name.
#![allow(non_snake_case)]

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};

use crate::interpolate::{Interpolation, resize};
use crate::modality::Size;
use crate::nn::Conv2d;

/// `x + conv2(relu(conv1(relu(x))))`.
#[derive(Module, Debug)]
pub struct ResidualUnit {
    /// 3x3.
    pub conv1: Conv2d,
    /// 3x3.
    pub conv2: Conv2d,
}

impl ResidualUnit {
    fn new(channels: usize, device: &Device) -> Self {
        let conv = || Conv2d::new(channels, channels, 3, device);
        Self { conv1: conv(), conv2: conv() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.conv1.forward(activation::relu(x.clone()));
        x + self.conv2.forward(activation::relu(y))
    }
}

/// Adds the finer map, refines, doubles the size.
#[derive(Module, Debug)]
pub struct FusionBlock {
    /// 1x1, after the upsampling.
    pub out_conv: Conv2d,
    /// Of the finer map. The coarsest block has none to refine and leaves this unused.
    pub resConfUnit1: ResidualUnit,
    /// Of the sum.
    pub resConfUnit2: ResidualUnit,
}

impl FusionBlock {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Self {
            out_conv: Conv2d::new(channels, channels, 1, device),
            resConfUnit1: ResidualUnit::new(channels, device),
            resConfUnit2: ResidualUnit::new(channels, device),
        }
    }

    /// # Shapes
    /// `coarse` and `finer` `(B, C, h, w)` to `(B, C, 2 h, 2 w)`.
    pub(super) fn forward(&self, coarse: Tensor<4>, finer: Option<Tensor<4>>) -> Tensor<4> {
        let sum = match finer {
            Some(finer) => coarse + self.resConfUnit1.forward(finer),
            None => coarse,
        };
        self.out_conv.forward(double(self.resConfUnit2.forward(sum)))
    }
}

/// Twice the size, corners aligned.
///
/// # Shapes
/// `(B, C, h, w)` to `(B, C, 2 h, 2 w)`.
pub(super) fn double(maps: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = maps.dims();
    resize(maps, Size::new(2 * height, 2 * width), Interpolation::BilinearAlignCorners)
}
