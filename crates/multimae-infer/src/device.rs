//! The device of a run, and the precision that it has.

use multimae::burn::tensor::Device;
use multimae_kernels::precision::Precision;

use crate::{Error, Result};
use multimae_config::PrecisionChoice;
use multimae_config::keys::RecipeValue as _;

/// Finds a device by name: `cpu`, `cuda`, `cuda:1`, `wgpu`, `wgpu:0`.
///
/// # Errors
/// If there is no such device in this build or in this machine.
pub fn device(name: &str) -> Result<Device> {
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

/// The precision of a recipe or an option, which `device`, found by `name`, must have. A model holds
/// it or its caller enters its [scope](Precision::scope).
///
/// # Errors
/// If the device has no such precision.
pub fn precision(choice: PrecisionChoice, name: &str, device: &Device) -> Result<Precision> {
    let precision = match choice {
        PrecisionChoice::Fp32 => Precision::Fp32,
        PrecisionChoice::Bf16 => Precision::Bf16,
        PrecisionChoice::Int8 => Precision::Int8,
    };
    precision.check(device).map_err(|unsupported| {
        Error::Device(format!(
            "`precision: {}`: `{name}` has {unsupported}; set `precision: fp32`",
            choice.write().as_str().unwrap_or_default()
        ))
    })?;
    Ok(precision)
}

/// The precision of a recipe, in which a model is trained.
///
/// # Errors
/// If the device has no such precision, or none is trained in it.
pub fn training_precision(
    choice: PrecisionChoice,
    name: &str,
    device: &Device,
) -> Result<Precision> {
    if choice == PrecisionChoice::Int8 {
        let text = "`precision: int8` is of predictions alone; train with `precision: fp32` or `bf16`, \
                    then quantise the model";
        return Err(Error::Device(text.to_owned()));
    }
    precision(choice, name, device)
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
        device(name).unwrap_err().to_string()
    }

    #[test]
    fn the_processor_is_always_there() {
        let device = device("cpu").unwrap();
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

    #[test]
    fn a_precision_is_there_or_refused_with_what_to_do() {
        let device = device("cpu").unwrap();
        let of = |choice| precision(choice, "cpu", &device);
        assert_eq!(of(PrecisionChoice::Fp32).unwrap(), Precision::Fp32);
        assert_eq!(of(PrecisionChoice::Int8).is_ok(), Precision::Int8.check(&device).is_ok());
        let trained = |choice| training_precision(choice, "cpu", &device);
        assert_eq!(trained(PrecisionChoice::Fp32).unwrap(), Precision::Fp32);
        let error = trained(PrecisionChoice::Int8).unwrap_err().to_string();
        assert!(error.contains("then quantise the model"), "{error}");
        match (of(PrecisionChoice::Bf16), Precision::Bf16.check(&device)) {
            (Ok(precision), Ok(())) => assert_eq!(precision, Precision::Bf16),
            (Err(error), Err(_)) => assert_eq!(
                error.to_string(),
                "recipe: `precision: bf16`: `cpu` has no products in bfloat16 (of processors, those \
                 with AVX512_BF16 do); set `precision: fp32`"
            ),
            other => panic!("{other:?}"),
        }
    }
}
