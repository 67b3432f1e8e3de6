//! The device that a run computes on, and in what precision.

use multimae::burn::tensor::Device;
use multimae_kernels::cpu::precision::{Precision, set_precision};

use crate::recipe::PrecisionChoice;
use crate::{Error, Result};

/// A device by name. From now on this process computes products in the precision.
///
/// # Errors
/// If this build has no such device, or the device no such precision.
pub fn device(name: &str, precision: PrecisionChoice) -> Result<Device> {
    if name != "cpu" {
        return Err(Error::Recipe(format!(
            "`device: {name}`: this build computes on `cpu` alone; set `device: cpu`"
        )));
    }
    let precision = match precision {
        PrecisionChoice::Fp32 => Precision::Fp32,
        PrecisionChoice::Bf16 => Precision::Bf16,
    };
    set_precision(precision).map_err(|_| {
        Error::Recipe(
            "`precision: bf16`: this processor has no products in bfloat16 (AVX512_BF16); set \
             `precision: fp32`"
                .to_owned(),
        )
    })?;
    Ok(Device::default())
}
