//! The device that a run computes on.

use multimae::burn::tensor::Device;

use crate::{Error, Result};

/// A device by name.
///
/// # Errors
/// If this build has no such device.
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::default()),
        other => Err(Error::Recipe(format!(
            "`device: {other}`: this build computes on `cpu` alone; set `device: cpu`"
        ))),
    }
}
