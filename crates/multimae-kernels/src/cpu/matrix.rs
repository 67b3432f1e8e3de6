//! GEMMs of strided views, checked before they reach the unchecked routine.

use gemm::Parallelism;

use super::epilogue::Epilogue;
use super::product::{Gemm, PackedRight, Right};
use super::tiles::{self, Parts};
use super::vectors;
use super::{bf16, gelu, int8, parallel};
use crate::int8::linear_is_worth;
use crate::precision::Precision;

/// Multiplications below which a product runs on one thread.
const WORTH_SHARING: usize = 192 * 192 * 192;

/// Multiplications below which rounding costs more than it saves.
const WORTH_ROUNDING: usize = 16 * 16 * 16;

/// Rows and columns, by their harmonic mean, and inner values from which on a GEMM of split
/// operands is faster than one of whole ones: the cost of splitting is that of reading the
/// operands.
const WORTH_SPLITTING: (usize, usize) = (96, 32);

/// Likewise, from which on our kernels of the vector units are faster than the library's.
const WORTH_PACKING: (usize, usize) = (16, 16);

/// The places of a matrix's elements in a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub rows: usize,
    pub columns: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl Shape {
    /// Rows one after the other, `row_stride` apart.
    pub(crate) fn rows(rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { rows, columns, row_stride, column_stride: 1 }
    }

    /// The same elements, mirrored.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Elements of the slice that the matrix reaches over.
    pub(crate) fn extent(self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// A matrix in a slice.
pub(crate) type Matrix<'a> = (&'a [f32], Shape);

/// An operand of a GEMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// The same matrix, mirrored.
pub(crate) fn transposed((slice, shape): Matrix<'_>) -> Matrix<'_> {
    (slice, shape.transposed())
}

/// The use of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// It takes the place of what was there.
    Replace,
    /// It is added to what was there.
    Add,
}

/// `into = scale * a b`, or `into += scale * a b`, in a precision.
///
/// # Panics
/// If the shapes do not fit each other or their slices, or if elements of `into` share a place.
pub(crate) fn multiply(
    precision: Precision,
    (into, shape): (&mut [f32], Shape),
    how: Into,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    let threads = worth_sharing(shape.rows, shape.columns, a.1.columns);
    product(precision, (into, shape), (how, scale), a, b, threads);
}

/// `a b` in new memory, rows one behind the other.
///
/// # Panics
/// If the shapes do not fit each other or their slices.
pub(crate) fn multiplied(precision: Precision, a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    multiplied_then(precision, (a, b), None, Epilogue::default())
}

/// Whether a GEMM takes the GELU of an operand on the way, without writing its values to memory.
pub(crate) fn activates(precision: Precision, rows: usize, columns: usize, inner: usize) -> bool {
    matches!(route(precision, rows, columns, inner), Route::Vectors | Route::Tiles(_))
}

/// `a b` in new memory, rows one behind the other, and what is done with its sums. An operand that is
/// to be `activated` goes through the GELU first.
///
/// # Panics
/// If the shapes do not fit each other, their slices or the epilogue.
pub(crate) fn multiplied_then(
    precision: Precision,
    (a, b): (Matrix<'_>, Matrix<'_>),
    activated: Option<Side>,
    epilogue: Epilogue<'_>,
) -> Vec<f32> {
    let (rows, columns, inner) = (a.1.rows, b.1.columns, a.1.columns);
    let (shape, len) = (Shape::rows(rows, columns, columns), rows * columns);
    check(shape, a, b);
    epilogue.check(rows, columns);
    if len == 0 {
        return Vec::new();
    }
    let (threads, route) =
        (worth_sharing(rows, columns, inner), route(precision, rows, columns, inner));
    let on_the_way = match (activated, route) {
        (None, _) => true,
        (Some(Side::Left), Route::Vectors) => vectors::packs_left_once(rows, columns, threads),
        (Some(Side::Left), Route::Tiles(_)) => tiles::packs_left_once(rows, threads),
        (Some(Side::Right), Route::Vectors | Route::Tiles(_)) => true,
        (Some(_), Route::Bf16 | Route::General) => false,
    };
    match activated {
        Some(Side::Left) if !on_the_way => {
            let a = (&*gelu::forward(a.0), a.1);
            return multiplied_then(precision, (a, b), None, epilogue);
        }
        Some(Side::Right) if !on_the_way => {
            let b = (&*gelu::forward(b.0), b.1);
            return multiplied_then(precision, (a, b), None, epilogue);
        }
        _ => {}
    }
    match route {
        Route::Vectors => {
            let gemm = Gemm::new(a, Right::Matrix(b));
            by_vectors(Gemm { activated, epilogue, ..gemm }, threads)
        }
        Route::Tiles(parts) => {
            let gemm = Gemm::new(a, Right::Matrix(b));
            by_tiles(Gemm { activated, epilogue, ..gemm }, (parts, threads))
        }
        Route::Bf16 | Route::General => {
            let mut into = sums(route, shape, (a, b), threads);
            apply_by_all(epilogue, &mut into, columns);
            into
        }
    }
}

/// `a b` in new memory, by a route without epilogues.
fn sums(route: Route, shape: Shape, (a, b): (Matrix<'_>, Matrix<'_>), threads: bool) -> Vec<f32> {
    let len = shape.rows * shape.columns;
    let replace = (Into::Replace, 1.0);
    if route == Route::Bf16 {
        let mut into = vec![0.0; len];
        bf16::multiply((&mut into, shape), replace, a, b, threads);
        return into;
    }
    check(shape, a, b);
    let mut into = Vec::with_capacity(len);
    // SAFETY: `check` asserted that the shapes fit and that every element of `a` and `b` lies in
    // its slice. The result's rows lie one behind the other in the `len` places that were just
    // allocated and that nothing else refers to; the result replaces their content, so that it is
    // written to without being read, in each of them, before the length is set.
    #[allow(unsafe_code)]
    unsafe {
        gemm_into((into.as_mut_ptr(), shape), replace, a, b, threads);
        into.set_len(len);
    }
    into
}

/// The code that computes a GEMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// AMX tiles, with operands of this number of bfloat16 terms.
    Tiles(Parts),
    /// Dot products of bfloat16 on the vector units.
    Bf16,
    /// Our fp32 kernels on the vector units.
    Vectors,
    /// The library's: small and narrow GEMMs, for which packing does not pay.
    General,
}

fn route(precision: Precision, rows: usize, columns: usize, inner: usize) -> Route {
    let sides = rows.saturating_mul(columns);
    let worth =
        |(side, depth): (usize, usize)| inner >= depth && 2 * sides >= side * (rows + columns);
    let rounding = precision == Precision::Bf16 && sides.saturating_mul(inner) >= WORTH_ROUNDING;
    match precision {
        Precision::Bf16 if rounding && tiles::usable() => Route::Tiles(Parts::One),
        Precision::Bf16 if rounding => Route::Bf16,
        Precision::Fp32 | Precision::Int8 if tiles::usable() && worth(WORTH_SPLITTING) => {
            Route::Tiles(Parts::Three)
        }
        Precision::Fp32 | Precision::Int8 if vectors::usable() && worth(WORTH_PACKING) => {
            Route::Vectors
        }
        _ => Route::General,
    }
}

/// The way in which a right operand is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For the processor's tiles.
    Tiles(Parts),
    /// For its vector units.
    Vectors,
    /// In whole numbers of 8 bits.
    Int8,
}

impl Form {
    /// That of a GEMM of these sizes; `None` if it is not computed of packed operands.
    pub(crate) fn of(
        precision: Precision,
        rows: usize,
        columns: usize,
        inner: usize,
    ) -> Option<Self> {
        if precision == Precision::Int8 && int8::usable() && linear_is_worth(columns, inner) {
            return Some(Self::Int8);
        }
        match route(precision, rows, columns, inner) {
            Route::Tiles(parts) => Some(Self::Tiles(parts)),
            Route::Vectors => Some(Self::Vectors),
            Route::Bf16 | Route::General => None,
        }
    }
}

/// The right operand of several GEMMs, packed once.
#[derive(Debug)]
pub(crate) enum Operand {
    /// Packed for the processor's tiles.
    OfTiles(tiles::Packed),
    /// Packed for its vector units.
    OfVectors(vectors::Packed),
    /// Quantised.
    OfInt8(int8::Weights),
}

impl Operand {
    /// Packs `b`, by all threads.
    ///
    /// # Panics
    /// If it reaches over its slice, or is to be quantised and its columns do not lie one behind the other.
    pub(crate) fn new(form: Form, b: Matrix<'_>) -> Self {
        match form {
            Form::Tiles(parts) => Self::OfTiles(tiles::Packed::new(b, parts)),
            Form::Vectors => Self::OfVectors(vectors::Packed::new(b)),
            Form::Int8 => {
                let (slice, Shape { rows: inner, columns, .. }) = b;
                assert!(b.1.transposed() == Shape::rows(columns, inner, inner), "{:?}", b.1);
                Self::OfInt8(int8::Weights::linear(columns, inner, &slice[..columns * inner]))
            }
        }
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::OfTiles(b) => b.bytes(),
            Self::OfVectors(b) => b.bytes(),
            Self::OfInt8(b) => b.bytes(),
        }
    }

    /// Columns of the operand.
    fn columns(&self) -> usize {
        match self {
            Self::OfTiles(b) => b.columns(),
            Self::OfVectors(b) => b.columns(),
            Self::OfInt8(b) => b.columns(),
        }
    }

    /// The result on this thread alone, in rows one behind the other.
    ///
    /// # Panics
    /// As [`multiply`], or if there is nothing to multiply.
    pub(crate) fn multiplied_here(&self, a: Matrix<'_>, epilogue: Epilogue<'_>) -> Vec<f32> {
        match self {
            Self::OfTiles(b) => {
                let gemm = Gemm { epilogue, ..Gemm::new(a, Right::Packed(b)) };
                by_tiles(gemm, (b.parts(), false))
            }
            Self::OfVectors(b) => {
                by_vectors(Gemm { epilogue, ..Gemm::new(a, Right::Packed(b)) }, false)
            }
            Self::OfInt8(b) => int8::linear_here(a.1.rows, rows_of(a), false, b, epilogue),
        }
    }

    /// [`multiplied_here`](Self::multiplied_here) into a slice of just the result's size.
    ///
    /// # Panics
    /// As there, or if the slice is of another size.
    pub(crate) fn multiply_here(&self, into: &mut [f32], a: Matrix<'_>, epilogue: Epilogue<'_>) {
        match self {
            Self::OfTiles(b) => {
                let gemm = Gemm { epilogue, ..Gemm::new(a, Right::Packed(b)) };
                // SAFETY: the shapes fit and the operands exist, and the result lies in the slice, which
                // is borrowed mutably and holds numbers (`into_slice` makes sure).
                #[allow(unsafe_code)]
                gemm.into_slice(into, |into, shape, gemm| unsafe {
                    tiles::multiply((into, shape), gemm, (b.parts(), false));
                });
            }
            Self::OfVectors(b) => {
                let gemm = Gemm { epilogue, ..Gemm::new(a, Right::Packed(b)) };
                // SAFETY: as above.
                #[allow(unsafe_code)]
                gemm.into_slice(into, |into, shape, gemm| unsafe {
                    vectors::multiply((into, shape), gemm, false);
                });
            }
            Self::OfInt8(_) => into.copy_from_slice(&self.multiplied_here(a, epilogue)),
        }
    }

    /// The result, by all threads, in rows one behind the other. A left operand that is to be
    /// `activated` goes through the GELU first.
    ///
    /// # Panics
    /// As [`multiply`], or if there is nothing to multiply.
    pub(crate) fn multiplied(
        &self,
        a: Matrix<'_>,
        activated: bool,
        epilogue: Epilogue<'_>,
    ) -> Vec<f32> {
        let (rows, columns, inner) = (a.1.rows, self.columns(), a.1.columns);
        let threads = worth_sharing(rows, columns, inner);
        let on_the_way = match self {
            Self::OfVectors(_) => vectors::packs_left_once(rows, columns, threads),
            Self::OfInt8(_) => true,
            Self::OfTiles(_) => tiles::packs_left_once(rows, threads),
        };
        if activated && !on_the_way {
            return self.multiplied((&*gelu::forward(a.0), a.1), false, epilogue);
        }
        let side = activated.then_some(Side::Left);
        match self {
            Self::OfTiles(b) => {
                let gemm = Gemm::new(a, Right::Packed(b));
                by_tiles(Gemm { activated: side, epilogue, ..gemm }, (b.parts(), threads))
            }
            Self::OfVectors(b) => {
                let gemm = Gemm::new(a, Right::Packed(b));
                by_vectors(Gemm { activated: side, epilogue, ..gemm }, threads)
            }
            Self::OfInt8(b) => int8::linear(rows, rows_of(a), activated, b, epilogue),
        }
    }
}

/// The rows of a matrix, which lie one behind the other.
///
/// # Panics
/// If they do not.
fn rows_of((slice, shape): Matrix<'_>) -> &[f32] {
    let dense = Shape::rows(shape.rows, shape.columns, shape.columns);
    assert!(shape == dense, "rows that do not lie one behind the other: {shape:?}");
    &slice[..shape.extent()]
}

/// A GEMM on the vector units, in new memory, rows one behind the other.
///
/// # Panics
/// If there is nothing to multiply, or the shapes do not fit.
fn by_vectors(gemm: vectors::Gemm<'_>, threads: bool) -> Vec<f32> {
    // SAFETY: the shapes fit and every element of the operands exists, as `in_new_memory` has made sure
    // of, which gives places of the result's shape that nothing else refers to. Each is written, and not
    // read before, since sums replace what was there.
    #[allow(unsafe_code)]
    unsafe {
        gemm.in_new_memory(|into, shape, gemm| vectors::multiply((into, shape), gemm, threads))
    }
}

/// A GEMM on the processor's tiles, in new memory, rows one behind the other.
///
/// # Panics
/// As [`by_vectors`].
fn by_tiles(gemm: tiles::Gemm<'_>, how: (Parts, bool)) -> Vec<f32> {
    // SAFETY: as in `by_vectors`.
    #[allow(unsafe_code)]
    unsafe {
        gemm.in_new_memory(|into, shape, gemm| tiles::multiply((into, shape), gemm, how))
    }
}

/// Applies an epilogue to whole rows of sums, by all threads.
fn apply_by_all(epilogue: Epilogue<'_>, sums: &mut [f32], columns: usize) {
    if epilogue.is_nothing() {
        return;
    }
    let (len, at_once) = (sums.len(), parallel::rows_per_part(columns));
    let parts = sums.chunks_mut(at_once * columns.max(1)).enumerate();
    parallel::for_each(len, parts, |(part, sums)| {
        for (row, sums) in sums.chunks_exact_mut(columns.max(1)).enumerate() {
            epilogue.apply(sums, (part * at_once + row, 0), columns);
        }
    });
}

fn worth_sharing(rows: usize, columns: usize, inner: usize) -> bool {
    let work = rows.saturating_mul(columns).saturating_mul(inner);
    work >= WORTH_SHARING && rayon::current_num_threads() > 1
}

/// [`multiply`] on this thread alone, where there are other GEMMs for the others.
///
/// # Panics
/// As [`multiply`].
pub(crate) fn multiply_here(
    precision: Precision,
    into: (&mut [f32], Shape),
    how: Into,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    product(precision, into, (how, 1.0), a, b, false);
}

fn product(
    precision: Precision,
    (into, shape): (&mut [f32], Shape),
    (how, scale): (Into, f32),
    (a, a_shape): Matrix<'_>,
    (b, b_shape): Matrix<'_>,
    threads: bool,
) {
    let (rows, columns, inner) = (shape.rows, shape.columns, a_shape.columns);
    check(shape, (a, a_shape), (b, b_shape));
    assert!(shape.extent() <= into.len(), "a matrix reaches over its slice");
    if rows == 0 || columns == 0 {
        return;
    }
    let (inside, outside) = if shape.row_stride >= shape.column_stride {
        ((columns, shape.column_stride), (rows, shape.row_stride))
    } else {
        ((rows, shape.row_stride), (columns, shape.column_stride))
    };
    assert!(
        (inside.0 == 1 || inside.1 >= 1)
            && (outside.0 == 1 || outside.1 > (inside.0 - 1) * inside.1),
        "elements of the product share a place: {shape:?}"
    );
    let (a, b) = ((a, a_shape), (b, b_shape));
    // The general routine takes columns that are neighbours, or their mirror images.
    let (shape_across, a_across, b_across) = if shape.column_stride == 1 {
        (shape, a, b)
    } else {
        (shape.transposed(), transposed(b), transposed(a))
    };
    if shape_across.column_stride == 1 {
        let (a, b) = (a_across, b_across);
        match route(precision, rows, columns, inner) {
            Route::Bf16 => {
                return bf16::multiply((into, shape_across), (how, scale), a, b, threads);
            }
            // SAFETY: every element that the strides reach lies in its slice and the shapes fit (both
            // asserted above); `into` is borrowed mutably, holds numbers, and no two of its elements
            // share a place (asserted).
            #[allow(unsafe_code)]
            Route::Tiles(parts) => unsafe {
                let gemm = Gemm { how, scale, ..Gemm::new(a, Right::Matrix(b)) };
                let into = (into.as_mut_ptr(), shape_across);
                return tiles::multiply(into, gemm, (parts, threads));
            },
            // SAFETY: as above.
            #[allow(unsafe_code)]
            Route::Vectors => unsafe {
                let gemm = Gemm { how, scale, ..Gemm::new(a, Right::Matrix(b)) };
                return vectors::multiply((into.as_mut_ptr(), shape_across), gemm, threads);
            },
            Route::General => {}
        }
    }
    let into = (into.as_mut_ptr(), shape);
    // SAFETY: every element that the strides reach lies in its slice and the shapes fit (both
    // asserted above); `into` is borrowed mutably, so it overlaps neither `a` nor `b`, and no two
    // of its elements share a place (asserted), so threads write apart.
    #[allow(unsafe_code)]
    unsafe {
        gemm_into(into, (how, scale), a, b, threads);
    }
}

/// # Panics
/// If the shapes do not fit each other, or those of the operands their slices.
fn check(shape: Shape, (a, a_shape): Matrix<'_>, (b, b_shape): Matrix<'_>) {
    assert!(
        a_shape.rows == shape.rows
            && b_shape.columns == shape.columns
            && b_shape.rows == a_shape.columns,
        "a product of {a_shape:?} and {b_shape:?} into {shape:?}"
    );
    assert!(
        a_shape.extent() <= a.len() && b_shape.extent() <= b.len(),
        "a matrix reaches over its slice"
    );
}

/// The fp32 GEMM of the library.
///
/// # Safety
/// The shapes must fit each other and every element that their strides reach must exist; those of
/// `into` must be writable, share no place with each other or with the operands, and be initialised
/// if the result is added to them.
#[allow(unsafe_code)]
unsafe fn gemm_into(
    (into, shape): (*mut f32, Shape),
    (how, scale): (Into, f32),
    (a, a_shape): Matrix<'_>,
    (b, b_shape): Matrix<'_>,
    threads: bool,
) {
    let parallelism = if threads { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: as the caller promises.
    unsafe {
        gemm::gemm(
            shape.rows,
            shape.columns,
            a_shape.columns,
            into,
            shape.column_stride as isize,
            shape.row_stride as isize,
            how == Into::Add,
            a.as_ptr(),
            a_shape.column_stride as isize,
            a_shape.row_stride as isize,
            b.as_ptr(),
            b_shape.column_stride as isize,
            b_shape.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, product as plain, values};
    use super::*;

    proptest! {
        #[test]
        fn agrees_with_the_plain_product(m in 0usize..40, n in 0usize..40, k in 0usize..40,
                                         gap in 0usize..3, mirrored: bool, seed in 0u64..9) {
            let a = values(seed, m * (k + gap));
            let b = values(seed + 1, k.max(n) * (k.max(n) + gap));
            let a = (a.as_slice(), Shape::rows(m, k, k + gap));
            let b_shape = if mirrored {
                Shape::rows(n, k, k + gap).transposed()
            } else {
                Shape::rows(k, n, n + gap)
            };
            let b = (b.as_slice(), b_shape);
            let mut into = vec![1.0; m * n];
            let place = (into.as_mut_slice(), Shape::rows(m, n, n));
            multiply(Precision::Fp32, place, Into::Add, 2.0, a, b);
            let expected: Vec<f32> = plain(a, b).iter().map(|v| 1.0 + 2.0 * v).collect();
            assert_close(&into, &expected, 1e-5);
        }
    }

    #[test]
    fn new_memory_holds_the_product_alone() {
        for (m, n, k) in [(0, 3, 2), (3, 0, 2), (2, 3, 0), (1, 1, 1), (7, 17, 5), (200, 210, 190)] {
            // Memory that was used before, so that what is not written would show.
            drop(vec![f32::NAN; m * n]);
            let (a, b) = (values(1, m * k), values(2, k * n));
            let a = (a.as_slice(), Shape::rows(m, k, k));
            let b = (b.as_slice(), Shape::rows(k, n, n));
            assert_close(&multiplied(Precision::Fp32, a, b), &plain(a, b), 1e-5);
        }
    }

    #[test]
    fn no_products_give_zero() {
        let mut into = [1.0; 4];
        let shape = Shape::rows(2, 2, 2);
        let none = (&[] as &[f32], Shape::rows(2, 0, 0));
        let mirrored = (none.0, none.1.transposed());
        multiply(Precision::Fp32, (&mut into, shape), Into::Replace, 1.0, none, mirrored);
        assert_eq!(into, [0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "reaches over")]
    fn a_matrix_beyond_its_slice_is_refused() {
        let a = [0.0; 5];
        let shape = Shape::rows(2, 3, 3);
        let mut into = [0.0; 4];
        let b = [0.0; 6];
        multiply(
            Precision::Fp32,
            (&mut into, Shape::rows(2, 2, 2)),
            Into::Replace,
            1.0,
            (&a, shape),
            (&b, Shape::rows(3, 2, 2)),
        );
    }

    #[test]
    #[should_panic(expected = "share a place")]
    fn overlapping_rows_are_refused() {
        let mut into = [0.0; 9];
        let a = [0.0; 9];
        let square = Shape::rows(3, 3, 3);
        let into = (into.as_mut_slice(), Shape::rows(3, 3, 1));
        multiply(Precision::Fp32, into, Into::Replace, 1.0, (&a, square), (&a, square));
    }
}
