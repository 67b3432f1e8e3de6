//! The channels of a file that a modality takes, and the range that its numbers are brought to.

use super::{Encoding, ValueRules};

/// The planes of the selected channels, of `(C, H, W)`. A file with just the channels of the modality
/// is taken as it is.
pub(crate) fn selected(
    rules: &ValueRules,
    planes: Vec<f32>,
    (stored, wanted): (usize, usize),
) -> Vec<f32> {
    let pixels = planes.len() / stored.max(1);
    if stored == wanted || pixels == 0 {
        return planes;
    }
    let planes: Vec<&[f32]> = planes.chunks_exact(pixels).collect();
    rules
        .select
        .iter()
        .filter_map(|&channel| planes.get(channel).copied())
        .flatten()
        .copied()
        .collect()
}

impl ValueRules {
    /// Whether files with this number of channels hold the channels of a modality.
    pub(crate) fn takes(&self, stored: usize, wanted: usize) -> bool {
        let inside = self.select.iter().all(|&channel| channel < stored);
        stored == wanted || !self.select.is_empty() && stored > wanted && inside
    }

    /// Brings stored numbers to the range of values.
    pub(crate) fn limit(&self, numbers: &mut [f32], divisor: f32) {
        let Some([low, high]) = self.clamp else { return };
        let (a, b) = (low * divisor, high * divisor);
        // Not `clamp`, which panics where a negative divisor turns the range around.
        numbers.iter_mut().filter(|x| !x.is_nan()).for_each(|x| *x = x.max(a.min(b)).min(a.max(b)));
    }
}

/// The problem with the rules for this encoding, if there is one.
pub(super) fn problem(rules: &ValueRules, encoding: &Encoding) -> Option<String> {
    let Encoding::Continuous { channels, .. } = encoding else {
        let is_set = !rules.select.is_empty() || rules.clamp.is_some();
        return is_set.then(|| "`select` and `clamp` are for numbers".to_owned());
    };
    if !rules.select.is_empty() && rules.select.len() != *channels {
        let count = rules.select.len();
        return Some(format!("`select` names {count} channels, and it has {channels}"));
    }
    match rules.clamp {
        Some([low, high]) if !(low.is_finite() && high.is_finite() && low < high) => {
            Some(format!("`clamp: [{low}, {high}]` is no range"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataModality, Dataset, Interpolation, Layout, Quantity, RawMap};

    fn numbers(channels: usize, divisor: f32, rules: ValueRules) -> DataModality {
        let encoding = Encoding::Continuous {
            channels,
            divisor,
            mean: Vec::new(),
            std: Vec::new(),
            interpolation: Interpolation::Nearest,
            standardize: false,
            quantity: Quantity::Plain,
        };
        DataModality { rules, ..DataModality::new("m", encoding) }
    }

    fn select(channels: &[usize]) -> ValueRules {
        ValueRules { select: channels.to_vec(), ..ValueRules::default() }
    }

    /// The values that training reads from a picture of three channels and two pixels.
    fn read(modality: &DataModality) -> crate::Result<Vec<f32>> {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("m")).unwrap();
        let image = image::RgbImage::from_raw(2, 1, vec![10, 20, 30, 40, 50, 60]).unwrap();
        image.save(dir.path().join("m/a.png")).unwrap();
        let dataset = Dataset::open(dir.path(), &Layout::Folders, std::slice::from_ref(modality))?;
        match dataset.decode(0)?.maps.swap_remove("m") {
            Some(RawMap::Continuous { channels, data }) => {
                assert_eq!(data.len(), 2 * channels);
                Ok(data)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn channels_of_a_larger_file_are_selected_in_order() {
        assert_eq!(read(&numbers(2, 1.0, select(&[0, 1]))).unwrap(), [10.0, 40.0, 20.0, 50.0]);
        assert_eq!(read(&numbers(1, 1.0, select(&[2]))).unwrap(), [30.0, 60.0]);
        // As many channels as the modality has: all of them.
        assert_eq!(read(&numbers(3, 1.0, select(&[2, 1, 0]))).unwrap()[..2], [10.0, 40.0]);
        let message = read(&numbers(2, 1.0, select(&[0, 3]))).unwrap_err().to_string();
        assert!(message.contains("2 channels"), "{message}");
        assert!(read(&numbers(2, 1.0, ValueRules::default())).is_err());
        let message = read(&numbers(2, 1.0, select(&[0]))).unwrap_err().to_string();
        assert!(message.contains("`select` names 1 channels, and it has 2"), "{message}");
    }

    #[test]
    fn values_beyond_a_range_become_its_ends() {
        let clamp = |clamp, divisor| {
            let rules = ValueRules { clamp: Some(clamp), ..select(&[0]) };
            read(&numbers(1, divisor, rules))
        };
        assert_eq!(clamp([0.0, 1.0], 20.0).unwrap(), [10.0, 20.0]);
        assert_eq!(clamp([-1.0, -0.75], -20.0).unwrap(), [15.0, 20.0]);
        let message = clamp([1.0, 0.0], 20.0).unwrap_err().to_string();
        assert!(message.contains("is no range"), "{message}");
        let mut numbers = [f32::NAN, 3.0];
        ValueRules { clamp: Some([0.0, 1.0]), ..select(&[0]) }.limit(&mut numbers, 1.0);
        assert!(numbers[0].is_nan() && numbers[1] == 1.0);
    }
}
