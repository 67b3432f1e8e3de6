//! Convolutions over maps.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;

use super::parameter;

/// A convolution with a square kernel of odd side. Borders are padded with zeros so that with
/// stride 1 the size stays.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `(outputs, inputs / groups, kernel, kernel)`.
    pub weight: Param<Tensor<4>>,
    /// `(outputs)`.
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    groups: usize,
}

impl Conv2d {
    /// A convolution with bias and stride 1, of zeros.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, kernel: usize, device: &Device) -> Self {
        Self {
            weight: parameter([outputs, inputs, kernel, kernel], device),
            bias: Some(parameter([outputs], device)),
            stride: 1,
            groups: 1,
        }
    }

    /// A convolution of every channel by itself, of zeros.
    #[must_use]
    pub fn depthwise(channels: usize, kernel: usize, device: &Device) -> Self {
        Self { groups: channels, ..Self::new(1, channels, kernel, device) }
    }

    /// The same with another stride.
    #[must_use]
    pub fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same without bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    /// # Shapes
    /// `(B, inputs, h, w)` to `(B, outputs, ceil(h / stride), ceil(w / stride))`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [outputs, per_output, kernel, _] = self.weight.dims();
        let depthwise = self.groups > 1 && self.groups == outputs && per_output == 1;
        if self.stride == 1 && (self.groups == 1 || depthwise) {
            let bias = self.bias.as_ref().map(Param::val);
            return ops::conv2d(x, self.weight.val(), bias, depthwise);
        }
        let options = ConvOptions::new([self.stride; 2], [kernel / 2; 2], [1, 1], self.groups);
        let bias = self.bias.as_ref().map(Param::val);
        burn::tensor::module::conv2d(x, self.weight.val(), bias, options)
    }
}

/// A transposed convolution whose stride is its kernel: every pixel becomes a square of pixels.
#[derive(Module, Debug)]
pub struct Upconv2d {
    /// `(inputs, outputs, factor, factor)`.
    pub weight: Param<Tensor<4>>,
    /// `(outputs)`.
    pub bias: Param<Tensor<1>>,
}

impl Upconv2d {
    /// A layer of zeros.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, factor: usize, device: &Device) -> Self {
        Self {
            weight: parameter([inputs, outputs, factor, factor], device),
            bias: parameter([outputs], device),
        }
    }

    /// # Shapes
    /// `(B, inputs, h, w)` to `(B, outputs, factor * h, factor * w)`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let [inputs, outputs, factor, _] = self.weight.dims();
        let square = factor * factor;
        let weight = ops::swap_axes(self.weight.val().reshape([1, inputs, outputs * square, 1]))
            .reshape([outputs * square, inputs, 1, 1]);
        let bias = self.bias.val().reshape([outputs, 1]).repeat_dim(1, square);
        let squares = ops::conv2d(x, weight, Some(bias.reshape([outputs * square])), false);
        // (factor, factor, h, w) to (h, w, factor, factor) to (h, factor, w, factor).
        let by_pixel =
            ops::swap_axes(squares.reshape([batch * outputs, square, height * width, 1]));
        let rows = by_pixel.reshape([batch * outputs * height, width, factor, factor]);
        ops::swap_axes(rows).reshape([batch, outputs, height * factor, width * factor])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;
    use burn::tensor::ops::ConvTransposeOptions;

    fn wave<const D: usize>(shape: [usize; D], step: f32) -> Tensor<D> {
        let len = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..len).map(|i| (i as f32 * step).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::default())
    }

    fn assert_close(left: Tensor<4>, right: Tensor<4>) {
        assert_eq!(left.dims(), right.dims());
        let worst = (left - right).abs().max().into_data().iter::<f64>().sum::<f64>();
        assert!(worst < 1e-5, "{worst}");
    }

    #[test]
    fn products_equal_the_engines_convolutions() {
        let device = Device::default();
        let x = wave([2, 3, 4, 6], 0.37);
        let bias = wave([5], 1.3);
        let mut point = Conv2d::new(3, 5, 1, &device);
        point.weight = Param::from_tensor(wave([5, 3, 1, 1], 0.7));
        point.bias = Some(Param::from_tensor(bias.clone()));
        let expected = burn::tensor::module::conv2d(
            x.clone(),
            point.weight.val(),
            Some(bias.clone()),
            ConvOptions::new([1, 1], [0, 0], [1, 1], 1),
        );
        assert_close(point.forward(x.clone()), expected);

        let mut up = Upconv2d::new(3, 5, 4, &device);
        up.weight = Param::from_tensor(wave([3, 5, 4, 4], 0.7));
        up.bias = Param::from_tensor(bias.clone());
        let expected = burn::tensor::module::conv_transpose2d(
            x.clone(),
            up.weight.val(),
            Some(bias),
            ConvTransposeOptions::new([4, 4], [0, 0], [0, 0], [1, 1], 1),
        );
        assert_close(up.forward(x), expected);
    }

    #[test]
    fn a_stride_halves_and_rounds_up() {
        let device = Device::default();
        let conv = Conv2d::new(1, 2, 3, &device).with_stride(2).without_bias();
        assert_eq!(conv.forward(wave([1, 1, 5, 6], 0.1)).dims(), [1, 2, 3, 3]);
    }
}
