//! From samples to the tensors of a forward pass.

use std::borrow::Borrow;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Int, Tensor, TensorData};
use multimae::input_adapters::ModalityTensor;
use multimae::losses::ReconstructionLoss;
use multimae::masking::{MaskingStrategy, SampleMask, TokenMasks};
use multimae::modality::{Modality, ModalityKind};
use multimae::model::Inputs;
use multimae_data::{Map, Sample, Values, stream};

use crate::{Error, Result};
use multimae_config::TaskModality;

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

fn problem(id: &str, modality: &str, problem: &str) -> Error {
    Error::Samples(format!("sample `{id}`, modality `{modality}`: {problem}"))
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
        None => Err(Error::Samples("a batch without samples".to_owned())),
    }
}

/// The targets of a batch: every modality as it is.
///
/// # Errors
/// As [`stack`].
pub fn targets<'a>(
    samples: &[Sample],
    modalities: impl IntoIterator<Item = &'a TaskModality>,
    device: &Device,
) -> Result<Inputs> {
    modalities
        .into_iter()
        .map(|modality| {
            let name = &modality.model.name;
            Ok((name.clone(), stack(samples, name, device)?))
        })
        .collect()
}

/// The inputs among the targets. Labels that are ignored and are no class become the padding
/// class.
#[must_use]
pub fn inputs(
    targets: &Inputs,
    names: &[String],
    modalities: &IndexMap<String, TaskModality>,
) -> Inputs {
    let input = |name: &String| {
        let values = targets.get(name)?.clone();
        let values = match (values, modalities.get(name)) {
            (ModalityTensor::Categorical(labels), Some(modality)) => {
                ModalityTensor::Categorical(pad_ignored(labels, &modality.model, modality.loss))
            }
            (values, _) => values,
        };
        Some((name.clone(), values))
    };
    names.iter().filter_map(input).collect()
}

fn pad_ignored(
    labels: Tensor<3, Int>,
    modality: &Modality,
    loss: ReconstructionLoss,
) -> Tensor<3, Int> {
    match (&modality.kind, loss) {
        (
            ModalityKind::Categorical { classes, padding: true, .. },
            ReconstructionLoss::CrossEntropy { ignore: Some(ignore), .. },
        ) => {
            let ignored = labels.clone().equal_elem(ignore as i64);
            labels.mask_fill(ignored, *classes as i64)
        }
        _ => labels,
    }
}

/// Masks of a batch, each from the stream of its own sample.
///
/// # Errors
/// If the strategy does not fit the tokens.
pub fn masks(
    strategy: &MaskingStrategy,
    tokens_per_task: &[usize],
    samples: &[Sample],
    seed: u64,
    epoch: u64,
) -> Result<TokenMasks> {
    let masks = samples
        .iter()
        .map(|sample| {
            let mut rng = stream(seed, "mask", epoch, sample.index as u64);
            SampleMask::sample(strategy, tokens_per_task, &mut rng)
        })
        .collect::<multimae::Result<Vec<_>>>()?;
    Ok(TokenMasks::new(masks)?)
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

    #[test]
    fn ignored_labels_become_the_padding_class() {
        let modality = Modality {
            kind: ModalityKind::Categorical { classes: 3, dim_class_emb: 4, padding: true },
            ..Modality::categorical("s", 3, 1)
        };
        let loss = ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(255) };
        let device = Device::default();
        let labels = Tensor::<3, Int>::from_data([[[0_i64, 255, 2]]], &device);
        let padded = pad_ignored(labels, &modality, loss).into_data();
        assert_eq!(padded.iter::<i64>().collect::<Vec<_>>(), [0, 3, 2]);
    }
}
