//! GEMMs with operands rounded to bfloat16 and sums in fp32.
//!
//! Both operands are packed into panels in which a 32-bit word holds the values of two neighbours
//! along the inner axis: a panel of eight rows of `a`, a panel of 48 columns of `b`. The kernel
//! multiplies a panel by a panel. Every element is summed in the same order whatever the number of
//! threads.

#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod pack;

#[cfg(target_arch = "x86_64")]
use std::cell::RefCell;

#[cfg(target_arch = "x86_64")]
use rayon::prelude::*;

use super::matrix::{Into, Matrix, Shape};
#[cfg(target_arch = "x86_64")]
use super::tile::Tile;

/// Whether this processor multiplies in bfloat16.
#[must_use]
pub(crate) fn supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // As the kernel's `target_feature`.
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Never called where [`Precision::check`](crate::precision::Precision::check) is heeded.
///
/// # Panics
/// Always.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn multiply(
    _: (&mut [f32], Shape),
    _: (Into, f32),
    _: Matrix<'_>,
    _: Matrix<'_>,
    _: bool,
) {
    assert!(supported(), "a processor without products in bfloat16");
}

/// Rows of a panel of the left operand.
pub(crate) const ROWS: usize = 8;
/// Columns of a panel of the right operand.
pub(crate) const COLUMNS: usize = 48;
/// Pairs along the inner axis that are multiplied before the next panel: a part of a right panel
/// stays in the first cache.
const PAIRS: usize = 192;
/// Panels of the left operand that one thread packs at once.
const PANELS: usize = 8;
/// Words of the right operand below which it is packed by one thread.
#[cfg(target_arch = "x86_64")]
const WORTH_SHARING: usize = 1 << 16;

#[cfg(target_arch = "x86_64")]
thread_local! {
    /// Packed operands; their memory is reused by the next GEMM.
    static LEFT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static RIGHT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// `into = scale * a b`, or `into += scale * a b`, for a product whose rows lie apart and whose
/// columns are neighbours. Shapes must fit each other and their slices, which
/// [`multiply`](super::matrix::multiply) has checked.
///
/// # Panics
/// If the processor is not [`supported`], columns of `into` are no neighbours, or there is nothing
/// to multiply.
#[cfg(target_arch = "x86_64")]
pub(crate) fn multiply(
    (into, mut shape): (&mut [f32], Shape),
    (how, scale): (Into, f32),
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: bool,
) {
    if shape.rows == 1 {
        // There is no next row, and its place may be anywhere.
        shape.row_stride = shape.columns;
    }
    assert!(supported(), "a processor without products in bfloat16");
    assert!(shape.column_stride == 1 && shape.row_stride >= shape.columns, "columns lie apart");
    assert!(shape.rows > 0 && shape.columns > 0 && a.1.columns > 0, "an empty product");
    let pairs = a.1.columns.div_ceil(2);
    let mut right = RIGHT.take();
    let panels = shape.columns.div_ceil(COLUMNS);
    grow(&mut right, panels * pairs * COLUMNS);
    let packed = &mut right[..panels * pairs * COLUMNS];
    // Columns of `b` are the lanes of its panels.
    let lanes = super::matrix::transposed(b);
    let pack_panel = |(index, panel): (usize, &mut [u32])| {
        pack::pack::<COLUMNS>(lanes, index * COLUMNS, panel);
    };
    if threads && packed.len() > WORTH_SHARING {
        packed.par_chunks_mut(pairs * COLUMNS).enumerate().for_each(pack_panel);
    } else {
        packed.chunks_mut(pairs * COLUMNS).enumerate().for_each(pack_panel);
    }
    let packed = &*packed;
    let block = PANELS * ROWS;
    let rows_of = |(index, rows): (usize, &mut [f32])| {
        let first = index * block;
        let count = block.min(shape.rows - first);
        block_of_rows((rows, shape), (first, count), (how, scale), a, packed);
    };
    let into = &mut into[..shape.extent()];
    if threads {
        into.par_chunks_mut(block * shape.row_stride).enumerate().for_each(rows_of);
    } else {
        into.chunks_mut(block * shape.row_stride).enumerate().for_each(rows_of);
    }
    RIGHT.replace(right);
}

/// Some rows of the result: `count` from `first` on. `into` begins with the first.
#[cfg(target_arch = "x86_64")]
fn block_of_rows(
    (into, shape): (&mut [f32], Shape),
    (first, count): (usize, usize),
    (how, scale): (Into, f32),
    a: Matrix<'_>,
    right: &[u32],
) {
    let pairs = a.1.columns.div_ceil(2);
    let mut left = LEFT.take();
    let panels = count.div_ceil(ROWS);
    grow(&mut left, panels * pairs * ROWS);
    let packed = &mut left[..panels * pairs * ROWS];
    for (index, panel) in packed.chunks_mut(pairs * ROWS).enumerate() {
        pack::pack::<ROWS>(a, first + index * ROWS, panel);
    }
    for start in (0..pairs).step_by(PAIRS) {
        let end = (start + PAIRS).min(pairs);
        let add = how == Into::Add || start > 0;
        for (column, right) in right.chunks_exact(pairs * COLUMNS).enumerate() {
            let right = &right[start * COLUMNS..end * COLUMNS];
            let at = column * COLUMNS;
            let columns = COLUMNS.min(shape.columns - at);
            for (row, left) in packed.chunks_exact(pairs * ROWS).enumerate() {
                let left = &left[start * ROWS..end * ROWS];
                let rows = ROWS.min(count - row * ROWS);
                let tile = Tile { rows, columns, stride: shape.row_stride, add, scale };
                kernel::multiply(
                    &mut into[row * ROWS * shape.row_stride + at..],
                    tile,
                    left,
                    right,
                );
            }
        }
    }
    LEFT.replace(left);
}

#[cfg(target_arch = "x86_64")]
fn grow(words: &mut Vec<u32>, len: usize) {
    if words.len() < len {
        words.resize(len, 0);
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, values};
    use super::*;

    /// The same operands, rounded, multiplied in 64 bits.
    fn plain((a, a_shape): Matrix<'_>, (b, b_shape): Matrix<'_>) -> Vec<f32> {
        let round = |value: f32| f64::from(f32::from_bits(u32::from(pack::rounded(value)) << 16));
        let mut product = Vec::new();
        for row in 0..a_shape.rows {
            for column in 0..b_shape.columns {
                let term = |i: usize| {
                    round(a[row * a_shape.row_stride + i * a_shape.column_stride])
                        * round(b[i * b_shape.row_stride + column * b_shape.column_stride])
                };
                product.push((0..a_shape.columns).map(term).sum::<f64>() as f32);
            }
        }
        product
    }

    /// `rows x columns` in a slice with some gap behind every row, mirrored or not.
    fn shape(rows: usize, columns: usize, gap: usize, mirrored: bool) -> Shape {
        if mirrored {
            Shape::rows(columns, rows, rows + gap).transposed()
        } else {
            Shape::rows(rows, columns, columns + gap)
        }
    }

    #[allow(clippy::print_stderr, reason = "a test that does not run says so")]
    fn skip() -> bool {
        if !supported() {
            eprintln!("SKIPPED: this processor does not multiply in bfloat16");
        }
        !supported()
    }

    proptest! {
        #[test]
        fn agrees_with_rounded_factors(m in 1usize..70, n in 1usize..110, k in 1usize..90,
                                       gap in 0usize..3, mirrored_a: bool, mirrored_b: bool,
                                       replace: bool, seed in 0u64..9) {
            if skip() {
                return Ok(());
            }
            let (a_shape, b_shape) = (shape(m, k, gap, mirrored_a), shape(k, n, gap, mirrored_b));
            let a = values(seed, a_shape.extent());
            let b = values(seed + 1, b_shape.extent());
            let (a, b) = ((a.as_slice(), a_shape), (b.as_slice(), b_shape));
            let into_shape = Shape::rows(m, n, n + gap);
            let mut into = vec![1.0; m * (n + gap)];
            let how = if replace { Into::Replace } else { Into::Add };
            multiply((&mut into, into_shape), (how, 2.0), a, b, seed % 2 == 0);
            let before = if replace { 0.0 } else { 1.0 };
            let expected: Vec<f32> = plain(a, b).iter().map(|v| before + 2.0 * v).collect();
            for (got, expected) in into.chunks(n + gap).zip(expected.chunks(n)) {
                assert_close(&got[..n], expected, 1e-5);
                prop_assert!(got[n..].iter().all(|&between| between == 1.0));
            }
        }
    }

    #[test]
    fn long_sums_are_the_same_with_and_without_threads() {
        if skip() {
            return;
        }
        let (m, n, k) = (130, 200, 1000);
        let (a, b) = (values(1, m * k), values(2, k * n));
        let (a, b) = ((a.as_slice(), Shape::rows(m, k, k)), (b.as_slice(), Shape::rows(k, n, n)));
        let product = |threads: bool| {
            let mut into = vec![7.0; m * n];
            multiply((&mut into, Shape::rows(m, n, n)), (Into::Replace, 1.0), a, b, threads);
            into
        };
        let expected = plain(a, b);
        assert_close(&product(false), &expected, 2e-6);
        assert_eq!(product(true), product(false));
    }

    #[test]
    fn values_are_rounded_to_the_nearest() {
        let rounded = |value: f32| f32::from_bits(u32::from(pack::rounded(value)) << 16);
        assert_eq!(rounded(1.0), 1.0);
        // 8 significant bits: between 1 and 1 + 2^-7, ties go to the even one.
        assert_eq!(rounded(1.0 + 0.75 / 128.0), 1.0 + 1.0 / 128.0);
        assert_eq!(rounded(1.0 + 0.5 / 128.0), 1.0);
        assert_eq!(rounded(1.0 + 1.5 / 128.0), 1.0 + 2.0 / 128.0);
        assert_eq!(rounded(f32::MAX), f32::INFINITY);
        assert_eq!(rounded(1e-40), 0.0);
        assert!(rounded(f32::NAN).is_nan());
        if skip() {
            return;
        }
        // As the processor does: vectors are rounded by it, what is left over by `rounded`.
        let odd: Vec<f32> = values(3, 16 * 8).iter().map(|v| v * 1e3).chain([1e-40; 8]).collect();
        let panel = |shape: Shape| {
            let mut panel = vec![0; 8 * shape.columns.div_ceil(2)];
            pack::pack::<8>((&odd, shape), 0, &mut panel);
            panel
        };
        let (by_processor, by_us) = (panel(Shape::rows(8, 16, 16)), panel(Shape::rows(8, 15, 16)));
        assert_eq!(by_processor[..56], by_us[..56]);
        for (word, other) in by_processor[56..].iter().zip(&by_us[56..]) {
            assert_eq!(word & 0xffff, other & 0xffff);
        }
    }
}
