//! In what precision products are computed.

use std::sync::atomic::{AtomicBool, Ordering};

use super::bf16;

/// The precision of the factors of matrix products. Everything else, sums of products included, is
/// 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    Fp32,
    /// 16 bits with the exponent of 32: factors are rounded to 8 significant bits.
    Bf16,
}

/// This processor cannot multiply in a precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported;

static BF16: AtomicBool = AtomicBool::new(false);

/// Sets the precision of all products of this process from now on. To be called before the first,
/// since a backward pass should have the precision of its forward pass.
///
/// # Errors
/// If the processor has no instructions for it.
pub fn set_precision(precision: Precision) -> Result<(), Unsupported> {
    if precision == Precision::Bf16 && !bf16::supported() {
        return Err(Unsupported);
    }
    BF16.store(precision == Precision::Bf16, Ordering::Relaxed);
    Ok(())
}

/// The precision of products.
#[must_use]
pub fn precision() -> Precision {
    if BF16.load(Ordering::Relaxed) { Precision::Bf16 } else { Precision::Fp32 }
}
