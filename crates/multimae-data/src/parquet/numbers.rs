//! Numbers as files store them.

use crate::decode::Pixels;

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

/// Numbers in the type of the file. Booleans are 0 and 1, halves are floats of 32 bits, and unsigned
/// integers of 64 bits are signed ones: greater ones are an error.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are those of the types")]
pub enum Numbers {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// A value of nested lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The length of each axis, outermost first.
    pub shape: Vec<usize>,
    /// As many numbers as the product of the shape, row-major.
    pub numbers: Numbers,
}

impl From<Pixels> for Numbers {
    fn from(pixels: Pixels) -> Self {
        match pixels {
            Pixels::U8(values) => Self::U8(values),
            Pixels::U16(values) => Self::U16(values),
            Pixels::U32(values) => Self::U32(values),
            Pixels::I8(values) => Self::I8(values),
            Pixels::I16(values) => Self::I16(values),
            Pixels::I32(values) => Self::I32(values),
            Pixels::I64(values) => Self::I64(values),
            Pixels::F32(values) => Self::F32(values),
            Pixels::F64(values) => Self::F64(values),
        }
    }
}

impl From<Numbers> for Pixels {
    fn from(numbers: Numbers) -> Self {
        match numbers {
            Numbers::U8(values) => Self::U8(values),
            Numbers::U16(values) => Self::U16(values),
            Numbers::U32(values) => Self::U32(values),
            Numbers::I8(values) => Self::I8(values),
            Numbers::I16(values) => Self::I16(values),
            Numbers::I32(values) => Self::I32(values),
            Numbers::I64(values) => Self::I64(values),
            Numbers::F32(values) => Self::F32(values),
            Numbers::F64(values) => Self::F64(values),
        }
    }
}

impl Array {
    /// The bytes of its numbers in memory.
    pub(super) fn bytes(&self) -> usize {
        let (len, size) = match &self.numbers {
            Numbers::U8(values) => (values.len(), 1),
            Numbers::I8(values) => (values.len(), 1),
            Numbers::U16(values) => (values.len(), 2),
            Numbers::I16(values) => (values.len(), 2),
            Numbers::U32(values) => (values.len(), 4),
            Numbers::I32(values) => (values.len(), 4),
            Numbers::F32(values) => (values.len(), 4),
            Numbers::I64(values) => (values.len(), 8),
            Numbers::F64(values) => (values.len(), 8),
        };
        len * size
    }
}
