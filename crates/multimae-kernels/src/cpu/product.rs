//! A GEMM as the vector units and the tiles compute it: operands, and what is done with the sums.

use super::epilogue::Epilogue;
use super::matrix::{Into, Matrix, Shape, Side};
use super::tile::Tile;

/// A right operand that was packed before.
pub(crate) trait PackedRight {
    /// Its rows.
    fn inner(&self) -> usize;
    /// Its columns.
    fn columns(&self) -> usize;
}

/// The right operand.
#[derive(Debug)]
pub(crate) enum Right<'a, P> {
    /// As it is.
    Matrix(Matrix<'a>),
    /// Packed before.
    Packed(&'a P),
}

// Not derived: the packed operand itself is never copied.
impl<P> Clone for Right<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Right<'_, P> {}

impl<P: PackedRight> Right<'_, P> {
    pub(crate) fn inner(self) -> usize {
        match self {
            Self::Matrix((_, shape)) => shape.rows,
            Self::Packed(packed) => packed.inner(),
        }
    }

    /// Whether every element lies in its slice.
    pub(crate) fn exists(self) -> bool {
        match self {
            Self::Matrix((slice, shape)) => shape.extent() <= slice.len(),
            Self::Packed(_) => true,
        }
    }

    pub(crate) fn columns(self) -> usize {
        match self {
            Self::Matrix((_, shape)) => shape.columns,
            Self::Packed(packed) => packed.columns(),
        }
    }
}

/// `into (+)= scale * a b`, and what is done with the sums then.
#[derive(Debug)]
pub(crate) struct Gemm<'a, P> {
    pub how: Into,
    pub scale: f32,
    pub a: Matrix<'a>,
    pub b: Right<'a, P>,
    /// The operand whose values go through the GELU when they are packed; one packed before has.
    pub activated: Option<Side>,
    pub epilogue: Epilogue<'a>,
}

// Not derived: as of `Right`.
impl<P> Clone for Gemm<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Gemm<'_, P> {}

impl<'a, P: PackedRight> Gemm<'a, P> {
    /// `a b` into a place that it replaces.
    pub(crate) fn new(a: Matrix<'a>, b: Right<'a, P>) -> Self {
        let (how, epilogue) = (Into::Replace, Epilogue::default());
        Self { how, scale: 1.0, a, b, activated: None, epilogue }
    }

    /// The shape of the result in rows one behind the other, after all other shapes have been checked.
    fn checked(self) -> Shape {
        let shape = Shape::rows(self.a.1.rows, self.b.columns(), self.b.columns());
        assert!(shape.rows * shape.columns > 0 && self.a.1.columns > 0, "an empty product");
        assert!(self.b.inner() == self.a.1.columns && self.b.exists(), "operands do not fit");
        assert!(self.a.1.extent() <= self.a.0.len(), "a matrix reaches over its slice");
        shape
    }

    /// Has a function write the result to a slice, rows one behind the other. It gets a place of the
    /// shape of the result, borrowed mutably, and operands that fit and exist.
    ///
    /// # Panics
    /// If there is nothing to multiply, or the shapes do not fit.
    pub(crate) fn into_slice(self, into: &mut [f32], write: impl FnOnce(*mut f32, Shape, Self)) {
        let shape = self.checked();
        assert!(into.len() == shape.rows * shape.columns, "a slice of another size");
        write(into.as_mut_ptr(), shape, self);
    }

    /// The result in new memory, rows one behind the other, of a function that writes it.
    ///
    /// # Safety
    /// If the shapes fit and every element of the operands exists, `write` must write every element of
    /// the result, whose shape it gets, without reading it before.
    ///
    /// # Panics
    /// If there is nothing to multiply, or the shapes do not fit.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn in_new_memory(
        self,
        write: impl FnOnce(*mut f32, Shape, Self),
    ) -> Vec<f32> {
        let shape = self.checked();
        let len = shape.rows * shape.columns;
        let mut into = Vec::with_capacity(len);
        write(into.as_mut_ptr(), shape, Self { how: Into::Replace, ..self });
        // SAFETY: there is room for as many, and each was written (the caller's promise).
        unsafe { into.set_len(len) };
        into
    }

    /// Applies the epilogue to a tile that was just written, whose first element is in this row and
    /// column of the result.
    ///
    /// # Safety
    /// Every element of the tile must lie behind `into`, be initialised, and be referred to by nothing
    /// else.
    #[allow(unsafe_code)]
    pub(super) unsafe fn finish(self, into: *mut f32, tile: Tile, at: (usize, usize)) {
        // SAFETY: as the caller promises.
        unsafe { self.epilogue.apply_to_tile(into, tile, at, self.b.columns()) }
    }
}
