//! The annotations of a frame.

use indexmap::IndexMap;
use multimae_data::{DataModality, Encoding, RawMap, RawSample, Values};
use multimae_tasks::mask_values;

use crate::{Error, Result};

/// The folder of the masks of valid pixels.
pub const MASK_FOLDER: &str = "mask_valid";

/// The end of the name of a modality whose namesake is stored in another way.
pub(crate) const ANNOTATION: &str = " (target)";

/// The place of one task's annotation in frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// The modality.
    pub modality: String,
    /// The encoding of its files.
    pub encoding: Encoding,
}

/// The places of the annotations in frames.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroundTruth {
    /// By task; tasks without an entry have no stored annotations.
    pub tasks: IndexMap<String, Annotation>,
    /// The modality of the [mask of valid pixels](mask_modality), if frames have one.
    pub mask: Option<String>,
}

/// Masks of valid pixels as the published data has them: 8 bits, 255 where depth is valid.
#[must_use]
pub fn mask_modality() -> DataModality {
    let encoding = Encoding::labels(256, None, 0);
    DataModality::new(MASK_FOLDER, encoding)
}

impl GroundTruth {
    /// The annotation of a task in a frame, decoded, at the frame's own size; `None` for tasks
    /// whose annotations are not stored.
    ///
    /// # Errors
    /// If the frame lacks the annotation or has one of another kind.
    pub fn of(&self, frame: &RawSample, task: &str) -> Result<Option<Values>> {
        let Some(annotation) = self.tasks.get(task) else { return Ok(None) };
        let name = &annotation.modality;
        match frame.maps.get(name) {
            Some(RawMap::Continuous { channels, data }) => Ok(Some(Values::Continuous {
                channels: *channels,
                data: annotation.encoding.decoded_values(data, *channels),
            })),
            Some(RawMap::Labels(labels)) => Ok(Some(Values::Labels(labels.clone()))),
            _ => Err(Error::Evaluation(format!(
                "frame `{}` has no `{name}` to compare with",
                frame.id
            ))),
        }
    }

    /// The name of a task's modality in recipes, if its annotations are stored.
    #[must_use]
    pub fn modality_of(&self, task: &str) -> Option<&str> {
        Some(self.tasks.get(task)?.modality.trim_end_matches(ANNOTATION))
    }

    /// Describes the conversion of a task's stored annotations, if they are numbers.
    #[must_use]
    pub fn stored(&self, task: &str) -> Option<String> {
        let annotation = self.tasks.get(task)?;
        let Encoding::Continuous { divisor, .. } = &annotation.encoding else { return None };
        let name = self.modality_of(task)?;
        Some(format!("stored values divided by {divisor} (`modalities.{name}.divisor`)"))
    }

    /// Returns the valid mask of a frame, if the data has one.
    #[must_use]
    pub fn valid_of(&self, frame: &RawSample) -> Option<Vec<bool>> {
        match frame.maps.get(self.mask.as_ref()?) {
            Some(RawMap::Labels(mask)) => Some(mask_values(mask)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use multimae_data::{Interpolation, Quantity};

    use super::*;

    #[test]
    fn annotations_are_decoded_and_masks_read() {
        let map = |data: &[f32]| RawMap::Continuous { channels: 1, data: data.to_vec() };
        let maps = [
            ("depth".to_owned(), map(&[2500.0, 0.0, 700.0])),
            (MASK_FOLDER.to_owned(), RawMap::Labels(vec![255, 254, 0])),
        ];
        let frame =
            RawSample { id: "a".to_owned(), index: 0, height: 1, width: 3, maps: maps.into() };
        let encoding = Encoding::Continuous {
            channels: 1,
            divisor: 1000.0,
            mean: Vec::new(),
            std: Vec::new(),
            interpolation: Interpolation::Nearest,
            standardize: false,
            quantity: Quantity::Distance,
        };
        let depth = Annotation { modality: "depth".to_owned(), encoding: encoding.clone() };
        let other = Annotation { modality: "normal".to_owned(), encoding };
        let tasks = [("depth".to_owned(), depth), ("normal".to_owned(), other)].into();
        let ground_truth = GroundTruth { tasks, mask: Some(MASK_FOLDER.to_owned()) };
        let Some(Values::Continuous { data, .. }) = ground_truth.of(&frame, "depth").unwrap()
        else {
            panic!()
        };
        assert_eq!(data, [2.5, 0.0, 0.7]);
        assert_eq!(ground_truth.valid_of(&frame), Some(vec![true, false, false]));
        let error = ground_truth.of(&frame, "normal").unwrap_err().to_string();
        assert!(error.contains("no `normal`"), "{error}");
        assert_eq!(ground_truth.of(&frame, "cls").unwrap(), None);
        assert_eq!(GroundTruth { mask: None, ..ground_truth }.valid_of(&frame), None);
    }
}
