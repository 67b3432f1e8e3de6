//! Maps cut into patches, and put together again.

use burn::tensor::Tensor;
use multimae_kernels::ops::swap_axes;

use crate::modality::Size;

/// Patches in row-major order. A patch's values are ordered `(channel, row, column)`.
///
/// # Shapes
/// `(B, C, h, w)`, whose sides are multiples of `patch`, to
/// `(B, h / patch * w / patch, C * patch * patch)`.
pub(crate) fn patchify(maps: Tensor<4>, patch: usize) -> Tensor<3> {
    let [batch, channels, height, width] = maps.dims();
    let grid = Size::new(height / patch, width / patch);
    let bands = maps.reshape([batch * channels * grid.height, patch, grid.width, patch]);
    let squares = swap_axes(bands).reshape([batch, channels, grid.area(), patch * patch]);
    swap_axes(squares).reshape([batch, grid.area(), channels * patch * patch])
}

/// [`patchify`] backwards.
///
/// # Shapes
/// `(B, grid area, C * patch * patch)` to `(B, C, grid.height * patch, grid.width * patch)`.
pub(crate) fn unpatchify(patches: Tensor<3>, grid: Size, patch: usize) -> Tensor<4> {
    let [batch, _, values] = patches.dims();
    let square = patch * patch;
    let channels = values / square.max(1);
    let planes = swap_axes(patches.reshape([batch, grid.area(), channels, square]));
    let bands = planes.reshape([batch * channels * grid.height, grid.width, patch, patch]);
    swap_axes(bands).reshape([batch, channels, grid.height * patch, grid.width * patch])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn patches_are_those_of_the_permutation_and_come_back() {
        let (batch, channels, rows, columns, patch) = (2, 3, 4, 5, 2);
        let dims = [batch, channels, rows * patch, columns * patch];
        let values: Vec<f32> = (0..dims.iter().product::<usize>()).map(|i| i as f32).collect();
        let maps = Tensor::<4>::from_data(TensorData::new(values, dims), &Device::default());
        let expected = maps
            .clone()
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * patch * patch]);
        let patches = patchify(maps.clone(), patch);
        patches.to_data().assert_eq(&expected.into_data(), true);
        let back = unpatchify(patches, Size::new(rows, columns), patch);
        back.into_data().assert_eq(&maps.into_data(), true);
    }
}
