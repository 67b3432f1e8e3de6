//! Fixed two-dimensional sine-cosine position tables.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::interpolate::{Interpolation, resize};
use crate::limits::check_table;
use crate::modality::Size;
use crate::{Error, Result};

/// The position that a cell of a table that is not square encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonSquareTables {
    /// Its own row and column.
    #[default]
    RowColumn,
    /// The published code's position: cell `p` is at `(p / rows, p % rows)`. Only for weights that
    /// were trained with it.
    Scrambled,
}

/// The table `(1, dim, rows, columns)` of MoCo v3 (Chen et al., 2021).
///
/// With `q = dim / 4` frequencies `w_i = 10000^(-i / q)`, the cell at row `r`, column `c` holds
/// `sin(r w), cos(r w), sin(c w), cos(c w)`, `q` values each.
///
/// # Errors
/// If `dim` is not a multiple of 4, or the table does not fit into memory.
pub fn sincos_table(dim: usize, size: Size, tables: NonSquareTables) -> Result<TensorData> {
    if dim == 0 || !dim.is_multiple_of(4) {
        return Err(Error::Config(format!(
            "the width {dim} must be a multiple of 4 for sine-cosine positions"
        )));
    }
    check_table(dim, size.height, size.width)?;
    let quarter = dim / 4;
    let omega: Vec<f32> =
        (0..quarter).map(|i| 10_000_f32.powf(-(i as f32 / quarter as f32))).collect();
    let cells = size.area();
    let mut table = vec![0.0_f32; dim * cells];
    for cell in 0..cells {
        let divisor = match tables {
            NonSquareTables::RowColumn => size.width,
            NonSquareTables::Scrambled => size.height,
        };
        let (row, column) = ((cell / divisor) as f32, (cell % divisor) as f32);
        for (i, w) in omega.iter().enumerate() {
            let (row_sin, row_cos) = (row * w).sin_cos();
            let (column_sin, column_cos) = (column * w).sin_cos();
            for (block, value) in [row_sin, row_cos, column_sin, column_cos].into_iter().enumerate()
            {
                table[(block * quarter + i) * cells + cell] = value;
            }
        }
    }
    Ok(TensorData::new(table, [1, dim, size.height, size.width]))
}

/// A table as a parameter that is stored but never trained.
///
/// # Errors
/// As [`sincos_table`].
pub fn frozen_table(
    dim: usize,
    size: Size,
    tables: NonSquareTables,
    device: &Device,
) -> Result<Param<Tensor<4>>> {
    let data = sincos_table(dim, size, tables)?;
    Ok(Param::<Tensor<4>>::from_data(data, device).set_require_grad(false))
}

/// A table brought to a token grid and laid out as tokens.
///
/// # Shapes
/// `(1, D, h, w)` to `(1, grid.height * grid.width, D)`.
#[must_use]
pub fn table_tokens(table: Tensor<4>, grid: Size, method: Interpolation) -> Tensor<3> {
    let [_, dim, _, _] = table.dims();
    resize(table, grid, method).reshape([1, dim, grid.area()]).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_first() {
        let data = sincos_table(256, Size::square(14), NonSquareTables::RowColumn).unwrap();
        let table = data.try_to_vec::<f32>().unwrap();
        let at =
            |channel: usize, row: usize, column: usize| table[(channel * 14 + row) * 14 + column];
        // Row 1, column 2: channels 0-3 hold sin(1 w), channels 128-131 sin(2 w).
        for (channel, expected) in [(0, 0.8415), (1, 0.7617), (2, 0.6816), (3, 0.6047)] {
            assert!((at(channel, 1, 2) - expected).abs() < 1e-4);
        }
        for (channel, expected) in [(128, 0.9093), (129, 0.9870), (130, 0.9975), (131, 0.9632)] {
            assert!((at(channel, 1, 2) - expected).abs() < 1e-4);
        }
    }

    #[test]
    fn tables_that_are_not_square() {
        let size = Size::new(2, 3);
        let value = |tables, cell: usize, channel: usize| {
            sincos_table(4, size, tables).unwrap().try_to_vec::<f32>().unwrap()[channel * 6 + cell]
        };
        // Cell 2 is row 0, column 2; the published code reads it as row 1, column 0.
        assert_eq!(value(NonSquareTables::RowColumn, 2, 0), 0.0);
        assert_eq!(value(NonSquareTables::RowColumn, 2, 2), 2.0_f32.sin());
        assert_eq!(value(NonSquareTables::Scrambled, 2, 0), 1.0_f32.sin());
        assert_eq!(value(NonSquareTables::Scrambled, 2, 2), 0.0);
    }

    #[test]
    fn width_must_be_a_multiple_of_four() {
        assert!(sincos_table(6, Size::square(2), NonSquareTables::RowColumn).is_err());
    }
}
