//! In what precision products are computed.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{DType, Device};

use crate::cpu::bf16;
use crate::ops;

/// The precision of the factors of matrix products. Everything else, sums of products included, is
/// 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits. Where the processor has tile registers, large products sum those of the factors' parts
    /// in bfloat16, three of each, whose sum is the factor.
    #[default]
    Fp32,
    /// 16 bits with the exponent of 32: factors are rounded to 8 significant bits.
    Bf16,
}

/// A device cannot multiply in a precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported;

static BF16: AtomicBool = AtomicBool::new(false);

/// Sets the precision of all products of this process from now on, which are those of the device.
/// To be called before the first, since a backward pass should have the precision of its forward
/// pass.
///
/// # Errors
/// If the device has no instructions for it.
pub fn set_precision(precision: Precision, device: &Device) -> Result<(), Unsupported> {
    if precision == Precision::Bf16 && !multiplies_bf16(device) {
        return Err(Unsupported);
    }
    BF16.store(precision == Precision::Bf16, Ordering::Relaxed);
    Ok(())
}

fn multiplies_bf16(device: &Device) -> bool {
    if ops::on_cpu(device) { bf16::supported() } else { device.supports_dtype(DType::BF16) }
}

/// The precision of products.
#[must_use]
pub fn precision() -> Precision {
    if BF16.load(Ordering::Relaxed) { Precision::Bf16 } else { Precision::Fp32 }
}
