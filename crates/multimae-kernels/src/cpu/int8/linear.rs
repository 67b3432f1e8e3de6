//! The linear layer.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::super::epilogue::Epilogue;
use super::super::prefetch::prefetch;
use super::super::{gelu, parallel};
use super::grid::{Place, grid, threads_for, tiles};
use super::kernel::{Left, MOST_ROWS, Tile};
use super::quantize::{Scale, inputs as quantize, magnitude};
use super::weights::Weights;

/// The most bytes of a block's rows, to stay in the second cache.
const BLOCK: usize = 384 << 10;
/// The most bytes and columns of the panels that a tile is multiplied by before its epilogue, to stay
/// in the second cache too, while the tile stays in the first one.
const GROUP: (usize, usize) = (192 << 10, 256);
/// Bytes of a line of the processor's cache.
const LINE: usize = 64;

thread_local! {
    /// Quantised rows; their memory is reused by the next call.
    static ROWS: RefCell<Rows> = const { RefCell::new(Rows::new()) };
}

/// Computes `epilogue(x W^T)`, where `x` goes through the exact GELU first if it is `activated`. The
/// threads of the current pool share the work if it is worth it.
///
/// # Shapes
/// `x (rows, inputs)`, `weights (outputs, inputs)` to `(rows, outputs)`.
///
/// # Panics
/// If `x` or the epilogue does not have its shape, or the weights are those of a convolution.
#[must_use]
pub(crate) fn linear(
    rows: usize,
    x: &[f32],
    activated: bool,
    weights: &Weights,
    epilogue: Epilogue<'_>,
) -> Vec<f32> {
    let (outputs, inputs, _) = weights.sizes();
    let threads = threads_for(rows * outputs * inputs);
    Layer { rows, x, activated, weights, epilogue }.compute(threads)
}

/// Computes [`linear`] on this thread alone.
///
/// # Panics
/// As [`linear`].
#[must_use]
pub(crate) fn linear_here(
    rows: usize,
    x: &[f32],
    activated: bool,
    weights: &Weights,
    epilogue: Epilogue<'_>,
) -> Vec<f32> {
    Layer { rows, x, activated, weights, epilogue }.compute(1)
}

/// A call of a layer.
#[derive(Debug, Clone, Copy)]
struct Layer<'a> {
    rows: usize,
    x: &'a [f32],
    activated: bool,
    weights: &'a Weights,
    epilogue: Epilogue<'a>,
}

impl Layer<'_> {
    fn compute(self, threads: usize) -> Vec<f32> {
        let Self { rows, x, weights, .. } = self;
        let (outputs, inputs, kernel) = weights.sizes();
        assert_eq!(kernel, 1, "the weights of a convolution in a linear layer");
        assert_eq!(x.len(), rows * inputs, "the input of {rows} x {inputs} values");
        self.epilogue.check(rows, outputs);
        let mut y: Vec<f32> = Vec::with_capacity(rows * outputs);
        if rows * outputs > 0 {
            // SAFETY: the capacity is that of the result.
            #[allow(unsafe_code)]
            unsafe {
                self.compute_into(Place(y.as_mut_ptr()), threads);
                y.set_len(rows * outputs);
            }
        }
        y
    }

    /// # Safety
    /// The place must have room for the result, which is written whole.
    #[allow(unsafe_code)]
    unsafe fn compute_into(self, place: Place, threads: usize) {
        let (of_tile, _) = self.weights.unit().sizes();
        let most = (BLOCK / (Rows::stride_of(self.weights.run()) * of_tile)).max(1);
        let panels = self.weights.panels();
        let grid = grid((self.rows.div_ceil(of_tile), panels), most, threads);
        if grid.shares > 1 {
            let mut whole = ROWS.take();
            whole.quantize(&self, 0..self.rows, threads);
            grid.for_each((self.rows, panels), threads, |rows, panels| {
                // SAFETY: as the caller promises; blocks and shares are apart.
                unsafe { self.multiply(place, &whole, rows, panels) }
            });
            ROWS.replace(whole);
            return;
        }
        grid.for_each((self.rows, panels), threads, |rows, panels| {
            let mut block = ROWS.take();
            block.quantize(&self, rows.clone(), 1);
            // SAFETY: as the caller promises; blocks are apart.
            unsafe { self.multiply(place, &block, rows, panels) }
            ROWS.replace(block);
        });
    }

    /// Multiplies some rows, which are quantised, by some panels.
    ///
    /// # Safety
    /// The place must have room for the result, and no other thread may write to these rows of these
    /// columns.
    #[allow(unsafe_code)]
    unsafe fn multiply(
        &self,
        place: Place,
        quantized: &Rows,
        rows: Range<usize>,
        panels: Range<usize>,
    ) {
        let unit = self.weights.unit();
        let (of_tile, of_panel) = unit.sizes();
        let outputs = self.weights.sizes().0;
        let most = (GROUP.0 / self.weights.of_panel().max(1)).clamp(1, GROUP.1 / of_panel);
        for first in panels.clone().step_by(most) {
            let group = first..panels.end.min(first + most);
            for tile in tiles(rows.clone(), of_tile) {
                let left = quantized.left(tile.clone(), self.weights.run());
                for panel in group.clone() {
                    let column = panel * of_panel;
                    let columns = of_panel.min(outputs - column);
                    let shape = Tile { rows: tile.len(), columns, stride: outputs };
                    self.fetch_residual(tile.clone(), column..column + columns);
                    // SAFETY: the tile lies in the result and is this thread's; rows and panel have
                    // the inner values of the weights.
                    unsafe {
                        let into = place.0.add(tile.start * outputs + column);
                        unit.multiply(into, shape, left, self.weights.panel(panel));
                    }
                }
                let columns = first * of_panel..outputs.min(group.end * of_panel);
                // SAFETY: these elements were just written by this thread.
                unsafe { self.finish(place, tile, columns) }
            }
        }
    }

    /// Fetches what the epilogue will add to some rows of some columns while they are multiplied.
    fn fetch_residual(&self, rows: Range<usize>, columns: Range<usize>) {
        if let Some(residual) = self.epilogue.residual {
            for row in rows {
                let at = row * self.weights.sizes().0;
                prefetch(&residual[at + columns.start..at + columns.end]);
            }
        }
    }

    /// Applies the epilogue to some rows of some columns.
    ///
    /// # Safety
    /// They must lie in the place, be initialised, and be referred to by nothing else.
    #[allow(unsafe_code)]
    unsafe fn finish(&self, place: Place, rows: Range<usize>, columns: Range<usize>) {
        if self.epilogue.is_nothing() {
            return;
        }
        let outputs = self.weights.sizes().0;
        for row in rows {
            // SAFETY: as the caller promises.
            let sums = unsafe {
                let first = place.0.add(row * outputs + columns.start);
                std::slice::from_raw_parts_mut(first, columns.len())
            };
            self.epilogue.apply(sums, (row, columns.start), outputs);
        }
    }
}

/// Quantised rows.
#[derive(Debug, Default)]
struct Rows {
    /// The first row's place among all.
    first: usize,
    stride: usize,
    /// `(rows, stride)`, and maybe more.
    values: Vec<u8>,
    /// `(rows)`.
    scales: Vec<f32>,
}

impl Rows {
    const fn new() -> Self {
        Self { first: 0, stride: LINE, values: Vec::new(), scales: Vec::new() }
    }

    /// Returns the distance of rows of this many values: an odd number of lines, so that the rows of a
    /// tile do not share a few places of the first cache.
    fn stride_of(run: usize) -> usize {
        (run.div_ceil(LINE) | 1) * LINE
    }

    /// Replaces them by those rows of the layer.
    fn quantize(&mut self, layer: &Layer<'_>, rows: Range<usize>, threads: usize) {
        let width = layer.weights.sizes().1;
        let (stride, count) = (Self::stride_of(width), rows.len());
        (self.first, self.stride) = (rows.start, stride);
        self.scales.resize(count, 0.0);
        if self.values.len() < count * stride {
            self.values.resize(count * stride, 0);
        }
        let x = &layer.x[rows.start * width..rows.end * width];
        let part = parallel::rows_per_part(width);
        let places = self.values[..count * stride].chunks_mut(part * stride);
        let parts = places.zip(self.scales.chunks_mut(part)).enumerate();
        let work = |(index, (values, scales)): (usize, (&mut [u8], &mut [f32]))| {
            let x = &x[index * part * width..][..scales.len() * width];
            quantize_rows((values, stride), scales, (x, width), layer.activated);
        };
        if threads > 1 && count * width >= 2 * part * width {
            parts.collect::<Vec<_>>().into_par_iter().for_each(work);
        } else {
            parts.for_each(work);
        }
    }

    /// Returns the rows of a tile.
    fn left(&self, tile: Range<usize>, len: usize) -> Left<'_> {
        let first = tile.start - self.first;
        let mut left =
            Left { rows: [std::ptr::null(); MOST_ROWS], scales: [0.0; MOST_ROWS], runs: &[0], len };
        for (row, (place, scale)) in left.rows.iter_mut().zip(&mut left.scales).enumerate() {
            if row < tile.len() {
                *place = self.values[(first + row) * self.stride..][..len].as_ptr();
                *scale = self.scales[first + row];
            }
        }
        left
    }
}

/// Quantises rows of `width` values, through the GELU first if `activated`.
fn quantize_rows(
    (values, stride): (&mut [u8], usize),
    scales: &mut [f32],
    (x, width): (&[f32], usize),
    activated: bool,
) {
    let mut buffer = vec![0.0; if activated { width } else { 0 }];
    for (row, (values, to)) in values.chunks_mut(stride).zip(scales).enumerate() {
        let mut x = &x[row * width..][..width];
        if activated {
            buffer.copy_from_slice(x);
            gelu::in_place(&mut buffer);
            x = &buffer;
        }
        let scale = Scale::of(magnitude(x));
        quantize(values, x, scale);
        *to = scale.scale;
    }
}
