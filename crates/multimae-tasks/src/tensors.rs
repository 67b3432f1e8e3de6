//! From samples to tensors.

use std::borrow::Borrow;

use multimae::burn::tensor::{Device, Int, Tensor, TensorData};
use multimae::input_adapters::ModalityTensor;
use multimae_data::{Map, Sample, Values};

use crate::{Error, Result};

/// A modality of several samples: `(B, C, h, w)` or `(B, h, w)`.
///
/// # Errors
/// If the samples differ in size or kind, or one has no such modality.
pub fn stack(samples: &[Sample], name: &str, device: &Device) -> Result<ModalityTensor> {
    let maps = samples
        .iter()
        .map(|sample| {
            let map = sample.maps.get(name);
            Ok((sample.id.as_str(), map.ok_or_else(|| problem(&sample.id, name, "is missing"))?))
        })
        .collect::<Result<Vec<_>>>()?;
    stack_maps(&maps, name, device)
}

/// A number per channel as `(1, C, 1, 1)` on the device of maps.
pub(crate) fn per_channel(values: &[f32], like: &Tensor<4>) -> Tensor<4> {
    let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1]);
    Tensor::from_data(data, &like.device())
}

fn problem(id: &str, modality: &str, problem: &str) -> Error {
    Error::Sample {
        sample: id.to_owned(),
        modality: modality.to_owned(),
        problem: problem.to_owned(),
    }
}

/// Maps with the ids of their samples as one tensor: `(B, C, h, w)` or `(B, h, w)`.
///
/// # Errors
/// If there is none, or they differ in size or kind.
pub fn stack_maps(
    maps: &[(&str, impl Borrow<Map>)],
    name: &str,
    device: &Device,
) -> Result<ModalityTensor> {
    let (mut numbers, mut labels) = (Vec::new(), Vec::new());
    let mut shape = None;
    for (id, map) in maps {
        let map: &Map = map.borrow();
        let channels = match &map.values {
            Values::Continuous { channels, data } => {
                numbers.extend_from_slice(data);
                Some(*channels)
            }
            Values::Labels(data) => {
                labels.extend_from_slice(data);
                None
            }
        };
        let own = (channels, map.height, map.width);
        if *shape.get_or_insert(own) != own {
            return Err(problem(id, name, "is not like the other samples of its batch"));
        }
    }
    let batch = maps.len();
    match shape {
        Some((Some(channels), height, width)) => {
            let data = TensorData::new(numbers, [batch, channels, height, width]);
            Ok(ModalityTensor::Continuous(Tensor::from_data(data, device)))
        }
        Some((None, height, width)) => {
            let data = TensorData::new(labels, [batch, height, width]);
            Ok(ModalityTensor::Categorical(Tensor::<3, Int>::from_data(data, device)))
        }
        None => Err(problem("", name, "a batch without samples")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(id: &str, labels: &[i64]) -> Sample {
        let map = Map { height: 1, width: labels.len(), values: Values::Labels(labels.to_vec()) };
        Sample { id: id.to_owned(), index: 0, maps: [("s".to_owned(), map)].into_iter().collect() }
    }

    #[test]
    fn samples_must_be_alike() {
        let device = Device::default();
        let both = [sample("a", &[1, 2]), sample("b", &[3, 4])];
        assert_eq!(stack(&both, "s", &device).unwrap().batch(), 2);
        let error = stack(&[sample("a", &[1, 2]), sample("b", &[3])], "s", &device).unwrap_err();
        assert!(error.to_string().contains("`b`"), "{error}");
        assert!(stack(&both, "t", &device).is_err());
        assert!(stack(&[], "s", &device).is_err());
    }
}
