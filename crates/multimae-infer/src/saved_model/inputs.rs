//! From samples to the inputs of a fine-tuned model.

use std::borrow::Borrow;

use multimae::burn::tensor::Device;
use multimae::modality::ModalityKind;
use multimae::model::Inputs;
use multimae_data::{Encoding, Map, Sample, Values, robust_statistics};

use super::{InputModality, ModelCard, Normalisation};
use crate::{Error, Result};
use multimae_tasks::mask_values;
use multimae_tasks::tensors::stack_maps;

impl ModelCard {
    /// The model's inputs from samples of a pipeline; modalities that the samples do not carry are
    /// left out.
    ///
    /// # Errors
    /// If samples differ in size or kind, or none of the modalities is there.
    pub fn inputs(&self, samples: &[Sample], device: &Device) -> Result<Inputs> {
        let prepared: Vec<Sample> = samples.iter().map(|sample| self.prepared(sample)).collect();
        self.stacked(&prepared, device)
    }

    /// A sample of a pipeline as the model takes it, still in host memory: its inputs by the name
    /// of their input adapter, in the model's order, normalised and without invalid values.
    #[must_use]
    pub fn prepared(&self, sample: &Sample) -> Sample {
        let mask = valid_mask(self, sample);
        let map = |input: &InputModality| {
            let map = sample.maps.get(&input.data.name)?;
            Some((input.adapter.clone(), self.normalised(input, map, mask.as_deref())))
        };
        let maps = self.inputs.iter().filter_map(map).collect();
        Sample { id: sample.id.clone(), index: sample.index, maps }
    }

    /// The model's inputs from [prepared](Self::prepared) samples.
    ///
    /// # Shapes
    /// `(B, C, h, w)` or `(B, h, w)` by input adapter, `B` samples.
    ///
    /// # Errors
    /// If samples differ in size or kind, or none of the modalities is there.
    pub fn stacked<S: Borrow<Sample>>(&self, prepared: &[S], device: &Device) -> Result<Inputs> {
        let mut inputs = Inputs::new();
        for input in &self.inputs {
            let (name, adapter) = (&input.data.name, &input.adapter);
            let samples = || prepared.iter().map(Borrow::borrow);
            if samples().all(|sample| !sample.maps.contains_key(adapter)) {
                continue;
            }
            let maps = samples().map(|sample| {
                let map = sample.maps.get(adapter).ok_or_else(|| {
                    let text = format!("sample `{}` has no `{name}`, others have", sample.id);
                    Error::Samples(text)
                })?;
                Ok((sample.id.as_str(), map))
            });
            let maps = maps.collect::<Result<Vec<_>>>()?;
            inputs.insert(adapter.clone(), stack_maps(&maps, name, device)?);
        }
        if inputs.is_empty() {
            return Err(Error::Samples("the samples have none of the model's inputs".to_owned()));
        }
        Ok(inputs)
    }

    /// One modality of one sample as the model takes it.
    fn normalised(&self, input: &InputModality, map: &Map, mask: Option<&[bool]>) -> Map {
        let values = match &map.values {
            Values::Labels(labels) => Values::Labels(self.padded(input, labels)),
            Values::Continuous { channels, data } => {
                let mut data = data.clone();
                if !matches!(input.data.encoding, Encoding::Color { .. }) {
                    normalise(&mut data, map.height * map.width, input.normalisation, mask);
                }
                Values::Continuous { channels: *channels, data }
            }
        };
        Map { height: map.height, width: map.width, values }
    }

    /// Labels that are no class become the padding class, if the model has one.
    fn padded(&self, input: &InputModality, labels: &[i64]) -> Vec<i64> {
        let modality = self.model.inputs.iter().find(|m| m.name == input.adapter);
        match modality.map(|modality| &modality.kind) {
            Some(ModalityKind::Categorical { classes, padding: true, .. }) => {
                let classes = *classes as i64;
                labels
                    .iter()
                    .map(|&l| if (0..classes).contains(&l) { l } else { classes })
                    .collect()
            }
            _ => labels.to_vec(),
        }
    }
}

/// Returns the valid mask of a sample, if it has one at this size.
///
/// # Shapes
/// `(H, W)`.
pub fn valid_mask(card: &ModelCard, sample: &Sample) -> Option<Vec<bool>> {
    let map = sample.maps.get(&card.valid_mask.as_ref()?.name)?;
    match &map.values {
        Values::Labels(mask) => Some(mask_values(mask)),
        Values::Continuous { .. } => None,
    }
}

/// Normalises planes of `pixels` values each, in place.
fn normalise(data: &mut [f32], pixels: usize, normalisation: Normalisation, mask: Option<&[bool]>) {
    let (min, max) = match normalisation {
        Normalisation::None => (f32::NEG_INFINITY, f32::INFINITY),
        Normalisation::Robust { min, max } | Normalisation::Range { min, max } => (min, max),
    };
    for plane in data.chunks_exact_mut(pixels.max(1)) {
        // NaN is in no range.
        let valid = |index: usize, value: f32| {
            (min..=max).contains(&value) && mask.is_none_or(|mask| mask.get(index) == Some(&true))
        };
        let (mean, scale) = match normalisation {
            Normalisation::Robust { .. } => {
                let inside: Vec<f32> = plane
                    .iter()
                    .enumerate()
                    .filter(|(index, value)| valid(*index, **value))
                    .map(|(_, value)| *value)
                    .collect();
                let (mean, variance) = robust_statistics(&inside);
                (mean, (variance + 1e-6).sqrt())
            }
            _ => (0.0, 1.0),
        };
        for (index, value) in plane.iter_mut().enumerate() {
            *value = if valid(index, *value) {
                ((f64::from(*value) - mean) / scale) as f32
            } else {
                0.0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use multimae::input_adapters::ModalityTensor;

    use super::*;

    #[test]
    fn holes_do_not_enter_the_statistics_and_become_zero() {
        let mut data: Vec<f32> = (0..100).map(|i| 1.0 + i as f32 / 100.0).collect();
        data[3] = 0.0;
        data[4] = f32::NAN;
        data[5] = 900.0;
        let mut mask = vec![true; 100];
        mask[6] = false;
        let mut clean: Vec<f32> = data.clone();
        for index in [6, 5, 4, 3] {
            clean.remove(index);
        }
        multimae_data::robust_standardize(&mut clean);
        let robust = Normalisation::Robust { min: 0.001, max: 10.0 };
        normalise(&mut data, 100, robust, Some(&mask));
        assert_eq!(data[3..7], [0.0; 4]);
        data.drain(3..7);
        for (got, expected) in data.iter().zip(&clean) {
            assert!((got - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn masks_of_one_bit_count_too() {
        assert_eq!(mask_values(&[0, 255, 254, 1]), [false, true, false, false]);
        assert_eq!(mask_values(&[0, 1, 256]), [false, true, false]);
    }

    #[test]
    fn stacking_refuses_what_differs() {
        let map = |width| Map { height: 1, width, values: Values::Labels(vec![0; width]) };
        let maps = [("a", map(2)), ("b", map(3))];
        let error = stack_maps(&maps, "s", &Device::default()).unwrap_err().to_string();
        assert!(error.contains("`b`"), "{error}");
        assert!(matches!(
            stack_maps(&maps[..1], "s", &Device::default()),
            Ok(ModalityTensor::Categorical(_))
        ));
    }
}
