//! The device that a run computes on, and in what precision.

use multimae::burn::tensor::Device;
use multimae_kernels::precision::{Precision, set_precision};

use crate::{Error, Result};
use multimae_config::PrecisionChoice;

/// A device by name: `cpu`, `cuda`, `cuda:1`, `wgpu`, `wgpu:0`. From now on this process computes
/// products in the precision.
///
/// # Errors
/// If there is no such device in this build or in this machine, or it has no such precision.
pub fn device(name: &str, precision: PrecisionChoice) -> Result<Device> {
    let device = by_name(name)?;
    let precision = match precision {
        PrecisionChoice::Fp32 => Precision::Fp32,
        PrecisionChoice::Bf16 => Precision::Bf16,
    };
    set_precision(precision, &device).map_err(|_| {
        Error::Device(format!(
            "`precision: bf16`: `{name}` has no products in bfloat16 (of processors, those with \
             AVX512_BF16 do); set `precision: fp32`"
        ))
    })?;
    Ok(device)
}

fn by_name(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, Some(index)),
        None => (name, None),
    };
    let devices = match kind {
        "cpu" if index.is_none() => return Ok(Device::flex()),
        "cuda" | "wgpu" => of_kind(kind)?,
        _ => {
            return Err(Error::Device(format!(
                "`device: {name}`: no such kind of device; there are `cpu`, `cuda` and `wgpu`, the \
                 latter with a number too, as in `cuda:0`"
            )));
        }
    };
    let count = devices.len();
    let index = match index.map(str::parse::<usize>) {
        None => 0,
        Some(Ok(index)) => index,
        Some(Err(_)) => {
            return Err(Error::Device(format!("`device: {name}`: a number must follow the colon")));
        }
    };
    devices.into_iter().nth(index).ok_or_else(|| {
        Error::Device(match count {
            0 => format!(
                "`device: {name}`: this machine has no {kind} device, or its driver is not \
                 installed; set `device: cpu`"
            ),
            _ => format!("`device: {name}`: this machine has {count} of the kind, from number 0"),
        })
    })
}

/// All devices of a kind, if this build knows the kind.
fn of_kind(kind: &str) -> Result<Vec<Device>> {
    match kind {
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::enumerate(multimae::burn::tensor::DeviceType::Cuda).into_vec()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::enumerate(multimae::burn::tensor::DeviceType::Wgpu).into_vec()),
        _ => Err(Error::Device(format!(
            "`device: {kind}`: this program was built without it; build it with `--features \
             {kind}`, or set `device: cpu`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> String {
        device(name, PrecisionChoice::Fp32).unwrap_err().to_string()
    }

    #[test]
    fn the_processor_is_always_there() {
        let device = device("cpu", PrecisionChoice::Fp32).unwrap();
        assert!(multimae_kernels::ops::on_cpu(&device));
        assert!(multimae_kernels::ops::on_cpu(&device.autodiff()));
    }

    #[test]
    fn other_names_are_refused_with_what_to_do() {
        assert!(refused("gpu").contains("there are `cpu`, `cuda` and `wgpu`"));
        assert!(refused("cpu:0").contains("no such kind"));
        let kind = if cfg!(feature = "wgpu") { "a number must follow" } else { "--features wgpu" };
        assert!(refused("wgpu:first").contains(kind));
    }
}
