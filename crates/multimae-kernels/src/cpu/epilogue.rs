//! The last operations on a GEMM's sums, before anything else reads them.

use multiversion::multiversion;

use super::gelu::{self, Accuracy};
use super::prefetch::prefetch;
use super::tile::Tile;

/// `residual + scale * activation(sums + bias)`, of which every part may be missing; or, on the way
/// back, the sums times the derivative of the GELU. It is applied to tiles that are still in the
/// processor's cache.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// `(columns)`.
    pub bias: Option<&'a [f32]>,
    /// Whether the exact GELU is applied to the sums with their bias.
    pub gelu: bool,
    /// `(columns)`.
    pub scale: Option<&'a [f32]>,
    /// `(rows, columns)`, rows one behind the other.
    pub residual: Option<&'a [f32]>,
    /// The inputs of a GELU, `(rows, columns)`, by whose derivative there the sums are multiplied first.
    pub slopes_at: Option<&'a [f32]>,
    /// That of the GELU and its derivative.
    pub accuracy: Accuracy,
}

impl<'a> Epilogue<'a> {
    /// The sums and a bias.
    pub(crate) fn bias(bias: Option<&'a [f32]>) -> Self {
        Self { bias, ..Self::default() }
    }

    /// Whether sums stay as they are.
    pub(crate) fn is_nothing(self) -> bool {
        let Self { bias, gelu, scale, residual, slopes_at, accuracy: _ } = self;
        !gelu && [bias, scale, residual, slopes_at].iter().all(Option::is_none)
    }

    /// # Panics
    /// If a part does not fit a result of these rows and columns.
    pub(crate) fn check(self, rows: usize, columns: usize) {
        let fits = |part: Option<&[f32]>, len| part.is_none_or(|part| part.len() == len);
        assert!(
            fits(self.bias, columns)
                && fits(self.scale, columns)
                && fits(self.residual, rows * columns)
                && fits(self.slopes_at, rows * columns),
            "an epilogue that does not fit {rows} x {columns}: {self:?}"
        );
    }

    /// Applies it to the elements of one row from `column` on, of a result of `columns` columns.
    pub(crate) fn apply(self, sums: &mut [f32], at: (usize, usize), columns: usize) {
        apply_to_row(self, sums, at, columns);
    }

    /// Applies it to a tile that was just written, whose first element is in this row and column of a
    /// result of `columns` columns.
    ///
    /// # Safety
    /// Every element of the tile must lie behind `into`, be initialised, and be referred to by nothing
    /// else.
    #[allow(unsafe_code)]
    pub(super) unsafe fn apply_to_tile(
        self,
        into: *mut f32,
        tile: Tile,
        at: (usize, usize),
        columns: usize,
    ) {
        // SAFETY: as the caller promises.
        unsafe { apply_to_rows(self, into, tile, at, columns) }
    }

    /// Has what belongs to a tile brought near while its sums are computed.
    pub(super) fn fetch(self, tile: Tile, (row, column): (usize, usize), columns: usize) {
        for part in [self.slopes_at, self.residual].into_iter().flatten() {
            for row in row..row + tile.rows {
                prefetch(&part[row * columns + column..][..tile.columns]);
            }
        }
    }

    #[inline(always)]
    fn applied(self, sums: &mut [f32], (row, column): (usize, usize), columns: usize) {
        let of_columns = |part: Option<&'a [f32]>| part.map(|part| &part[column..][..sums.len()]);
        let (bias, scale) = (of_columns(self.bias), of_columns(self.scale));
        let at = row * columns + column;
        let of_elements = |part: Option<&'a [f32]>| part.map(|part| &part[at..][..sums.len()]);
        let (residual, slopes_at) = (of_elements(self.residual), of_elements(self.slopes_at));
        match (slopes_at, self.accuracy) {
            (Some(inputs), Accuracy::Fp32) => {
                each(sums, inputs, |sum, x| sum * gelu::slope(x, Accuracy::Fp32));
            }
            (Some(inputs), Accuracy::Bf16) => {
                each(sums, inputs, |sum, x| sum * gelu::slope(x, Accuracy::Bf16));
            }
            (None, _) => {}
        }
        if let Some(bias) = bias {
            each(sums, bias, |sum, bias| sum + bias);
        }
        match (self.gelu, self.accuracy) {
            (true, Accuracy::Fp32) => {
                sums.iter_mut().for_each(|sum| *sum = gelu::value(*sum, Accuracy::Fp32));
            }
            (true, Accuracy::Bf16) => {
                sums.iter_mut().for_each(|sum| *sum = gelu::value(*sum, Accuracy::Bf16));
            }
            (false, _) => {}
        }
        if let Some(scale) = scale {
            each(sums, scale, |sum, scale| sum * scale);
        }
        if let Some(residual) = residual {
            each(sums, residual, |sum, value| sum + value);
        }
    }
}

#[inline(always)]
fn each(sums: &mut [f32], values: &[f32], result: impl Fn(f32, f32) -> f32) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = result(*sum, value);
    }
}

#[multiversion(targets = "simd")]
fn apply_to_row(epilogue: Epilogue<'_>, sums: &mut [f32], at: (usize, usize), columns: usize) {
    epilogue.applied(sums, at, columns);
}

/// # Safety
/// As [`Epilogue::apply_to_tile`].
#[multiversion(targets = "simd")]
#[allow(unsafe_code)]
unsafe fn apply_to_rows(
    epilogue: Epilogue<'_>,
    into: *mut f32,
    tile: Tile,
    (row, column): (usize, usize),
    columns: usize,
) {
    for index in 0..tile.rows {
        // SAFETY: as the caller promises.
        let sums =
            unsafe { std::slice::from_raw_parts_mut(into.add(index * tile.stride), tile.columns) };
        epilogue.applied(sums, (row + index, column), columns);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, values};
    use super::*;

    #[test]
    fn every_part_is_applied_in_its_place() {
        let (rows, columns) = (3, 40);
        let [bias, scale] = [values(1, columns), values(2, columns)];
        let [residual, sums, inputs] = [3, 4, 5].map(|seed| values(seed, rows * columns));
        let (_, slopes) = gelu::forward_with_slope(&inputs);
        for parts in 0..32 {
            let part = |bit: u32, values| (parts >> bit & 1 == 1).then_some(values);
            let epilogue = Epilogue {
                bias: part(0, bias.as_slice()),
                gelu: parts >> 1 & 1 == 1,
                scale: part(2, scale.as_slice()),
                residual: part(3, residual.as_slice()),
                slopes_at: part(4, inputs.as_slice()),
                accuracy: Accuracy::Fp32,
            };
            epilogue.check(rows, columns);
            assert_eq!(epilogue.is_nothing(), parts == 0);
            let mut got = sums.clone();
            for (row, got) in got.chunks_mut(columns).enumerate() {
                // In pieces, as tiles lie.
                let (left, right) = got.split_at_mut(17);
                epilogue.apply(left, (row, 0), columns);
                epilogue.apply(right, (row, 17), columns);
            }
            let expected: Vec<f32> = (0..rows * columns)
                .map(|at| {
                    let column = at % columns;
                    let slope = epilogue.slopes_at.map_or(1.0, |_| slopes[at]);
                    let sum = sums[at] * slope + epilogue.bias.map_or(0.0, |bias| bias[column]);
                    let sum = if epilogue.gelu { gelu::forward(&[sum])[0] } else { sum };
                    let sum = sum * epilogue.scale.map_or(1.0, |scale| scale[column]);
                    sum + epilogue.residual.map_or(0.0, |residual| residual[at])
                })
                .collect();
            assert_close(&got, &expected, 1e-7);
        }
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_bias_of_another_length_is_refused() {
        Epilogue::bias(Some(&[0.0; 3])).check(2, 4);
    }
}
