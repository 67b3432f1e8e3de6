//! From samples to the tensors of a forward pass.

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Int, Tensor};
use multimae::input_adapters::ModalityTensor;
use multimae::losses::{ReconstructionLoss, ValidMask, ValidMasks};
use multimae::masking::{MaskingStrategy, SampleMask, TokenMasks};
use multimae::modality::{Modality, ModalityKind};
use multimae::model::Inputs;
use multimae_data::{Map, Sample, Values, stream};
pub use multimae_tasks::tensors::{stack, stack_maps};

use crate::{Error, Result};
use multimae_config::TaskModality;

/// The targets of a batch: every modality as it is. Invalid pixels of numbers are 0, the mean where
/// samples are standardised; so is all of a modality that a sample lacks, or class 0 there.
/// [`valid_masks`] has both.
///
/// # Errors
/// As [`stack`].
pub fn targets<'a>(
    samples: &[Sample],
    modalities: impl IntoIterator<Item = &'a TaskModality>,
    device: &Device,
) -> Result<Inputs> {
    let modalities: Vec<&TaskModality> = modalities.into_iter().collect();
    let size = input_size(samples, &modalities);
    let target = |modality: &&TaskModality| {
        let name = &modality.model.name;
        let absent = samples.iter().any(|sample| !sample.maps.contains_key(name));
        let values = if absent || invalid_in(samples, name).next().is_some() {
            stack(&filled(samples, modality, size), name, device)?
        } else {
            stack(samples, name, device)?
        };
        Ok((name.clone(), values))
    };
    modalities.iter().map(target).collect()
}

/// The valid masks of the modalities that have invalid pixels or ignored labels in a batch, or that
/// a sample lacks.
///
/// # Errors
/// If samples differ in size.
pub fn valid_masks<'a>(
    samples: &[Sample],
    modalities: impl IntoIterator<Item = &'a TaskModality>,
) -> Result<ValidMasks> {
    let modalities: Vec<&TaskModality> = modalities.into_iter().collect();
    let size = input_size(samples, &modalities);
    let mut masks = ValidMasks::new();
    for modality in modalities {
        let name = &modality.model.name;
        let (height, width) = map_size(size, modality);
        let flags: Vec<bool> = samples
            .iter()
            .flat_map(|sample| match sample.maps.get(name) {
                Some(map) => counted_pixels(map, modality.loss),
                None => vec![false; height * width],
            })
            .collect();
        if flags.contains(&false) {
            masks.insert(name.clone(), ValidMask::new(flags, [samples.len(), height, width])?);
        }
    }
    Ok(masks)
}

/// Height and width of the images of a batch, from the first map that a sample has.
fn input_size(samples: &[Sample], modalities: &[&TaskModality]) -> (usize, usize) {
    let known = modalities.iter().find_map(|modality| {
        let maps = samples.iter().filter_map(|sample| sample.maps.get(&modality.model.name));
        let stride = modality.model.stride;
        maps.map(|map| (map.height * stride, map.width * stride)).next()
    });
    known.unwrap_or_default()
}

/// Height and width of a modality's maps in images of this size.
fn map_size((height, width): (usize, usize), modality: &TaskModality) -> (usize, usize) {
    (height / modality.model.stride, width / modality.model.stride)
}

/// Whether each pixel of a target counts: it is a measurement, or a label that is not ignored.
fn counted_pixels(map: &Map, loss: ReconstructionLoss) -> Vec<bool> {
    match (&map.values, loss) {
        (Values::Labels(labels), ReconstructionLoss::CrossEntropy { ignore: Some(ignore), .. }) => {
            labels.iter().map(|&label| label != ignore).collect()
        }
        _ => map.values.valid_pixels().unwrap_or_else(|| vec![true; map.height * map.width]),
    }
}

/// The invalid pixels of a modality in samples.
fn invalid_in<'a>(samples: &'a [Sample], name: &'a str) -> impl Iterator<Item = &'a f32> {
    let numbers = samples.iter().filter_map(move |sample| match &sample.maps.get(name)?.values {
        Values::Continuous { data, .. } => Some(data),
        Values::Labels(_) => None,
    });
    numbers.flatten().filter(|value| value.is_nan())
}

/// Samples of one modality with 0 for its invalid pixels, and for all of them where it is absent.
fn filled(samples: &[Sample], modality: &TaskModality, size: (usize, usize)) -> Vec<Sample> {
    let name = &modality.model.name;
    let fill = |sample: &Sample| {
        let Some(map) = sample.maps.get(name) else { return blank(modality, size) };
        let mut map = map.clone();
        if let Values::Continuous { data, .. } = &mut map.values {
            data.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
        }
        map
    };
    let sample = |sample: &Sample| Sample {
        id: sample.id.clone(),
        index: sample.index,
        maps: [(name.clone(), fill(sample))].into(),
    };
    samples.iter().map(sample).collect()
}

/// A map of zeros.
fn blank(modality: &TaskModality, size: (usize, usize)) -> Map {
    let (height, width) = map_size(size, modality);
    let values = match &modality.model.kind {
        ModalityKind::Categorical { .. } => Values::Labels(vec![0; height * width]),
        ModalityKind::Continuous { channels } => {
            Values::Continuous { channels: *channels, data: vec![0.0; channels * height * width] }
        }
    };
    Map { height, width, values }
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
            let ignored = labels.clone().equal_elem(ignore);
            labels.mask_fill(ignored, *classes as i64)
        }
        _ => labels,
    }
}

/// Masks of a batch, each from the stream of its own sample. Of a modality that a sample lacks, no
/// token is visible. `inputs` names the modalities of the tokens.
///
/// # Errors
/// If the strategy does not fit the tokens; of a sample that lacks modalities, with its id.
pub fn masks(
    strategy: &MaskingStrategy,
    (inputs, tokens_per_task): (&[String], &[usize]),
    samples: &[Sample],
    seed: u64,
    epoch: u64,
) -> Result<TokenMasks> {
    let mask = |sample: &Sample| -> Result<SampleMask> {
        let mut rng = stream(seed, "mask", epoch, sample.index as u64);
        let present: Vec<bool> = inputs.iter().map(|name| sample.maps.contains_key(name)).collect();
        let mask = SampleMask::sample_present(strategy, tokens_per_task, &present, &mut rng);
        mask.map_err(|error| match present.contains(&false) {
            true => Error::Samples(format!(
                "sample `{}` lacks modalities: {error}; lower `num_encoded_tokens`",
                sample.id
            )),
            false => error.into(),
        })
    };
    Ok(TokenMasks::new(samples.iter().map(mask).collect::<Result<Vec<_>>>()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use multimae_config::keys::RecipeValue as _;
    use multimae_config::{Modalities, ModalityDefaults, Role};

    #[test]
    fn invalid_pixels_are_zero_and_masked() {
        let defaults = ModalityDefaults::PUBLISHED;
        let modality = Modalities::default().resolve("depth", Role::Pretraining, defaults).unwrap();
        let sample = |id: &str, data: [f32; 4]| {
            let values = Values::Continuous { channels: 1, data: data.to_vec() };
            let map = Map { height: 2, width: 2, values };
            Sample { id: id.to_owned(), index: 0, maps: [("depth".to_owned(), map)].into() }
        };
        let samples = [sample("a", [2.0, f32::NAN, 3.0, 4.0]), sample("b", [1.0; 4])];
        let ModalityTensor::Continuous(values) = targets(&samples, [&modality], &Device::default())
            .unwrap()
            .swap_remove("depth")
            .unwrap()
        else {
            panic!()
        };
        let expected = [2.0, 0.0, 3.0, 4.0, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(values.into_data().iter::<f32>().collect::<Vec<_>>(), expected);
        let semseg = Modalities::read(&serde_json::json!({"semseg": {"ignore": 7}})).unwrap();
        let semseg = semseg.resolve("semseg", Role::Pretraining, defaults).unwrap();
        let labels = |labels: [i64; 4]| {
            let map = Map { height: 2, width: 2, values: Values::Labels(labels.to_vec()) };
            Sample { id: "a".to_owned(), index: 0, maps: [("semseg".to_owned(), map)].into() }
        };
        let void = [labels([7; 4]), labels([1, 7, 2, 3])];
        let masks = valid_masks(&void, [&semseg]).unwrap();
        assert_eq!(masks["semseg"].samples(), 1, "a frame without a label is no target");
        assert!(valid_masks(&void[..0], [&semseg]).unwrap().is_empty());
        assert!(valid_masks(&[labels([1; 4])], [&semseg]).unwrap().is_empty());
        let masks = valid_masks(&samples, [&modality]).unwrap();
        assert_eq!(masks["depth"].patches(1), expected.map(|value| value != 0.0));
        assert!(valid_masks(&samples[1..], [&modality]).unwrap().is_empty());
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
