//! Numbers as files store them.

pub use crate::decode::Pixels as Numbers;
use crate::decode::{Pixels, of_any_type};

/// The type of stored numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the types")]
pub enum NumberType {
    Bool,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F16,
    F32,
    F64,
}

/// A value of nested lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The length of each axis, outermost first.
    pub shape: Vec<usize>,
    /// As many numbers as the product of the shape, row-major.
    pub numbers: Numbers,
}

impl Array {
    /// The bytes of its numbers in memory.
    pub(super) fn bytes(&self) -> usize {
        of_any_type!(&self.numbers, values => size_of_val(values.as_slice()))
    }
}
