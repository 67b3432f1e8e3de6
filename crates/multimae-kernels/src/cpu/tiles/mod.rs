//! GEMMs on AMX tiles, which multiply bfloat16 values and sum in fp32 at sixteen times the rate of
//! the vector units.
//!
//! In [`Parts::One`] operands are rounded to bfloat16. In [`Parts::Three`] each operand is a sum of
//! three bfloat16 terms, together its 24 significant bits, and of the nine GEMMs of terms the six
//! that reach into the 24 bits of the result are summed (Henry, Tang and Heinecke, 2019): as exact
//! as an fp32 GEMM, in six GEMMs of a sixteenth of the time.
//!
//! Both operands are packed into panels of 32 lanes (rows of `a`, columns of `b`), and within a panel
//! into blocks of 32 values along the inner axis. The kernel multiplies a panel by a panel. Every
//! element is summed in the same order whatever the number of threads.
//!
//! Differences from fp32 GEMMs: infinite operands give NaN, denormal operands are taken as zero,
//! and operands above 3.39e38 as infinite.

pub(super) mod conv;
mod kernel;
mod pack;
mod permission;

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::gelu::Accuracy;
use super::matrix::{Into, Matrix, Shape, Side, transposed};
use super::product::{self, PackedRight, Right};
use super::tile::Tile;
use kernel::Tiles;
pub(crate) use kernel::{OPERATIONS_OF_A_TURN, busy_loop};
use pack::{Form, How};
use permission::supported;
pub(crate) use permission::usable;

/// Lanes and inner values of a tile's panel.
const SIDE: usize = 32;
/// Words of a panel's block per part: two tiles of 16 rows of 16 words of two values.
const WORDS: usize = 2 * 16 * 16;
/// Lines of the right operand that are packed at a time, which bounds the memory that is kept for
/// the next GEMM. Fewer in tests, so that small operands are packed several times.
const PACKED_AT_ONCE: usize = if cfg!(test) { 1 << 10 } else { 1 << 17 };
/// Words of the right operand below which it is packed by one thread.
const WORTH_SHARING: usize = 1 << 14;

/// By how many values of bfloat16 an operand is represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// The nearest one: 8 significant bits.
    One,
    /// Three that sum to it: 24 significant bits.
    Three,
}

impl Parts {
    fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }

    /// Of the GELU of operands and results.
    fn accuracy(self) -> Accuracy {
        match self {
            Self::One => Accuracy::Bf16,
            Self::Three => Accuracy::Fp32,
        }
    }

    /// Lines of the next panel that the kernel fetches while a block is multiplied: when all panels of
    /// rows have been, it is there.
    fn ahead(self) -> usize {
        self.count() * LINES / self.at_once().1
    }

    /// Blocks along the inner axis that are multiplied before the next panel, and panels of rows that
    /// one thread multiplies by every panel of columns: so much of both operands stays in the second
    /// cache.
    fn at_once(self) -> (usize, usize) {
        match self {
            Self::One => (48, 8),
            Self::Three => (24, 6),
        }
    }
}

thread_local! {
    /// Packed operands; their memory is reused by the next GEMM.
    static LEFT: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    static RIGHT: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// A row of a tile, and a line of the processor's cache, on the boundary of which tiles are read
/// fastest.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Lines of a panel's block per part.
const LINES: usize = WORDS / 16;

/// A GEMM of operands that may be packed for tiles.
pub(crate) type Gemm<'a> = product::Gemm<'a, Packed>;

/// The place of a result.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: *mut f32,
    shape: Shape,
}

// SAFETY: the elements behind the pointer are borrowed mutably for as long as a product is computed
// (`multiply`'s caller promises), and threads write to different rows or columns.
#[allow(unsafe_code)]
unsafe impl Send for Place {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Place {}

/// The right operand of GEMMs, packed.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    lines: Vec<Line>,
    /// Rows and columns.
    size: (usize, usize),
    parts: Parts,
}

impl Packed {
    /// Packs an operand, by all threads.
    ///
    /// # Panics
    /// If the processor is not [`supported`], or the matrix reaches over its slice.
    pub(crate) fn new(b: Matrix<'_>, parts: Parts) -> Self {
        assert!(supported(), "a processor without tiles of bfloat16");
        let mut lines = Vec::new();
        let how = How::new(parts, Form::Right);
        pack_right(b, how, rayon::current_num_threads(), &mut lines);
        Self { lines, size: (b.1.rows, b.1.columns), parts }
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// By how many values its elements are represented.
    pub(crate) fn parts(&self) -> Parts {
        self.parts
    }
}

impl PackedRight for Packed {
    fn inner(&self) -> usize {
        self.size.0
    }

    fn columns(&self) -> usize {
        self.size.1
    }
}

/// Whether every row of the left operand is packed once, and not again for each share of the columns.
pub(crate) fn packs_left_once(rows: usize, threads: bool) -> bool {
    !threads || !shares_columns(rows.div_ceil(SIDE), rayon::current_num_threads())
}

/// Computes a GEMM into a result whose columns are neighbours, here or among the threads. A result that
/// replaces does not read what was there.
///
/// # Safety
/// Every element of the result must be writable and referred to by nothing else, and no two share a
/// place; if sums are added to it, it is initialised. Shapes must fit each other, and those of the
/// operands their slices.
///
/// # Panics
/// If the processor is not [`supported`], columns of the result are no neighbours, there is nothing to
/// multiply, the epilogue does not fit, or `b` was packed in other parts.
#[allow(unsafe_code)]
pub(crate) unsafe fn multiply(
    (first, shape): (*mut f32, Shape),
    mut gemm: Gemm<'_>,
    (parts, threads): (Parts, bool),
) {
    gemm.epilogue.accuracy = parts.accuracy();
    assert!(supported(), "a processor without tiles of bfloat16");
    assert!(shape.columns == 1 || shape.column_stride == 1, "columns lie apart");
    assert!(shape.rows > 0 && shape.columns > 0 && gemm.a.1.columns > 0, "an empty product");
    gemm.epilogue.check(shape.rows, shape.columns);
    let threads = if threads { rayon::current_num_threads() } else { 1 };
    let (place, areas) = (Place { first, shape }, areas(shape, parts.at_once().1, threads));
    let all = 0..gemm.a.1.columns;
    let b = match gemm.b {
        Right::Packed(packed) => {
            assert!(packed.parts == parts && packed.size == (all.end, shape.columns), "{packed:?}");
            return multiply_areas(place, &areas, gemm, (all, &packed.lines), (parts, threads));
        }
        Right::Matrix(b) => b,
    };
    let how = How { parts, form: Form::Right, activated: gemm.activated == Some(Side::Right) };
    let mut right = RIGHT.take();
    let depth = depth_at_once(shape.columns, parts);
    for first in all.clone().step_by(depth) {
        let inner = first..all.end.min(first + depth);
        let b = transposed(columns_of(transposed(b), inner.clone()));
        pack_right(b, how, threads, &mut right);
        multiply_areas(place, &areas, gemm, (inner, &right), (parts, threads));
    }
    RIGHT.replace(right);
}

/// Adds the products along a part of the inner axis, of which the right operand is packed, to all areas.
fn multiply_areas(
    place: Place,
    areas: &[Area],
    gemm: Gemm<'_>,
    (inner, right): (Range<usize>, &[Line]),
    (parts, threads): (Parts, usize),
) {
    let work = |&area: &Area| area_of_product(place, area, gemm, (inner.clone(), right), parts);
    if threads > 1 {
        areas.par_iter().for_each(work);
    } else {
        areas.iter().for_each(work);
    }
}

/// Values along the inner axis of which a right operand is packed at a time.
fn depth_at_once(columns: usize, parts: Parts) -> usize {
    let (blocks, _) = parts.at_once();
    let of_blocks = columns.div_ceil(SIDE) * blocks * parts.count() * LINES;
    blocks * SIDE * (PACKED_AT_ONCE / of_blocks.max(1)).max(1)
}

/// Some columns of a matrix.
fn columns_of((slice, shape): Matrix<'_>, columns: Range<usize>) -> Matrix<'_> {
    let first = columns.start * shape.column_stride;
    (&slice[first..], Shape { columns: columns.len(), ..shape })
}

/// Packs the right operand into the first of the lines, which become as many as it takes.
fn pack_right(b: Matrix<'_>, how: How, sharers: usize, right: &mut Vec<Line>) {
    let blocks = b.1.rows.div_ceil(SIDE);
    let panel = blocks * how.parts.count() * LINES;
    let panels = b.1.columns.div_ceil(SIDE);
    grow(right, panels * panel);
    let packed = &mut right[..panels * panel];
    // Columns of `b` are the lanes of its panels.
    let lanes = transposed(b);
    let of_share = panels.div_ceil(sharers).max(1);
    let pack_share = |(index, share): (usize, &mut [Line])| {
        pack::pack(lanes, (index * of_share * SIDE, 0), how, (share, blocks));
    };
    if sharers > 1 && packed.len() * 16 > WORTH_SHARING {
        packed.par_chunks_mut(of_share * panel).enumerate().for_each(pack_share);
    } else {
        pack_share((0, packed));
    }
}

/// A part of the result: rows, and panels of columns.
#[derive(Debug, Clone, Copy)]
struct Area {
    first_row: usize,
    rows: usize,
    first_panel: usize,
    panels: usize,
}

/// Whether threads share the columns of a result of this many panels of rows.
fn shares_columns(of_rows: usize, threads: usize) -> bool {
    of_rows < 8 * threads
}

/// The result in parts of about equal work; the elements' sums do not depend on the parts.
fn areas(shape: Shape, panels_at_once: usize, threads: usize) -> Vec<Area> {
    let (of_rows, of_columns) = (shape.rows.div_ceil(SIDE), shape.columns.div_ceil(SIDE));
    // With few rows, threads share the columns: rows are packed by each, which are few.
    let sides = if shares_columns(of_rows, threads) { threads.min(of_columns) } else { 1 };
    let panels = of_columns.div_ceil(sides);
    let rounds = of_rows.div_ceil(panels_at_once).next_multiple_of(threads / sides.min(threads));
    let rows = of_rows.div_ceil(rounds.max(1)) * SIDE;
    let mut areas = Vec::new();
    for first_row in (0..shape.rows).step_by(rows) {
        for first_panel in (0..of_columns).step_by(panels) {
            areas.push(Area {
                first_row,
                rows: rows.min(shape.rows - first_row),
                first_panel,
                panels: panels.min(of_columns - first_panel),
            });
        }
    }
    areas
}

/// Adds the products along a part of the inner axis to one part of the result, and finishes it with the
/// last.
fn area_of_product(
    place: Place,
    area: Area,
    gemm: Gemm<'_>,
    (inner, right): (Range<usize>, &[Line]),
    parts: Parts,
) {
    let blocks = inner.len().div_ceil(SIDE);
    let of_block = parts.count() * LINES;
    let a = columns_of(gemm.a, inner.clone());
    let how = How { parts, form: Form::Left, activated: gemm.activated == Some(Side::Left) };
    let mut left = LEFT.take();
    let (at_once, _) = parts.at_once();
    let panels = area.rows.div_ceil(SIDE);
    grow(&mut left, panels * at_once.min(blocks) * of_block);
    let tiles = Tiles::new();
    for start in (0..blocks).step_by(at_once) {
        let count = at_once.min(blocks - start);
        let packed = &mut left[..panels * count * of_block];
        pack::pack(a, (area.first_row, start * SIDE), how, (packed, count));
        let add = gemm.how == Into::Add || inner.start + start > 0;
        let is_last = inner.end == gemm.a.1.columns && start + count == blocks;
        let finish = is_last && !gemm.epilogue.is_nothing();
        let all = right.chunks_exact(blocks * of_block).enumerate();
        for (column, right) in all.skip(area.first_panel).take(area.panels) {
            let next = right.as_ptr().wrapping_add((blocks + start) * of_block);
            let right = &right[start * of_block..][..count * of_block];
            for (row, left) in packed.chunks_exact(count * of_block).enumerate() {
                let (first_row, first_column) = (area.first_row + row * SIDE, column * SIDE);
                let tile = Tile {
                    rows: SIDE.min(area.rows - row * SIDE),
                    columns: SIDE.min(place.shape.columns - first_column),
                    stride: place.shape.row_stride,
                    add,
                    scale: gemm.scale,
                };
                let next = next.wrapping_add(row * count * parts.ahead());
                let panels = kernel::Panels { left, right, next };
                // SAFETY: rows and columns of the tile are those of the result, whose places exist
                // and are written by nothing else (`multiply`'s caller, and areas are disjoint).
                #[allow(unsafe_code)]
                unsafe {
                    let into = place.first.add(first_row * place.shape.row_stride + first_column);
                    if finish {
                        gemm.epilogue.fetch(tile, (first_row, first_column), place.shape.columns);
                    }
                    kernel::multiply(&tiles, into, tile, panels, parts);
                    if finish {
                        gemm.finish(into, tile, (first_row, first_column));
                    }
                }
            }
        }
    }
    LEFT.replace(left);
}

fn grow(lines: &mut Vec<Line>, len: usize) {
    if lines.len() < len {
        lines.resize(len, Line([0; 16]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::epilogue::Epilogue;
    use super::super::gelu;
    use super::super::testing::{assert_close, product as plain, values};
    use super::permission::skip;
    use super::*;

    /// Numbers of a size, in the layout of a kind: rows, mirrored, or with neither axis dense.
    fn matrix(rows: usize, columns: usize, kind: usize, seed: u64) -> (Vec<f32>, Shape) {
        let shape = match kind {
            0 => Shape::rows(rows, columns, columns + 2),
            1 => Shape::rows(columns, rows, rows + 1).transposed(),
            _ => Shape { rows, columns, row_stride: 2 * columns + 1, column_stride: 2 },
        };
        (values(seed, shape.extent()), shape)
    }

    /// The GEMM into memory of ones, with a gap behind every row.
    fn product(
        (a, b): (Matrix<'_>, Matrix<'_>),
        (how, scale): (Into, f32),
        (parts, threads): (Parts, bool),
    ) -> Vec<f32> {
        let (rows, columns) = (a.1.rows, b.1.columns);
        let stride = columns + 3;
        let mut into = vec![1.0; rows * stride];
        let shape = Shape::rows(rows, columns, stride);
        // SAFETY: rows of the result lie in the vector, apart; `matrix` gives slices that hold their
        // shapes, which fit each other.
        #[allow(unsafe_code)]
        unsafe {
            let gemm = Gemm { how, scale, ..Gemm::new(a, Right::Matrix(b)) };
            multiply((into.as_mut_ptr(), shape), gemm, (parts, threads));
        }
        let (sums, gaps): (Vec<_>, Vec<_>) =
            into.chunks_exact(stride).map(|row| row.split_at(columns)).unzip();
        assert!(gaps.concat().iter().all(|&gap| gap == 1.0), "written between rows");
        sums.concat()
    }

    proptest! {
        #[test]
        fn products_are_those_of_the_factors_parts(
            (rows, columns, inner) in (1usize..90, 1usize..90, 1usize..120),
            (kind_a, kind_b) in (0usize..3, 0usize..3),
            replace: bool,
            threads: bool,
            seed in 0u64..9,
        ) {
            if skip() {
                return Ok(());
            }
            let (a, a_shape) = matrix(rows, inner, kind_a, seed);
            let (b, b_shape) = matrix(inner, columns, kind_b, seed + 1);
            let how = if replace { Into::Replace } else { Into::Add };
            let before = if replace { 0.0 } else { 1.0 };
            let expect = |a: &[f32], b: &[f32]| -> Vec<f32> {
                plain((a, a_shape), (b, b_shape)).iter().map(|v| before + 0.5 * v).collect()
            };
            let both = ((a.as_slice(), a_shape), (b.as_slice(), b_shape));
            let three = product(both, (how, 0.5), (Parts::Three, threads));
            assert_close(&three, &expect(&a, &b), 5e-7);
            let one = product(both, (how, 0.5), (Parts::One, threads));
            let nearest = |values: &[f32]| -> Vec<f32> {
                values.iter().map(|&value| pack::nearest(value)).collect()
            };
            assert_close(&one, &expect(&nearest(&a), &nearest(&b)), 2e-6);
        }
    }

    #[test]
    fn three_parts_are_as_exact_as_32_bits_over_long_sums_of_any_size() {
        if skip() {
            return;
        }
        let (rows, columns, inner) = (200, 300, 2000);
        // Factors of very different size: parts are relative to each.
        let scaled = |mut values: Vec<f32>| {
            values
                .iter_mut()
                .enumerate()
                .for_each(|(at, value)| *value *= 10f32.powi(at as i32 % 9 - 4));
            values
        };
        let a = scaled(values(1, rows * inner));
        let b = scaled(values(2, inner * columns));
        let a = (a.as_slice(), Shape::rows(rows, inner, inner));
        let b = (b.as_slice(), Shape::rows(inner, columns, columns));
        let expected = plain(a, b);
        let error = |product: &[f32]| {
            let pairs = product.iter().zip(&expected);
            pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
        };
        let three = product((a, b), (Into::Replace, 1.0), (Parts::Three, true));
        let again = product((a, b), (Into::Replace, 1.0), (Parts::Three, false));
        assert_eq!(three, again, "the number of threads changes the sums");
        let mut in_32_bits = vec![0.0f32; rows * columns];
        for (row, sums) in in_32_bits.chunks_exact_mut(columns).enumerate() {
            for (at, b) in b.0.chunks_exact(columns).enumerate() {
                let a = a.0[row * inner + at];
                sums.iter_mut().zip(b).for_each(|(sum, b)| *sum = a.mul_add(*b, *sum));
            }
        }
        let (of_three, of_32_bits) = (error(&three), error(&in_32_bits));
        assert!(of_three < of_32_bits, "an error of {of_three} instead of {of_32_bits}");
    }

    /// A GEMM with a GELU of one operand on the way and an epilogue, of few and of many panels.
    #[test]
    fn what_comes_before_and_after_the_sums_is_done_on_the_way() {
        if skip() {
            return;
        }
        for (rows, columns, inner, threads) in
            [(1, 1, 1, false), (40, 70, 90, false), (530, 33, 64, true), (70, 100, 2000, true)]
        {
            let (a, b) = (values(1, rows * inner), values(2, inner * columns));
            let [bias, residual, inputs] = [(3, columns), (4, rows * columns), (5, rows * columns)]
                .map(|(seed, count)| values(seed, count));
            let (a_shape, b_shape) =
                (Shape::rows(rows, inner, inner), Shape::rows(inner, columns, columns));
            let bias = Some(bias.as_slice());
            let epilogues = [
                Epilogue { bias, gelu: true, residual: Some(&residual), ..Epilogue::default() },
                Epilogue { slopes_at: Some(&inputs), ..Epilogue::default() },
            ];
            for (epilogue, side) in
                epilogues.into_iter().cycle().zip([None, Some(Side::Left), Some(Side::Right)])
            {
                let through = |operand: Side, values: &[f32]| match side == Some(operand) {
                    true => gelu::forward(values),
                    false => values.to_vec(),
                };
                let (of_a, of_b) = (through(Side::Left, &a), through(Side::Right, &b));
                let mut expected = plain((&of_a, a_shape), (&of_b, b_shape));
                for (row, sums) in expected.chunks_mut(columns).enumerate() {
                    epilogue.apply(sums, (row, 0), columns);
                }
                for (parts, bound) in [(Parts::Three, 2e-6), (Parts::One, 2e-2)] {
                    let gemm = Gemm::new((&a, a_shape), Right::Matrix((&b, b_shape)));
                    let gemm = Gemm { activated: side, epilogue, ..gemm };
                    // SAFETY: as in `product`; the memory is new.
                    #[allow(unsafe_code)]
                    let got = unsafe {
                        gemm.in_new_memory(|into, shape, gemm| {
                            multiply((into, shape), gemm, (parts, threads));
                        })
                    };
                    assert_close(&got, &expected, bound);
                }
            }
        }
    }

    #[test]
    fn a_packed_factor_serves_several_products() {
        if skip() {
            return;
        }
        let (b, b_shape) = matrix(70, 45, 1, 3);
        let b = (b.as_slice(), b_shape);
        for parts in [Parts::One, Parts::Three] {
            let packed = Packed::new(b, parts);
            for rows in [1, 33, 100] {
                let (a, a_shape) = matrix(rows, 70, 0, rows as u64);
                let a = (a.as_slice(), a_shape);
                let expected = product((a, b), (Into::Replace, 1.0), (parts, false));
                let gemm = Gemm::new(a, Right::Packed(&packed));
                // SAFETY: as in `product`; the memory is new.
                #[allow(unsafe_code)]
                let got = unsafe {
                    gemm.in_new_memory(|into, shape, gemm| {
                        multiply((into, shape), gemm, (parts, false))
                    })
                };
                assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn numbers_that_are_none_stay_none() {
        if skip() {
            return;
        }
        for odd in [f32::NAN, f32::INFINITY] {
            let mut a = values(1, 4 * 8);
            a[8 + 3] = odd;
            let b = values(2, 8 * 5);
            let both = ((a.as_slice(), Shape::rows(4, 8, 8)), (b.as_slice(), Shape::rows(8, 5, 5)));
            let product = product(both, (Into::Replace, 1.0), (Parts::Three, false));
            for (row, sums) in product.chunks_exact(5).enumerate() {
                assert!(sums.iter().all(|sum| sum.is_finite() == (row != 1)), "{sums:?}");
            }
        }
    }

    #[test]
    fn areas_cover_the_product_once() {
        for (rows, columns) in [(1, 1), (33, 100), (197, 768), (1584, 1536), (5000, 40usize)] {
            for threads in [1, 2, 3, 8] {
                let panels = columns.div_ceil(SIDE);
                let mut seen = vec![0; rows * panels];
                for area in areas(Shape::rows(rows, columns, columns), 6, threads) {
                    for row in area.first_row..area.first_row + area.rows {
                        for panel in area.first_panel..area.first_panel + area.panels {
                            seen[row * panels + panel] += 1;
                        }
                    }
                }
                assert!(seen.iter().all(|&times| times == 1), "{rows}x{columns}, {threads}");
            }
        }
    }
}
