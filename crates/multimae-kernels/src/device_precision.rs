//! The precisions that a device multiplies in.

use std::fmt;

use burn::tensor::{DType, Device};

use crate::cpu::{bf16, int8};
use crate::ops;
use crate::precision::Precision;

impl Precision {
    /// Checks that a device multiplies in this precision.
    ///
    /// # Errors
    /// If it has no instructions for it.
    pub fn check(self, device: &Device) -> Result<(), Unsupported> {
        match self {
            Self::Bf16 if !multiplies_bf16(device) => Err(Unsupported(self)),
            Self::Int8 if !multiplies_int8(device) => Err(Unsupported(self)),
            _ => Ok(()),
        }
    }
}

/// The error that a device does not multiply in a precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported(pub Precision);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Precision::Int8 => "no products in 8 bits (of processors, those with AVX2 do)",
            _ => "no products in bfloat16 (of processors, those with AVX512_BF16 do)",
        })
    }
}

impl std::error::Error for Unsupported {}

fn multiplies_int8(device: &Device) -> bool {
    ops::on_cpu(device) && ops::enabled() && int8::usable()
}

fn multiplies_bf16(device: &Device) -> bool {
    if ops::on_cpu(device) { bf16::supported() } else { device.supports_dtype(DType::BF16) }
}

#[cfg(test)]
mod tests {
    use super::Precision::Fp32;

    #[test]
    fn all_devices_have_32_bits() {
        assert_eq!(Fp32.check(&burn::tensor::Device::flex()), Ok(()));
    }
}
