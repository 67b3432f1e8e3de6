//! The stand-in for processors without AMX.

use super::matrix::{Matrix, Shape};
use super::product::{self, PackedRight};

/// By how many values of bfloat16 an operand is represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// The nearest one.
    One,
    /// Three that sum to it.
    Three,
}

/// Never made.
#[derive(Debug, Clone)]
pub(crate) struct Packed;

impl Packed {
    /// Never called.
    ///
    /// # Panics
    /// Always.
    pub(crate) fn new(_: Matrix<'_>, _: Parts) -> Self {
        assert!(usable(), "a processor without tiles of bfloat16");
        Self
    }

    /// Never called.
    pub(crate) fn bytes(&self) -> usize {
        0
    }

    /// Never called.
    pub(crate) fn parts(&self) -> Parts {
        Parts::One
    }
}

impl PackedRight for Packed {
    fn inner(&self) -> usize {
        0
    }

    fn columns(&self) -> usize {
        0
    }
}

/// A GEMM that is never computed.
pub(crate) type Gemm<'a> = product::Gemm<'a, Packed>;

/// Never called.
pub(crate) fn packs_left_once(_: usize, _: bool) -> bool {
    false
}

/// Of no use.
pub(crate) const OPERATIONS_OF_A_TURN: usize = 0;

/// Never called.
pub(crate) fn busy_loop(_: usize) -> f32 {
    0.0
}

/// Never.
#[must_use]
pub(crate) fn usable() -> bool {
    false
}

/// Never called.
///
/// # Safety
/// None is needed.
///
/// # Panics
/// Always.
#[allow(unsafe_code)]
pub(crate) unsafe fn multiply(_: (*mut f32, Shape), _: Gemm<'_>, _: (Parts, bool)) {
    assert!(usable(), "a processor without tiles of bfloat16");
}

/// Convolutions on tiles.
pub(super) mod conv {
    use super::super::conv::ConvShape;

    /// Never made.
    #[derive(Debug)]
    pub(crate) struct Kernels;

    impl Kernels {
        /// Never called.
        ///
        /// # Panics
        /// Always.
        pub(crate) fn new(_: ConvShape, _: &[f32]) -> Self {
            assert!(super::usable(), "a processor without tiles of bfloat16");
            Self
        }

        /// Never called.
        pub(crate) fn bytes(&self) -> usize {
            0
        }
    }

    /// Never called.
    ///
    /// # Panics
    /// Always.
    pub(crate) fn forward(_: ConvShape, _: &[f32], _: &Kernels, _: Option<&[f32]>) -> Vec<f32> {
        assert!(super::usable(), "a processor without tiles of bfloat16");
        Vec::new()
    }

    /// Never called.
    ///
    /// # Panics
    /// Always.
    pub(crate) fn weight_gradient(_: ConvShape, _: &[f32], _: &[f32]) -> Vec<f32> {
        assert!(super::usable(), "a processor without tiles of bfloat16");
        Vec::new()
    }
}
