//! From samples to the tensors of a forward pass.

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Int, Tensor};
use multimae::input_adapters::ModalityTensor;
use multimae::losses::ReconstructionLoss;
use multimae::masking::{MaskingStrategy, SampleMask, TokenMasks};
use multimae::modality::{Modality, ModalityKind};
use multimae::model::Inputs;
use multimae_data::{Sample, stream};
pub use multimae_tasks::tensors::{stack, stack_maps};

use crate::Result;
use multimae_config::TaskModality;

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
